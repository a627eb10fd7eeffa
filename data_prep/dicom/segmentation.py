"""Masks from DICOM Segmentation objects (PS3.3 A.51, C.8.20): BINARY, FRACTIONAL and LABELMAP, of any number of frames.

What a segment means comes from its Segmented Property Type (0062,000F):

* a calcification cluster is a region: its pixels are ignored;
* anatomy (Segmented Property Category (0062,0003) Anatomical Structure), such as the breast, is left out;
* everything else is calcifications; where the code does not say so, with a warning.
"""

import dataclasses
import io
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from data_prep.dicom.access import header_text, parse_dicom, read_integer, read_items, read_value, tell_code
from data_prep.dicom.decoding import decode_frame, transfer_syntax
from data_prep.errors import InputError
from data_prep.mask import BACKGROUND, CALCIFICATION, IGNORE
from data_prep.png import MAX_PIXELS

__all__ = ["SegmentationHeader", "read_segmentation", "read_segmentation_header"]

# SNOMED CT codes, and the SNOMED RT codes that they replaced.
_CLUSTER = ("129769006", "F-01775")
_CALCIFICATIONS = ("129770007", "F-01776", "129748009", "F-01760")
_ANATOMY = ("91723000", "T-D0005", "123037004", "T-D000A")

_HEADER_TAGS = (
    "Modality", "SegmentationType", "PhotometricInterpretation", "Rows", "Columns", "SegmentSequence",
    "ReferencedSeriesSequence", "SourceImageSequence", "SharedFunctionalGroupsSequence",
)  # fmt: skip

_MAX_BYTES = 1 << 30

_UNPACKED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)


@dataclasses.dataclass(frozen=True)
class SegmentationHeader:
    """A segmentation without its pixels.

    Attributes:
        size: (height, width).
        meaning: Segment Number (0062,0004) -> CALCIFICATION, IGNORE or, where it is left out, BACKGROUND.
        warnings: What the codes leave open, one line each.
        images: SOP Instance UIDs (0008,1155) of the images that it was drawn on, as far as it tells; never leaves
            `data_prep`.
    """

    size: tuple[int, int]
    meaning: Mapping[int, int]
    warnings: tuple[str, ...]
    images: frozenset[str]


def read_segmentation_header(path: pathlib.Path) -> SegmentationHeader:
    """Reads and checks a segmentation up to its pixels.

    Raises:
        InputError: Not a readable DICOM segmentation; `where` is the file.
    """
    try:
        with path.open("rb") as file:
            return _header(parse_dicom(file, only=_HEADER_TAGS))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
    except InputError as error:
        raise InputError(error.rule, path) from None


def read_segmentation(path: pathlib.Path) -> np.ndarray:
    """Draws every segment: uint8 [height, width] of BACKGROUND, CALCIFICATION and IGNORE.

    Where segments overlap, a calcification wins over what is ignored.

    Raises:
        InputError: As `read_segmentation_header`, and where pixels are damaged or belong to no segment.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"a segmentation is a file of at most {_MAX_BYTES} bytes; found {path.stat().st_size}")
        dataset = parse_dicom(io.BytesIO(path.read_bytes()))
        header = _header(dataset)
        mask = np.full(header.size, BACKGROUND, np.uint8)
        for value, drawn in _drawn_frames(dataset, header):
            mask[drawn if value == CALCIFICATION else drawn & (mask != CALCIFICATION)] = value
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
    except InputError as error:
        raise InputError(error.rule, path) from None
    return mask


def _header(dataset: Dataset) -> SegmentationHeader:
    if (modality := header_text(dataset, "Modality")) != "SEG":
        raise InputError(f"a mask as DICOM must have Modality (0008,0060) SEG; found {tell_code(modality)}")
    if (kind := header_text(dataset, "SegmentationType")) not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise InputError(
            f"SegmentationType (0062,0001) must be BINARY, FRACTIONAL or LABELMAP; found {tell_code(kind)}"
        )
    # A label map may have a palette, which is not looked at.
    if (colours := header_text(dataset, "PhotometricInterpretation")) not in ("MONOCHROME2", "PALETTE COLOR"):
        raise InputError(
            f"PhotometricInterpretation (0028,0004) of a segmentation must be MONOCHROME2; found {tell_code(colours)}"
        )
    transfer_syntax(dataset)
    rows, columns = read_integer(dataset, "Rows"), read_integer(dataset, "Columns")
    if rows <= 0 or columns <= 0 or rows * columns > MAX_PIXELS:
        raise InputError(f"an image has 1 to {MAX_PIXELS} pixels; found {rows} x {columns}")
    meaning, warnings = {}, []
    for segment in read_items(dataset, "SegmentSequence"):
        number = read_integer(segment, "SegmentNumber")
        if kind == "LABELMAP" and number == 0:
            continue  # the background, which a label map may describe too
        meaning[number], warning = _meaning(segment)
        if warning:
            warnings.append(f"segment {number} {warning}")
    if not meaning:
        raise InputError("a segmentation needs SegmentSequence (0062,0002); found none")
    return SegmentationHeader((rows, columns), meaning, tuple(warnings), _source_images(dataset))


def _meaning(segment: Dataset) -> tuple[int, str]:
    kind = _coded(segment, "SegmentedPropertyTypeCodeSequence")
    if kind in _CLUSTER:
        return IGNORE, ""
    if kind in _CALCIFICATIONS:
        return CALCIFICATION, ""
    if _coded(segment, "SegmentedPropertyCategoryCodeSequence") in _ANATOMY:
        return BACKGROUND, "is anatomy by its code: left out"
    return CALCIFICATION, "has a code that names no calcification: taken as calcifications"


def _coded(segment: Dataset, keyword: str) -> str:
    items = read_items(segment, keyword)
    return header_text(items[0], "CodeValue") if items else ""


def _source_images(dataset: Dataset) -> frozenset[str]:
    series = read_items(dataset, "ReferencedSeriesSequence")
    instances = [item for one in series for item in read_items(one, "ReferencedInstanceSequence")]
    instances += read_items(dataset, "SourceImageSequence")
    return frozenset(header_text(item, "ReferencedSOPInstanceUID") for item in instances) - {""}


def _drawn_frames(dataset: Dataset, header: SegmentationHeader) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the meaning of a frame's segment and bool [height, width]; frames whose segment is left out are passed."""
    kind = header_text(dataset, "SegmentationType")
    if kind == "LABELMAP":
        labels = decode_frame(dataset) if read_integer(dataset, "NumberOfFrames", 1) == 1 else None
        if labels is None:
            raise InputError("a label map of one image has one frame; NumberOfFrames (0028,0008) says more")
        yield from _labelled(labels, header.meaning)
        return
    threshold = 1.0
    if kind == "FRACTIONAL":
        threshold = max(1.0, read_integer(dataset, "MaximumFractionalValue", 255) / 2)
    for index, number in enumerate(_segment_numbers(dataset, header)):
        if number not in header.meaning:
            raise InputError(f"a frame belongs to a segment of SegmentSequence (0062,0002); found number {number}")
        if header.meaning[number] != BACKGROUND:
            frame = _unpack(dataset, index, header.size) if kind == "BINARY" else decode_frame(dataset, index)
            yield header.meaning[number], frame >= threshold


def _unpack(dataset: Dataset, index: int, size: tuple[int, int]) -> np.ndarray:
    """Unpacks one frame of single bits, lowest first (PS3.5 8.1.1); frames need not begin at a byte.

    Own code: pydicom 3.0.2 takes a frame that begins within a byte for a damaged one.
    """
    if read_integer(dataset, "BitsAllocated") != 1 or transfer_syntax(dataset) not in _UNPACKED:
        raise InputError("a BINARY segmentation has BitsAllocated (0028,0100) 1 and little endian pixels as they are")
    count = size[0] * size[1]
    first = index * count
    packed = read_value(dataset, "PixelData") or b""
    if not isinstance(packed, bytes):
        raise InputError("PixelData (7FE0,0010) must hold bytes; its value representation is damaged")
    bits = np.unpackbits(np.frombuffer(packed[first // 8 : -(-(first + count) // 8)], np.uint8), bitorder="little")
    frame = bits[first % 8 : first % 8 + count]
    if frame.size < count:
        raise InputError(f"PixelData (7FE0,0010) must hold {count} bits a frame; it is truncated")
    return frame.reshape(size)


def _labelled(labels: np.ndarray, meaning: Mapping[int, int]) -> Iterator[tuple[int, np.ndarray]]:
    values = np.unique(labels)
    unknown = set(values.tolist()) - set(meaning) - {0}
    if unknown:
        raise InputError(
            f"a label is the number of a segment of SegmentSequence (0062,0002); found {min(unknown)} of none"
        )
    for value in (IGNORE, CALCIFICATION):
        numbers = [number for number in values if number != 0 and meaning[int(number)] == value]
        yield value, np.isin(labels, numbers)


def _segment_numbers(dataset: Dataset, header: SegmentationHeader) -> list[int]:
    """Returns the Segment Number of each frame: its own, else the one for all, else that of the only segment."""
    frames = read_integer(dataset, "NumberOfFrames", 1)
    default = _referenced(read_items(dataset, "SharedFunctionalGroupsSequence"))
    if default is None and len(header.meaning) == 1:
        default = next(iter(header.meaning))
    per_frame = read_items(dataset, "PerFrameFunctionalGroupsSequence")
    told = [_referenced((item,)) for item in per_frame] if per_frame else [None]
    numbers = [number for number in (default if one is None else one for one in told) if number is not None]
    if len(numbers) != frames:
        raise InputError(
            f"each of {frames} frames needs ReferencedSegmentNumber (0062,000B), PS3.3 C.8.20.3.3; found {len(numbers)}"
        )
    return numbers


def _referenced(groups: tuple[Dataset, ...]) -> int | None:
    for group in groups:
        for item in read_items(group, "SegmentIdentificationSequence"):
            if read_value(item, "ReferencedSegmentNumber") is not None:
                return read_integer(item, "ReferencedSegmentNumber")
    return None
