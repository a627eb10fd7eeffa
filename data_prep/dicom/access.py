"""Checked access to DICOM files: an error of a damaged or odd one is an `InputError` of one line without its values."""

import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import _read_command_set_elements, _read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from data_prep.errors import InputError
from data_prep.png import MAX_PIXELS
from data_prep.quiet import quiet

__all__ = [
    "header_text", "named", "one_line", "parse_dicom", "read_integer", "read_items",
    "read_numbers", "read_value", "tell_code",
]  # fmt: skip

# Modality (PS3.3 C.7.3.1.1.1), Photometric Interpretation (C.7.6.3.1.2): of what is found beside mammograms.
_TERMS = frozenset({
    "AU", "BMD", "CR", "CT", "DOC", "DX", "ES", "IO", "KO", "MG", "MR", "NM", "OT", "PR", "PT", "PX", "REG", "RF", "RG",
    "RTDOSE", "RTIMAGE", "RTPLAN", "RTSTRUCT", "SC", "SEG", "SM", "SR", "US", "XA", "XC", "MONOCHROME1", "MONOCHROME2",
    "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "XYB", "BINARY", "FRACTIONAL", "LABELMAP",
})  # fmt: skip

# A deflated file may unpack to a thousand times its size: this much holds the largest image and its header.
_MAX_INFLATED_BYTES = 2 * MAX_PIXELS + (64 << 20)
_INFLATE_STEP = 1 << 20


def parse_dicom(source: BinaryIO, only: Sequence[str] = ()) -> Dataset:
    """Parses a DICOM file (PS3.10) up to its pixels or, where `only` is empty, with them.

    Args:
        source: The file, open at its start.
        only: Keywords of the attributes wanted; none for all, pixels included.

    Raises:
        InputError: Not DICOM, damaged, truncated, or a deflated file that unpacks to more than an image can have.
    """
    try:
        with quiet("pydicom"):
            _check_deflated(source)
            return pydicom.dcmread(source, stop_before_pixels=bool(only), specific_tags=list(only) or None)
    except (InputError, MemoryError):
        raise
    except InvalidDicomError:
        raise InputError(
            "not a DICOM file (no DICM prefix at byte 128, PS3.10 7.1); mammograms are DICOM or 16-bit PNG"
        ) from None
    except Exception as error:
        # pydicom raises whatever a damaged file leads to; its text may quote the file, so only the kind is told.
        raise InputError(f"not a readable DICOM file: damaged or truncated ({type(error).__name__})") from None


def _check_deflated(source: BinaryIO) -> None:
    """Counts what a deflated file (PS3.5 A.5) unpacks to, in small steps; pydicom unpacks it at once."""
    source.seek(128)
    if source.read(4) == b"DICM":
        meta = _read_file_meta_info(source)  # as dcmread does; the public function wants a path
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            # Where dcmread begins to unpack: behind a command set, which stands there in no good file.
            _read_command_set_elements(source)
            inflater, unpacked, packed = zlib.decompressobj(-zlib.MAX_WBITS), 0, source.read(_INFLATE_STEP)
            while packed and not inflater.eof:
                unpacked += len(inflater.decompress(packed, _INFLATE_STEP))
                packed = inflater.unconsumed_tail or source.read(_INFLATE_STEP)
                if unpacked > _MAX_INFLATED_BYTES:
                    raise InputError(f"a deflated file must unpack to at most {_MAX_INFLATED_BYTES} bytes; found more")
    source.seek(0)


def named(keyword: str) -> str:
    """Returns keyword and tag, such as "Rows (0028,0010)"."""
    tag = tag_for_keyword(keyword)
    return keyword if tag is None else f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def read_value(dataset: Dataset, keyword: str) -> Any:
    """Returns a value, None where it is absent or empty. pydicom decodes it only now and raises whatever it meets."""
    try:
        with quiet("pydicom"):
            value = dataset.get(keyword)
    except Exception as error:
        raise InputError(f"{named(keyword)} cannot be decoded ({type(error).__name__})") from None
    return None if value is None or value == "" else value


def header_text(dataset: Dataset, keyword: str) -> str:
    """Returns an attribute as text without surrounding blanks; "" where it is absent or empty.

    Raises:
        InputError: The attribute cannot be decoded or is a sequence; the message never holds its value.
    """
    value = read_value(dataset, keyword)
    if isinstance(value, pydicom.Sequence):
        raise InputError(f"{named(keyword)} must be a text; found a sequence")  # as text it is a dump of all its items
    return "" if value is None else str(value).strip()


def tell_code(code: str) -> str:
    """Returns how a message may tell a code: itself where it is one of the standard's terms.

    In a damaged file any attribute may hold a piece of the patient's name.
    """
    return code if code in _TERMS else "another" if code else "none"


def read_integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """Returns one integer of 16 bits; `default` where the attribute is absent, if there is one.

    Longer ones are refused, all the more since a message that told one might tell a number that names a patient.
    """
    value = read_value(dataset, keyword)
    if value is None:
        if default is None:
            raise InputError(f"an image needs {named(keyword)}; found none")
        return default
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{named(keyword)} must be one integer; found a {type(value).__name__}") from None
    if not -0x8000 <= number <= 0xFFFF:
        raise InputError(f"{named(keyword)} must be an integer of 16 bits; found a longer one")
    return number


def read_numbers(dataset: Dataset, keyword: str) -> tuple[float, ...] | None:
    """Returns the numbers of an attribute; None where it is absent or holds anything else: then it says nothing."""
    value = read_value(dataset, keyword)
    if value is None:
        return None
    try:
        return tuple(float(number) for number in (value if isinstance(value, Sequence) else [value]))
    except (TypeError, ValueError):
        return None


def read_items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """Returns the items of a sequence; none where the attribute is absent or no sequence."""
    value = read_value(dataset, keyword)
    return tuple(value) if isinstance(value, pydicom.Sequence) else ()


def one_line(error: Exception) -> str:
    """Returns an error's text on one line of at most 160 characters."""
    return " ".join(str(error).split())[:160] or type(error).__name__
