"""One mammogram, read from DICOM or a 16-bit PNG into the intensities that everything downstream relies on."""

import contextlib
import dataclasses
import enum
import hashlib
import io
import logging
import math
import pathlib
import re
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from data_prep.errors import InputError
from data_prep.png import MAX_PIXELS, decode_grey_png, encode_png

__all__ = [
    "DICOM_SUFFIXES",
    "MAX_PIXELS",
    "Laterality",
    "Mammogram",
    "SpacingSource",
    "View",
    "decode_grey_png",
    "encode_png",
    "header_text",
    "is_dicom",
    "read_header",
    "read_identifiers",
    "read_mammogram",
]

DICOM_SUFFIXES = (".dcm", ".dicom")

_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.2.1"  # Digital Mammography X-Ray Image Storage - For Processing

# pydicom's own decoder raises on damaged files; GDCM and pylibjpeg-rle, which it prefers where they are installed, end
# the process or panic on some. It takes 0.2 s for 12 megapixels, they 0.06 s.
_RLE_PLUGIN = "pydicom"

# View Code Sequence (0054,0220), CID 4014: SNOMED CT codes, and the SNOMED RT codes that they replaced.
_VIEW_OF_CODE = {
    "399162004": "CC", "R-10242": "CC", "399368009": "MLO", "R-10226": "MLO", "399260004": "ML", "R-10224": "ML",
    "399352003": "LM", "R-10228": "LM", "399099002": "LMO", "R-10230": "LMO", "399196006": "FB", "R-10244": "FB",
    "399188001": "SIO", "R-102D0": "SIO", "441555000": "ISO", "R-40AAA": "ISO", "399192008": "XCCL", "R-1024A": "XCCL",
    "399101009": "XCCM", "R-1024B": "XCCM",
}  # fmt: skip

# Read before the pixels: all that the split, the checks and the orientation need.
_HEADER_TAGS = (
    "SOPClassUID", "Modality", "PresentationIntentType", "PatientID", "StudyInstanceUID", "PhotometricInterpretation",
    "SamplesPerPixel", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "PixelSpacing", "ImagerPixelSpacing",
    "EstimatedRadiographicMagnificationFactor", "NominalScannedPixelSpacing", "ImageLaterality", "Laterality",
    "ViewPosition", "PatientOrientation", "ViewCodeSequence", "PatientName", "SeriesInstanceUID", "SOPInstanceUID",
)  # fmt: skip

_IDENTIFYING_TAGS = ("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


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
        warnings: What a person should know before relying on this image, such as lossy compression or an implant; each
            a short line without patient data.
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
    warnings: tuple[str, ...] = ()

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
            return Mammogram(decode_grey_png(data, bits=16), bits_stored=16, source_sha256=digest)
        return _from_dicom(data, digest)
    except InputError as error:
        raise InputError(error.rule, path) from None


def read_header(path: pathlib.Path) -> Dataset:
    """Reads and checks the attributes that say whether a DICOM file is a mammogram, without its pixels.

    Raises:
        InputError: Not DICOM, or not a single-frame greyscale mammogram for presentation.
    """
    try:
        with path.open("rb") as file:
            dataset = _parse(file, header_only=True)
        _check_header(dataset)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
    except InputError as error:
        raise InputError(error.rule, path) from None
    return dataset


def read_identifiers(path: pathlib.Path) -> set[str]:
    """Returns what names a patient, study, series or image in the header of any DICOM file.

    For keeping them out of what leaves `data_prep`; a file that cannot be read as DICOM gives what is readable, perhaps
    nothing.
    """
    try:
        with path.open("rb") as file:
            dataset = _parse(file, header_only=True)
    except (OSError, InputError):
        return set()
    found: set[str] = set()
    for keyword in _IDENTIFYING_TAGS:
        with contextlib.suppress(InputError):
            text = header_text(dataset, keyword)
            # A name is stored as FAMILY^GIVEN^MIDDLE, its other scripts behind "="; folders hold it in any order.
            found |= {text, *re.split(r"[\^=\s,]+", text)} if keyword == "PatientName" else {text}
    return found - {""}


def header_text(dataset: Dataset, keyword: str) -> str:
    """Returns an attribute as text without surrounding blanks; "" where it is absent or empty.

    Raises:
        InputError: The attribute cannot be decoded; the message never holds its value.
    """
    value = _value(dataset, keyword)
    return "" if value is None else str(value).strip()


def _from_dicom(data: bytes, digest: str) -> Mammogram:
    dataset = _parse(io.BytesIO(data))
    _check_header(dataset)
    spacing, source = _spacing(dataset)
    return Mammogram(
        pixels=_decode_pixels(dataset),
        bits_stored=_integer(dataset, "BitsStored"),
        pixel_spacing_mm=spacing,
        spacing_source=source,
        laterality=_laterality(dataset),
        view=_view(dataset),
        patient_id=header_text(dataset, "PatientID"),
        study_uid=header_text(dataset, "StudyInstanceUID"),
        source_sha256=digest,
    )


def _read_bytes(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None


def _parse(source: BinaryIO, header_only: bool = False) -> Dataset:
    try:
        with _quiet_pydicom():
            return pydicom.dcmread(
                source,
                stop_before_pixels=header_only,
                specific_tags=list(_HEADER_TAGS) if header_only else None,
            )
    except InvalidDicomError:
        raise InputError("not a DICOM file (no DICM prefix at byte 128, PS3.10 7.1)") from None
    except Exception as error:
        # pydicom raises whatever a damaged file leads to; its text may quote the file, so only the kind is told.
        raise InputError(f"not a readable DICOM file: damaged or truncated ({type(error).__name__})") from None


@contextlib.contextmanager
def _quiet_pydicom() -> Iterator[None]:
    """Silences warnings and logged tracebacks: values we use are checked here, the rest of a file is not ours."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logger.setLevel(logging.CRITICAL + 1)
            yield
    finally:
        logger.setLevel(level)


def _named(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    return keyword if tag is None else f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _value(dataset: Dataset, keyword: str) -> Any:
    """Returns a value, None where it is absent or empty. pydicom decodes it only now and raises whatever it meets."""
    try:
        with _quiet_pydicom():
            value = dataset.get(keyword)
    except Exception as error:
        raise InputError(f"{_named(keyword)} cannot be decoded ({type(error).__name__})") from None
    return None if value is None or value == "" else value


def _integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    value = _value(dataset, keyword)
    if value is None:
        if default is None:
            raise InputError(f"an image needs {_named(keyword)}; found none")
        return default
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{_named(keyword)} must be one integer; found a {type(value).__name__}") from None


def _code(dataset: Dataset, keyword: str) -> str:
    """Returns a code string as one printable line of at most 40 characters, for checks and messages."""
    return "".join(character for character in header_text(dataset, keyword) if character.isprintable())[:40]


def _check_header(dataset: Dataset) -> None:
    if (modality := _code(dataset, "Modality")) != "MG":
        raise InputError(f"not a mammogram: Modality (0008,0060) must be MG; found {modality or 'none'}")
    if header_text(dataset, "SOPClassUID") == _FOR_PROCESSING:
        raise InputError("a mammogram for processing; SOPClassUID (0008,0016) must be one for presentation")
    if _code(dataset, "PresentationIntentType") == "FOR PROCESSING":
        raise InputError("PresentationIntentType (0008,0068) must be FOR PRESENTATION; found FOR PROCESSING")
    if (channels := _integer(dataset, "SamplesPerPixel", 1)) != 1:
        raise InputError(f"a mammogram has one channel; found SamplesPerPixel (0028,0002) {channels}")
    if (frames := _integer(dataset, "NumberOfFrames", 1)) != 1:
        raise InputError(f"a mammogram has one frame; found NumberOfFrames (0028,0008) {frames}")
    photometric = _code(dataset, "PhotometricInterpretation")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(
            f"PhotometricInterpretation (0028,0004) must be MONOCHROME1 or MONOCHROME2; found {photometric or 'none'}"
        )
    if _integer(dataset, "PixelRepresentation", 0) != 0:
        raise InputError("stored values must be unsigned; found PixelRepresentation (0028,0103) 1")
    rows, columns = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    if not 0 < rows * columns <= MAX_PIXELS:
        raise InputError(f"an image has 1 to {MAX_PIXELS} pixels; found {rows} x {columns}")
    stored, allocated = _integer(dataset, "BitsStored"), _integer(dataset, "BitsAllocated")
    if not 8 <= stored <= allocated <= 16:
        raise InputError(
            f"BitsStored (0028,0101) must be 8 to 16 and fit BitsAllocated (0028,0100); found {stored} in {allocated}"
        )
    if (high := _integer(dataset, "HighBit", stored - 1)) != stored - 1:
        raise InputError(f"HighBit (0028,0102) must be BitsStored - 1 (PS3.5 8.1.1); found {high} for {stored} bits")


def _decode_pixels(dataset: Dataset) -> np.ndarray:
    """Decodes to uint16, brighter is denser, padding 0 (PS3.3 C.7.6.3.1.2, C.7.5.1.1.2)."""
    if "PixelData" not in dataset:
        raise InputError("an image needs PixelData (7FE0,0010); found none")
    try:
        with _quiet_pydicom():
            if dataset.file_meta.TransferSyntaxUID == RLELossless:
                dataset.pixel_array_options(decoding_plugin=_RLE_PLUGIN)
            stored = np.asarray(dataset.pixel_array)
    except Exception as error:
        raise InputError(f"PixelData (7FE0,0010) cannot be decoded ({_one_line(error)})") from None
    rows, columns = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    if stored.shape != (rows, columns):
        raise InputError(f"PixelData (7FE0,0010) must be {rows} x {columns}; found {list(stored.shape)}")
    full_scale = (1 << _integer(dataset, "BitsStored")) - 1
    pixels = stored.astype(np.uint16)
    if int(pixels.max()) > full_scale:
        raise InputError(f"stored values must be at most {full_scale} (BitsStored); found {int(pixels.max())}")
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        pixels = np.uint16(full_scale) - pixels
    if _value(dataset, "PixelPaddingValue") is not None:
        padding = _integer(dataset, "PixelPaddingValue")
        limit = _integer(dataset, "PixelPaddingRangeLimit", padding)
        pixels[(stored >= min(padding, limit)) & (stored <= max(padding, limit))] = 0
    return pixels


def _spacing(dataset: Dataset) -> tuple[tuple[float, float] | None, SpacingSource]:
    """Chooses the spacing in the patient where there is one (PS3.3 10.7.1.3).

    A Pixel Spacing that equals the Imager Pixel Spacing was not corrected for magnification: it is the detector's.
    """
    patient, imager = _pair(dataset, "PixelSpacing"), _pair(dataset, "ImagerPixelSpacing")
    factor = _magnification(dataset)
    if patient is not None and (patient != imager or factor == 1.0):
        return patient, SpacingSource.PIXEL_SPACING
    if imager is not None:
        return (imager[0] / factor, imager[1] / factor), SpacingSource.IMAGER
    if (scanned := _pair(dataset, "NominalScannedPixelSpacing")) is not None:
        return scanned, SpacingSource.SCANNED
    return None, SpacingSource.UNKNOWN


def _magnification(dataset: Dataset) -> float:
    """Returns the Estimated Radiographic Magnification Factor (0018,1114), 1 where none of at least 1 is given."""
    try:
        factor = float(_value(dataset, "EstimatedRadiographicMagnificationFactor"))
    except (TypeError, ValueError):
        return 1.0
    return factor if 1.0 <= factor < math.inf else 1.0


def _pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    """Returns (row, column) in mm; None where the attribute is absent or holds no two lengths: then it says nothing."""
    try:
        row, column = (float(number) for number in _value(dataset, keyword))
    except (TypeError, ValueError):
        return None
    return (row, column) if 0 < row < math.inf and 0 < column < math.inf else None


def _laterality(dataset: Dataset) -> Laterality:
    for keyword in ("ImageLaterality", "Laterality"):
        value = header_text(dataset, keyword).upper()
        if value in ("L", "R"):
            return Laterality(value)
    return Laterality.UNKNOWN


def _view(dataset: Dataset) -> View:
    # CBIS-DDSM keeps the view in PatientOrientation (0020,0020), where the standard wants directions.
    for keyword in ("ViewPosition", "PatientOrientation"):
        value = header_text(dataset, keyword).upper()
        if value and value in View._value2member_map_:
            return View(value)
    codes = _value(dataset, "ViewCodeSequence")
    code = header_text(codes[0], "CodeValue") if isinstance(codes, Sequence) and len(codes) else ""
    return View(_VIEW_OF_CODE.get(code, ""))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
