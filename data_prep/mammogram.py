"""One mammogram, read from DICOM or a 16-bit PNG into the intensities that everything downstream relies on."""

import dataclasses
import enum
import hashlib
import io
import pathlib
import warnings

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from data_prep.errors import InputError

__all__ = [
    "DICOM_SUFFIXES",
    "MAX_PIXELS",
    "Laterality",
    "Mammogram",
    "SpacingSource",
    "View",
    "decode_grey_png",
    "encode_png",
    "is_dicom",
    "read_header",
    "read_mammogram",
]

DICOM_SUFFIXES = (".dcm", ".dicom")

# The largest detectors and film scans have about 30 megapixels. A header that claims more is refused before any memory
# is taken for it.
MAX_PIXELS = 120_000_000

_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"  # Digital Mammography X-Ray Image Storage - For Processing

# Read before the pixels: all that the split, the checks and the orientation need.
_HEADER_TAGS = (
    "SOPClassUID", "Modality", "PatientID", "StudyInstanceUID", "PhotometricInterpretation", "SamplesPerPixel",
    "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "PixelSpacing", "ImagerPixelSpacing",
    "EstimatedRadiographicMagnificationFactor", "NominalScannedPixelSpacing", "ImageLaterality", "Laterality",
    "ViewPosition", "PatientOrientation", "ViewCodeSequence",
)  # fmt: skip


class Laterality(enum.Enum):
    """Image Laterality (0020,0062), PS3.3 C.8.11.7."""

    LEFT = "L"
    RIGHT = "R"
    UNKNOWN = ""


class View(enum.Enum):
    """View Position (0018,5101), with the defined terms of PS3.3 C.8.11.7 and CID 4014."""

    CC = "CC"
    MLO = "MLO"
    ML = "ML"
    LM = "LM"
    LMO = "LMO"
    FB = "FB"
    SIO = "SIO"
    ISO = "ISO"
    XCCL = "XCCL"
    XCCM = "XCCM"
    UNKNOWN = ""


class SpacingSource(enum.Enum):
    """Where a pixel spacing comes from; areas in mm2 are worth as much as this."""

    PIXEL_SPACING = "PixelSpacing (0028,0030)"
    IMAGER = "ImagerPixelSpacing (0018,1164) / EstimatedRadiographicMagnificationFactor (0018,1114)"
    SCANNED = "NominalScannedPixelSpacing (0018,2010)"
    CASES_CSV = "cases.csv"
    FLAG = "--pixel_spacing_mm"
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True, eq=False)
class Mammogram:
    """One mammogram; always valid once built.

    Attributes:
        pixels: uint16 [height, width]; stored values with MONOCHROME1 inverted within `bits_stored`, so that brighter
            is denser, and with pixel padding set to 0.
        bits_stored: 8 to 16; full scale is 2^bits_stored - 1.
        pixel_spacing_mm: (row, column) distance of neighbouring pixel centres in mm, or None when unknown.
        spacing_source: The DICOM attribute that gave the spacing.
        laterality: Which breast.
        view: Which projection.
        patient_id: Patient ID (0010,0020) as stored, or "". Never leaves `data_prep` unhashed unless the data set is
            public.
        study_uid: Study Instance UID (0020,000D), or "". Never leaves `data_prep`.
        source_sha256: Hex digest of the file.
    """

    pixels: np.ndarray
    bits_stored: int
    pixel_spacing_mm: tuple[float, float] | None = None
    spacing_source: SpacingSource = SpacingSource.UNKNOWN
    laterality: Laterality = Laterality.UNKNOWN
    view: View = View.UNKNOWN
    patient_id: str = ""
    study_uid: str = ""
    source_sha256: str = ""

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.dtype != np.uint16 or self.pixels.size == 0:
            raise InputError(
                f"a mammogram is uint16 [height, width]; found {self.pixels.dtype} {list(self.pixels.shape)}"
            )
        if not 8 <= self.bits_stored <= 16:
            raise InputError(f"BitsStored (0028,0101) must be 8 to 16; found {self.bits_stored}")
        if int(self.pixels.max()) > self.full_scale:
            raise InputError(
                f"stored values must fit BitsStored (0028,0101) = {self.bits_stored}; found {int(self.pixels.max())}"
            )
        if (self.pixel_spacing_mm is None) != (self.spacing_source is SpacingSource.UNKNOWN):
            raise InputError("a pixel spacing needs its source, and a source its spacing")

    @property
    def full_scale(self) -> int:
        """The stored value that means intensity 1."""
        return (1 << self.bits_stored) - 1

    def intensity(self) -> np.ndarray:
        """Returns float32 [height, width] in [0, 1]: stored value / (2^BitsStored - 1)."""
        return self.pixels.astype(np.float32) / np.float32(self.full_scale)


def is_dicom(path: pathlib.Path) -> bool:
    """Tells a DICOM file by its suffix or by the "DICM" prefix at byte 128 (PS3.10 7.1)."""
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_mammogram(path: pathlib.Path) -> Mammogram:
    """Reads one mammogram from a DICOM file or a 16-bit greyscale PNG (full scale 65535).

    Raises:
        InputError: The file is unreadable, truncated, no mammogram, or outside the rules of `Mammogram`.
    """
    data = _read_bytes(path)
    digest = hashlib.sha256(data).hexdigest()
    try:
        if path.suffix.lower() == ".png":
            return Mammogram(_mammogram_png(data), bits_stored=16, source_sha256=digest)
        return _from_dicom(data, digest)
    except InputError as error:
        raise InputError(error.rule, path) from None


def read_header(path: pathlib.Path) -> Dataset:
    """Reads and checks the attributes that say whether a DICOM file is a mammogram, without its pixels.

    Raises:
        InputError: Not DICOM, or not a single-frame greyscale mammogram for presentation.
    """
    try:
        dataset = _parse(_read_bytes(path), header_only=True)
        _check_header(dataset)
    except InputError as error:
        raise InputError(error.rule, path) from None
    return dataset


def decode_grey_png(data: bytes) -> np.ndarray:
    """Decodes a single-channel PNG of any depth.

    Returns:
        uint16 [height, width] for 16-bit files, uint8 for shallower ones (1-bit files give 0 and 255).

    Raises:
        InputError: Not a PNG, truncated, colour, or larger than `MAX_PIXELS`.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(f"an image may have {MAX_PIXELS} pixels; found {image.height} x {image.width}")
            if image.mode not in ("1", "L", "I;16", "I"):
                raise InputError(f"a PNG must have one grey channel; found mode {image.mode}")
            image.load()
            if image.mode == "1":
                return np.array(image.convert("L"))
            return np.array(image).astype(np.uint8 if image.mode == "L" else np.uint16, copy=False)
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"not a readable PNG ({_one_line(error)})") from None


def encode_png(pixels: np.ndarray) -> bytes:
    """Encodes uint8 or uint16 [height, width] as a greyscale PNG of the same depth."""
    buffer = io.BytesIO()
    # Level 3 writes mammograms a third faster than the default 6 and no larger.
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _mammogram_png(data: bytes) -> np.ndarray:
    pixels = decode_grey_png(data)
    if pixels.dtype != np.uint16:
        raise InputError("a mammogram as PNG must have 16 bits a pixel; found 8 or fewer")
    return pixels


def _from_dicom(data: bytes, digest: str) -> Mammogram:
    dataset = _parse(data)
    _check_header(dataset)
    spacing, source = _spacing(dataset)
    return Mammogram(
        pixels=_decode_pixels(dataset),
        bits_stored=int(dataset.BitsStored),
        pixel_spacing_mm=spacing,
        spacing_source=source,
        laterality=_laterality(dataset),
        view=_view(dataset),
        patient_id=str(dataset.get("PatientID") or ""),
        study_uid=str(dataset.get("StudyInstanceUID") or ""),
        source_sha256=digest,
    )


def _read_bytes(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None


def _parse(data: bytes, header_only: bool = False) -> Dataset:
    try:
        with warnings.catch_warnings():
            # pydicom warns about values that break their VR; what we use is checked below, the rest is not ours.
            warnings.simplefilter("ignore")
            return pydicom.dcmread(
                io.BytesIO(data),
                stop_before_pixels=header_only,
                specific_tags=list(_HEADER_TAGS) if header_only else None,
            )
    except InvalidDicomError:
        raise InputError("not a DICOM file (no DICM prefix at byte 128, PS3.10 7.1)") from None
    except Exception as error:
        raise InputError(f"not a readable DICOM file ({_one_line(error)})") from None


def _check_header(dataset: Dataset) -> None:
    modality = str(dataset.get("Modality") or "")
    if modality != "MG":
        raise InputError(f"not a mammogram: Modality (0008,0060) must be MG; found {modality or 'none'}")
    if str(dataset.get("SOPClassUID") or "") == _FOR_PROCESSING:
        raise InputError("a mammogram for processing; SOPClassUID (0008,0016) must be one for presentation")
    for keyword in ("Rows", "Columns", "BitsStored", "BitsAllocated", "PhotometricInterpretation"):
        if dataset.get(keyword) in (None, ""):
            raise InputError(f"an image needs {keyword}; found none")
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise InputError(f"a mammogram has one channel; found SamplesPerPixel (0028,0002) {dataset.SamplesPerPixel}")
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise InputError(f"a mammogram has one frame; found NumberOfFrames (0028,0008) {dataset.NumberOfFrames}")
    if dataset.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(
            "PhotometricInterpretation (0028,0004) must be MONOCHROME1 or MONOCHROME2; "
            f"found {dataset.PhotometricInterpretation}"
        )
    if int(dataset.get("PixelRepresentation") or 0) != 0:
        raise InputError("stored values must be unsigned; found PixelRepresentation (0028,0103) 1")
    if not 0 < int(dataset.Rows) * int(dataset.Columns) <= MAX_PIXELS:
        raise InputError(f"an image has 1 to {MAX_PIXELS} pixels; found {dataset.Rows} x {dataset.Columns}")
    if not 8 <= int(dataset.BitsStored) <= int(dataset.BitsAllocated) <= 16:
        raise InputError(
            "BitsStored (0028,0101) must be 8 to 16 and fit BitsAllocated (0028,0100); "
            f"found {dataset.BitsStored} in {dataset.BitsAllocated}"
        )


def _decode_pixels(dataset: Dataset) -> np.ndarray:
    """Decodes to uint16, brighter is denser, padding 0 (PS3.3 C.7.6.3.1.2, C.7.5.1.1.2)."""
    if "PixelData" not in dataset:
        raise InputError("an image needs PixelData (7FE0,0010); found none")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = np.asarray(dataset.pixel_array)
    except Exception as error:
        raise InputError(f"PixelData (7FE0,0010) cannot be decoded ({_one_line(error)})") from None
    if stored.shape != (int(dataset.Rows), int(dataset.Columns)):
        raise InputError(f"PixelData must be {dataset.Rows} x {dataset.Columns}; found {list(stored.shape)}")
    full_scale = (1 << int(dataset.BitsStored)) - 1
    pixels = stored.astype(np.uint16)
    if int(pixels.max()) > full_scale:
        raise InputError(f"stored values must be at most {full_scale} (BitsStored); found {int(pixels.max())}")
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        pixels = np.uint16(full_scale) - pixels
    if dataset.get("PixelPaddingValue") is not None:
        bounds = [int(dataset.PixelPaddingValue), int(dataset.get("PixelPaddingRangeLimit", dataset.PixelPaddingValue))]
        pixels[(stored >= min(bounds)) & (stored <= max(bounds))] = 0
    return pixels


def _spacing(dataset: Dataset) -> tuple[tuple[float, float] | None, SpacingSource]:
    """Chooses the spacing in the patient where there is one (PS3.3 10.7.1.3)."""
    if (spacing := _pair(dataset, "PixelSpacing")) is not None:
        return spacing, SpacingSource.PIXEL_SPACING
    if (spacing := _pair(dataset, "ImagerPixelSpacing")) is not None:
        factor = float(dataset.get("EstimatedRadiographicMagnificationFactor") or 1.0)
        factor = factor if factor >= 1.0 else 1.0
        return (spacing[0] / factor, spacing[1] / factor), SpacingSource.IMAGER
    if (spacing := _pair(dataset, "NominalScannedPixelSpacing")) is not None:
        return spacing, SpacingSource.SCANNED
    return None, SpacingSource.UNKNOWN


def _pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    value = dataset.get(keyword)
    try:
        row, column = (float(number) for number in value)
    except (TypeError, ValueError):
        return None
    return (row, column) if row > 0 and column > 0 else None


def _laterality(dataset: Dataset) -> Laterality:
    for keyword in ("ImageLaterality", "Laterality"):
        value = str(dataset.get(keyword) or "").strip().upper()
        if value in ("L", "R"):
            return Laterality(value)
    return Laterality.UNKNOWN


def _view(dataset: Dataset) -> View:
    # CBIS-DDSM keeps the view in PatientOrientation (0020,0020), where the standard wants directions.
    for keyword in ("ViewPosition", "PatientOrientation"):
        value = str(dataset.get(keyword) or "").strip().upper()
        if value and value in View._value2member_map_:
            return View(value)
    return View.UNKNOWN


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
