"""Damage to DICOM files that leaves the rest of the file in order: attributes, transfer syntax, encoded frames."""

import io
import random
import struct
import warnings
from collections.abc import Sequence

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag
from pydicom.uid import UID

from tests.fuzz.mutations import damage
from tests.fuzz.text_edits import ODD_TEXTS

__all__ = ["TOKENS", "edit_dicom"]

# What the readers look at.
_KEYWORDS = (
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "Modality", "PresentationIntentType", "PatientID",
    "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "PhotometricInterpretation", "SamplesPerPixel",
    "NumberOfFrames", "Rows", "Rows", "Columns", "Columns", "BitsAllocated", "BitsStored", "BitsStored", "HighBit",
    "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence",
    "LUTDescriptor", "LUTData", "WindowCenter", "WindowWidth", "VOILUTFunction", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing",
    "EstimatedRadiographicMagnificationFactor", "PixelSpacingCalibrationType", "ImageLaterality", "Laterality",
    "ViewPosition", "PatientOrientation", "ViewCodeSequence", "ViewModifierCodeSequence", "CodeValue",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "FrameAnatomySequence",
    "BurnedInAnnotation", "BreastImplantPresent", "PartialView", "LossyImageCompression", "PlanarConfiguration",
    "PixelData", "FloatPixelData", "ExtendedOffsetTable", "SegmentSequence", "SegmentNumber", "SegmentationType",
    "MaximumFractionalValue", "SegmentIdentificationSequence", "ReferencedSegmentNumber", "ReferencedSeriesSequence",
    "SourceImageSequence",
)  # fmt: skip

_VRS = (
    "US",
    "SS",
    "UL",
    "DS",
    "IS",
    "CS",
    "LO",
    "PN",
    "UI",
    "SQ",
    "UN",
    "OB",
    "OW",
    "AT",
    "FD",
    "LT",
    "UT",
    "UV",
    "XX",
)

_SYNTAXES = (
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.110", "1.2.3", "", "CANARY-77413993",
)  # fmt: skip

_SHORTS = (0, 1, 2, 7, 8, 10, 12, 16, 17, 20, 24, 32, 64, 255, 1000, 0x7FFF, 0x8000, 60_000, 0xFFFF)

TOKENS = (
    *(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for keyword in _KEYWORDS if (tag := tag_for_keyword(keyword))),
    *(struct.pack("<HH2sHH", 0x28, side, b"US", 2, value) for side in (0x10, 0x11) for value in _SHORTS),
    *(vr.encode() for vr in _VRS), b"\xfe\xff\x00\xe0\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\0\0\0\0",
    b"\xfe\xff\xdd\xe0\0\0\0\0", b"SQ\0\0\xff\xff\xff\xff", b"OB\0\0\xff\xff\xff\xff", b"\xff\xff\xff\xff",
    b"\xfe\xff\xff\xff", b"\xe0\x7f\x10\0", b"\x08\0\x05\0CS\x0a\0ISO_IR 192", b"\x02\0\x10\0UI\0\0", b"\xff\xd8",
    b"\xff\xd9", b"\xff\xda", b"\xff\xc3", b"\xff\xc4", b"\xff\xdd", b"\xff\x4f\xff\x51", b"\xff\x90", b"\xff\x93",
    b"\xff\xf7", b"\xff\xf8",
)  # fmt: skip


def edit_dicom(rng: random.Random, data: bytes) -> bytes:
    """Edits a few attributes of a DICOM file; returns it as it is where the result cannot be written."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(io.BytesIO(data), force=True)
            for _ in range(rng.choice((1, 1, 1, 2, 4))):
                _edit(rng, dataset)
            written = io.BytesIO()
            dataset.save_as(written, enforce_file_format=False)
            return written.getvalue()
    except Exception:
        return data


def _edit(rng: random.Random, dataset: Dataset) -> None:
    act = rng.randrange(12)
    tags = list(dataset._dict)
    if act == 0 and tags:
        del dataset._dict[rng.choice(tags)]
    elif act <= 4:
        tag = Tag(tag_for_keyword(rng.choice(_KEYWORDS)))
        _set_raw(rng, rng.choice((dataset, dataset, dataset, *_items(dataset))), tag)
    elif act == 5 and tags:
        _set_raw(rng, dataset, rng.choice(tags))
    elif act == 6 and tags:
        tag, other = rng.choice(tags), rng.choice(tags)
        element = dataset.get_item(other)
        dataset._dict[tag] = RawDataElement(tag, rng.choice(_VRS), 0, _bytes_of(element), 0, False, True, True)
    elif act == 7:
        _set_sequence(rng, dataset)
    elif act == 8:
        _set_size(rng, dataset)
    elif act == 9:
        dataset.file_meta.TransferSyntaxUID = UID(rng.choice(_SYNTAXES))
    else:
        _edit_pixels(rng, dataset)


def _items(dataset: Dataset) -> list[Dataset]:
    return [item for element in dataset if element.VR == "SQ" for item in element.value]


def _bytes_of(element: object) -> bytes:
    value = getattr(element, "value", None)
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def _set_raw(rng: random.Random, dataset: Dataset, tag: int) -> None:
    """Gives an attribute odd bytes, under its own value representation or under another."""
    own = pydicom.datadict.dictionary_VR(tag) if pydicom.datadict.dictionary_has_tag(tag) else "UN"
    vr = own.split(" ")[0] if rng.random() < 0.8 else rng.choice(_VRS)
    if vr in ("US", "SS", "UL", "AT") and rng.random() < 0.9:
        numbers = rng.choices(_SHORTS, k=rng.choice((0, 1, 1, 1, 1, 2, 3)))
        value = b"".join(number.to_bytes(4 if vr in ("UL", "AT") else 2, "little") for number in numbers)
    elif rng.random() < 0.8:
        texts = rng.choices(
            (*ODD_TEXTS, "YES", "0.07", "-0.07", "4096", "LINEAR_EXACT", "SIGMOID"), k=rng.choice((1, 1, 1, 2, 3))
        )
        value = "\\".join(texts).encode("utf-8", "replace")
    else:
        value = rng.randbytes(rng.choice((1, 2, 3, 8, 64)))
    if len(value) > 0xFFFE and vr not in ("OB", "OW", "UN", "UT", "SQ"):
        value = value[:0xFFFE]
    dataset._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True, True)


def _set_sequence(rng: random.Random, dataset: Dataset) -> None:
    keyword = rng.choice([keyword for keyword in _KEYWORDS if keyword.endswith("Sequence")])
    item = Dataset()
    inner = item
    for _ in range(rng.choice((0, 0, 1, 2, 30, 400))):
        deeper = Dataset()
        setattr(inner, keyword, DicomSequence([deeper]))
        inner = deeper
    inner.CodeValue = rng.choice(("399162004", "R-10242", "127457009", "399163009", "CANARY-77413993", ""))
    inner.LUTDescriptor = rng.choice(([0, 0, 16], [4096, 0, 12], [4096, 0, 8], [65535, 65535, 16], [1, 0, 99]))
    inner.LUTData = bytes(rng.choice((0, 2, 512, 4096, 8192)))
    for part in (item, inner):
        part["LUTData"].VR = "OW" if "LUTData" in part else None
    items: Sequence[Dataset] = [item] * rng.choice((0, 1, 1, 2, 300))
    setattr(dataset, keyword, DicomSequence(items))


def _set_size(rng: random.Random, dataset: Dataset) -> None:
    """Makes a set of attributes that fit each other but not the pixels."""
    dataset.Rows, dataset.Columns = rng.choice(
        ((60_000, 60_000), (65_535, 1), (10_000, 12_000), (1, 480), (480, 1), (20, 24), (24, 21), (12, 20), (0, 0))
    )
    if rng.random() < 0.3:
        dataset.NumberOfFrames = rng.choice((0, 1, 2, 2**31 - 1, -1))
    if rng.random() < 0.3:
        bits = rng.choice((1, 8, 12, 16, 32, 64))
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = rng.choice((8, 16, 32, 64)), bits, bits - 1


def _edit_pixels(rng: random.Random, dataset: Dataset) -> None:
    """Damages encoded frames inside their fragments, or native pixels as a whole."""
    value = dataset.PixelData
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        frames = [damage(rng, frame, [frame], TOKENS[-11:]) for frame in generate_frames(value, number_of_frames=1)]
        frames = frames * rng.choice((1, 1, 1, 1, 2)) if rng.random() < 0.9 else [b""]
        value = encapsulate(frames, fragments_per_frame=rng.choice((1, 1, 1, 2)), has_bot=rng.random() < 0.7)
        if rng.random() < 0.15:
            value = damage(rng, value, [value], TOKENS)
    else:
        value = rng.choice((b"", value[:-1], value[:-2], value + b"\0\0", value * 2, damage(rng, value, [value], [])))
    dataset.PixelData = value
    dataset["PixelData"].VR = rng.choice(("OW", "OB", "OW", "OB", "UN"))
