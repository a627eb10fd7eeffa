"""One mammogram, read from DICOM or a 16-bit PNG into the intensities that everything downstream relies on."""

import dataclasses
import hashlib
import io
import pathlib
import stat

import numpy as np

from data_prep.dicom.access import header_text, parse_dicom
from data_prep.dicom.description import describe_warnings, find_laterality, find_spacing, find_view
from data_prep.dicom.header import STORED_VALUES, ReadOptions, check_header
from data_prep.dicom.pixels import decode_pixels
from data_prep.dicom.terms import Laterality, SpacingSource, View
from data_prep.errors import InputError
from data_prep.png import decode_grey_png

# The types of a mammogram's fields and of its reader's argument come with it.
__all__ = [
    "DICOM_SUFFIXES",
    "Laterality",
    "Mammogram",
    "ReadOptions",
    "SpacingSource",
    "View",
    "is_dicom",
    "read_mammogram",
]

_LOW = 1 << 14
_DARK = "no value above a quarter of 16 bits: a PNG is taken to reach from 0 to 65535"

DICOM_SUFFIXES = (".dcm", ".dicom")

# A mammogram of MAX_PIXELS with a large header; longer files are tomosynthesis or something else.
_MAX_BYTES = 1 << 30


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
    if path.exists() and not path.is_file():
        return False  # a pipe would be waited for; a broken link is an error
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_mammogram(path: pathlib.Path, options: ReadOptions = STORED_VALUES) -> Mammogram:
    """Reads one mammogram from a DICOM file or a 16-bit greyscale PNG (full scale 65535, no options).

    Raises:
        InputError: The file is unreadable, truncated, no mammogram, or outside the rules of `Mammogram`.
    """
    data = _read_bytes(path)
    digest = hashlib.sha256(data).hexdigest()
    try:
        if path.suffix.lower() == ".png":
            pixels = decode_grey_png(data, bits=16)
            dark = 0 < pixels.max() < _LOW
            return Mammogram(pixels, 16, source_sha256=digest, warnings=(_DARK,) if dark else ())
        return _from_dicom(data, digest, options)
    except InputError as error:
        raise InputError(error.rule, path) from None


def _from_dicom(data: bytes, digest: str, options: ReadOptions) -> Mammogram:
    dataset = parse_dicom(io.BytesIO(data))
    check_header(dataset, options)
    pixels, bits = decode_pixels(dataset, options)
    spacing, source = find_spacing(dataset)
    return Mammogram(
        pixels=pixels,
        bits_stored=bits,
        pixel_spacing_mm=spacing,
        spacing_source=source,
        laterality=find_laterality(dataset),
        view=find_view(dataset),
        patient_id=header_text(dataset, "PatientID"),
        study_uid=header_text(dataset, "StudyInstanceUID"),
        source_sha256=digest,
        warnings=describe_warnings(dataset, options),
    )


def _read_bytes(path: pathlib.Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError("a mammogram is a file; found a folder, a pipe or a device", path)
        if status.st_size > _MAX_BYTES:
            raise InputError(f"a mammogram is a file of at most {_MAX_BYTES} bytes; found {status.st_size}", path)
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
