"""Which DICOM files are mammograms: the header's rules, checked before any pixel is read."""

import contextlib
import dataclasses
import pathlib
import re

from pydicom.dataset import Dataset

from data_prep.dicom.access import (
    header_text,
    parse_dicom,
    read_integer,
    read_items,
    read_numbers,
    tell_code,
)
from data_prep.dicom.decoding import transfer_syntax
from data_prep.dicom.voi import has_voi
from data_prep.errors import InputError
from data_prep.png import MAX_PIXELS

__all__ = ["STORED_VALUES", "ReadOptions", "check_header", "is_for_processing", "read_header", "read_identifiers"]

# PS3.4 B.5: Digital Mammography X-Ray and Breast Projection X-Ray Image Storage - For Processing; tomosynthesis.
_FOR_PROCESSING = ("1.2.840.10008.5.1.4.1.1.1.2.1", "1.2.840.10008.5.1.4.1.1.13.1.5")
_TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"

# Read before the pixels: all that the split and the checks need.
_HEADER_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "Modality", "PresentationIntentType", "PatientID", "PatientName",
    "StudyInstanceUID", "SeriesInstanceUID", "PhotometricInterpretation", "SamplesPerPixel", "NumberOfFrames", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "ModalityLUTSequence",
    "WindowCenter", "WindowWidth", "VOILUTSequence",
)  # fmt: skip

_IDENTIFYING_TAGS = ("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """What is asked of a reader beyond the stored values of a mammogram for presentation.

    Attributes:
        for_processing: Reads mammograms for processing too. Their stored values are the detector's, not those of
            presentation: they lack the logarithm and, most often, the inversion.
        voi_lut: Applies modality LUT or rescale and the first VOI LUT or window of the file (PS3.3 C.11.1, C.11.2):
            what its display shows, at 16 bits. A file without VOI LUT and window keeps its stored values.
    """

    for_processing: bool = False
    voi_lut: bool = False


STORED_VALUES = ReadOptions()


def read_header(path: pathlib.Path, options: ReadOptions = STORED_VALUES) -> Dataset:
    """Reads and checks the attributes that say whether a DICOM file is a mammogram, without its pixels.

    Raises:
        InputError: Not DICOM, or not a single-frame greyscale mammogram as `options` want it.
    """
    try:
        with path.open("rb") as file:
            dataset = parse_dicom(file, only=_HEADER_TAGS)
        check_header(dataset, options)
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
            dataset = parse_dicom(file, only=_IDENTIFYING_TAGS)
    except (OSError, InputError):
        return set()
    found: set[str] = set()
    for keyword in _IDENTIFYING_TAGS:
        with contextlib.suppress(InputError):
            text = header_text(dataset, keyword)
            # A name is stored as FAMILY^GIVEN^MIDDLE, its other scripts behind "="; folders hold it in any order.
            found |= {text, *re.split(r"[\^=\s,]+", text)} if keyword == "PatientName" else {text}
    return found - {""}


def is_for_processing(dataset: Dataset) -> bool:
    """Tells a mammogram for processing by its SOP class or Presentation Intent Type (0008,0068)."""
    intent = header_text(dataset, "PresentationIntentType")
    return header_text(dataset, "SOPClassUID") in _FOR_PROCESSING or intent == "FOR PROCESSING"


def check_header(dataset: Dataset, options: ReadOptions) -> None:
    """Checks everything that can be known before decoding.

    Raises:
        InputError: Not a single-frame greyscale mammogram as `options` want it; names attribute and value.
    """
    if (modality := header_text(dataset, "Modality")) != "MG":
        raise InputError(f"not a mammogram: Modality (0008,0060) must be MG; found {tell_code(modality)}")
    if header_text(dataset, "SOPClassUID") == _TOMOSYNTHESIS:
        raise InputError("not a mammogram: SOPClassUID (0008,0016) is Breast Tomosynthesis Image Storage")
    if is_for_processing(dataset) and not options.for_processing:
        raise InputError(
            "a mammogram must be for presentation; PresentationIntentType (0008,0068) or SOPClassUID (0008,0016) says "
            "for processing: --for_processing reads it all the same"
        )
    if (channels := read_integer(dataset, "SamplesPerPixel", 1)) != 1:
        raise InputError(f"a mammogram has one channel; found SamplesPerPixel (0028,0002) {channels}")
    if (frames := read_integer(dataset, "NumberOfFrames", 1)) != 1:
        raise InputError(f"a mammogram has one frame; found NumberOfFrames (0028,0008) {frames}")
    photometric = header_text(dataset, "PhotometricInterpretation")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(
            f"PhotometricInterpretation (0028,0004) must be MONOCHROME1 or MONOCHROME2; found {tell_code(photometric)}"
        )
    _check_pixel_format(dataset)
    if not (options.voi_lut and has_voi(dataset)):
        _check_modality_lut(dataset)
    transfer_syntax(dataset)


def _check_pixel_format(dataset: Dataset) -> None:
    rows, columns = read_integer(dataset, "Rows"), read_integer(dataset, "Columns")
    if rows <= 0 or columns <= 0 or rows * columns > MAX_PIXELS:
        raise InputError(f"an image has 1 to {MAX_PIXELS} pixels; found {rows} x {columns}")
    if (representation := read_integer(dataset, "PixelRepresentation", 0)) not in (0, 1):
        raise InputError(f"PixelRepresentation (0028,0103) must be 0 or 1; found {representation}")
    stored, allocated = read_integer(dataset, "BitsStored"), read_integer(dataset, "BitsAllocated")
    if allocated not in (8, 16) or not 8 <= stored <= allocated:
        raise InputError(
            "BitsStored (0028,0101) must be 8 to 16 and fit BitsAllocated (0028,0100) of 8 or 16; "
            f"found {stored} in {allocated}"
        )
    if (high := read_integer(dataset, "HighBit", stored - 1)) != stored - 1:
        raise InputError(f"HighBit (0028,0102) must be BitsStored - 1 (PS3.5 8.1.1); found {high} for {stored} bits")


def _check_modality_lut(dataset: Dataset) -> None:
    """Refuses what makes stored values no measure of density; in a conforming file the rescale is the identity.

    PS3.3 C.8.11.3 gives a mammogram Rescale Slope 1 and Intercept 0. Another slope above 0 changes the unit alone and
    is passed over with a warning: intensity is relative to full scale.
    """
    if read_items(dataset, "ModalityLUTSequence"):
        raise InputError(
            "ModalityLUTSequence (0028,3000) must be absent (PS3.3 C.8.11.3): --voi_lut applies it, "
            "beside a window or VOI LUT"
        )
    slope = read_numbers(dataset, "RescaleSlope")
    if slope is not None and slope[:1] <= (0.0,):
        raise InputError(
            "RescaleSlope (0028,1053) must be greater than 0 (PS3.3 C.8.11.3): --voi_lut applies it, beside a window "
            "or VOI LUT"
        )
