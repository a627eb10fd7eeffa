"""What a file's own display shows: modality LUT or rescale, then VOI LUT or window (PS3.3 C.11.1, C.11.2; PS3.4 N.2).

Own code, not `pydicom.pixels.apply_voi_lut`: that wraps around in 8-bit tables of more than 256 entries, and gives a
window's output in the unit of its input, upside down where the slope is negative.
"""

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from data_prep.dicom.access import header_text, named, read_items, read_numbers, read_value
from data_prep.errors import InputError

__all__ = ["display_values", "has_voi"]

_MODALITY_LUT, _VOI_LUT = "ModalityLUTSequence", "VOILUTSequence"


def has_voi(dataset: Dataset) -> bool:
    """Tells whether a file has a VOI LUT (0028,3010) or a window (0028,1050), (0028,1051)."""
    window = read_numbers(dataset, "WindowCenter"), read_numbers(dataset, "WindowWidth")
    return bool(read_items(dataset, _VOI_LUT)) or all(window)


def display_values(dataset: Dataset, stored: np.ndarray) -> np.ndarray:
    """Applies modality and VOI transformation; of several alternatives the first, of LUT and window the LUT.

    Args:
        dataset: A file for which `has_voi` holds.
        stored: Stored values, any integers.

    Returns:
        float64 in [0, 1] of the output range, same shape.

    Raises:
        InputError: A table, window or function breaks a rule.
    """
    values = stored.astype(np.float64)
    if tables := read_items(dataset, _MODALITY_LUT):
        values = _look_up(*_table(dataset, tables[0], _MODALITY_LUT)[:2], values)
    else:
        values = values * _number(dataset, "RescaleSlope", 1.0) + _number(dataset, "RescaleIntercept", 0.0)
    if tables := read_items(dataset, _VOI_LUT):
        table, first, bits = _table(dataset, tables[0], _VOI_LUT)
        return np.clip(_look_up(table, first, values) / ((1 << bits) - 1), 0.0, 1.0)
    return _windowed(dataset, values)


def _windowed(dataset: Dataset, values: np.ndarray) -> np.ndarray:
    """Applies the first window: VOI LUT Function (0028,1056), PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    center, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    function = header_text(dataset, "VOILUTFunction").upper() or "LINEAR"
    if width < 1 if function == "LINEAR" else width <= 0:
        raise InputError(f"{named('WindowWidth')} must be at least 1, or greater than 0 for an exact window or sigmoid")
    if function == "SIGMOID":
        # Beyond 700 the exponential overflows; the result is 0 or 1 long before.
        return np.asarray(1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0))))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1.0
    elif function != "LINEAR_EXACT":
        raise InputError(f"{named('VOILUTFunction')} must be LINEAR, LINEAR_EXACT or SIGMOID; found another")
    if width == 0.0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def _number(dataset: Dataset, keyword: str, default: float | None = None) -> float:
    numbers = read_numbers(dataset, keyword)
    if numbers is None and default is not None and read_value(dataset, keyword) is None:
        return default
    if not numbers or not math.isfinite(numbers[0]):
        raise InputError(f"{named(keyword)} must be a number; found none")
    return numbers[0]


def _table(dataset: Dataset, item: Dataset, sequence: str) -> tuple[np.ndarray, int, int]:
    """Returns a table, the value that its first entry is for, and the bits of its entries (PS3.3 C.11.2.1.1)."""
    descriptor = read_numbers(item, "LUTDescriptor") or ()
    data = read_value(item, "LUTData")
    # Text, odd bytes and numbers that are none end below.
    with contextlib.suppress(ValueError, OverflowError, TypeError):
        if found := _checked_table(dataset, descriptor, data):
            return found
    raise InputError(f"{named(sequence)} must hold a table as LUTDescriptor (0028,3002) says; found another")


def _checked_table(dataset: Dataset, descriptor: Sequence[float], data: Any) -> tuple[np.ndarray, int, int] | None:
    if len(descriptor) == 3 and data is not None:
        entries, first, bits = (int(number) for number in descriptor)
        entries = entries % 0x10000 or 0x10000  # 0 means 65,536, and some write the number as signed
        little = dataset.file_meta.TransferSyntaxUID.is_little_endian
        table = np.frombuffer(data, "<u2" if little else ">u2") if isinstance(data, bytes) else np.atleast_1d(data)
        if bits == 8 and len(table) * 2 in (entries, entries + 1):
            table = table.astype("<u2" if little else ">u2").view(np.uint8)[:entries]  # two entries a word
        signed = read_value(dataset, "PixelRepresentation") == 1
        first = (first + 0x8000) % 0x10000 - 0x8000 if signed else first % 0x10000
        if len(table) >= entries and 8 <= bits <= 16:
            return table[:entries].astype(np.float64) % 0x10000, first, bits
    return None


def _look_up(table: np.ndarray, first: int, values: np.ndarray) -> np.ndarray:
    """Values before the table take its first entry, values behind it the last."""
    return np.asarray(table[np.clip(np.round(values) - first, 0, len(table) - 1).astype(np.int64)])
