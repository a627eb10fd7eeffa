"""From stored values to the intensities that everything downstream relies on (PS3.3 C.7.6.3, C.11)."""

import numpy as np
from pydicom.dataset import Dataset

from data_prep.dicom.access import header_text, read_integer, read_value
from data_prep.dicom.decoding import decode_frame
from data_prep.dicom.header import ReadOptions
from data_prep.dicom.voi import display_values, has_voi
from data_prep.errors import InputError

__all__ = ["decode_pixels"]

_DISPLAY_BITS = 16


def decode_pixels(dataset: Dataset, options: ReadOptions) -> tuple[np.ndarray, int]:
    """Decodes a checked mammogram to uint16 [rows, columns], brighter is denser, and its bits.

    * Signed values (PixelRepresentation 1; PS3.3 C.8.11.3 wants a mammogram unsigned) are raised by 2^(BitsStored - 1),
      so that the range of the type becomes 0 to full scale whatever the image holds (PS3.5 8.1.1).
    * With `voi_lut` each stored value becomes what the file's modality and VOI transformation make of it, spread over
      16 bits; a file without a VOI transformation keeps its stored values.
    * MONOCHROME1 is inverted within full scale (C.7.6.3.1.2).
    * Pixel padding becomes 0 (C.7.5.1.1.2).

    Raises:
        InputError: Pixels are missing or damaged, or exceed BitsStored; the VOI transformation breaks a rule.
    """
    stored = decode_frame(dataset)
    bits = read_integer(dataset, "BitsStored")
    padding = _padding(dataset, stored)
    lowest = -(1 << (bits - 1)) if np.issubdtype(stored.dtype, np.signedinteger) else 0
    full_scale = (1 << bits) - 1
    least, most = int(stored.min()), int(stored.max())
    if least < lowest or most > lowest + full_scale:
        raise InputError(
            f"stored values must be {lowest} to {lowest + full_scale} (BitsStored (0028,0101) = {bits}); "
            f"found {least} to {most}"
        )
    pixels = _raised(stored, lowest)
    if options.voi_lut and has_voi(dataset):
        # Every transformation is a function of the stored value alone: 2^bits values instead of millions of pixels.
        shown = display_values(dataset, np.arange(lowest, lowest + full_scale + 1))
        bits, full_scale = _DISPLAY_BITS, (1 << _DISPLAY_BITS) - 1
        pixels = np.round(shown * full_scale).astype(np.uint16)[pixels]
    if header_text(dataset, "PhotometricInterpretation") == "MONOCHROME1":
        np.subtract(full_scale, pixels, out=pixels)
    if padding is not None:
        pixels[padding] = 0
    return pixels, bits


def _raised(stored: np.ndarray, lowest: int) -> np.ndarray:
    if lowest == 0:
        return stored.astype(np.uint16)
    # Modulo 2^16 the subtraction is exact, without a wider copy.
    return stored.astype(np.int16).view(np.uint16) - np.array(lowest, np.int16).view(np.uint16)


def _padding(dataset: Dataset, stored: np.ndarray) -> np.ndarray | None:
    """Returns bool [rows, columns], True on padding; None where there is none.

    Both ends are stored values, and the range includes them (PS3.3 C.7.5.1.1.2); some writers give them in the other
    sign's representation.
    """
    if read_value(dataset, "PixelPaddingValue") is None:
        return None
    value = read_integer(dataset, "PixelPaddingValue")
    values = value, read_integer(dataset, "PixelPaddingRangeLimit", value)
    signed = np.issubdtype(stored.dtype, np.signedinteger)
    ends = [(value + 0x8000) % 0x10000 - 0x8000 if signed else value % 0x10000 for value in values]
    found = (stored >= min(ends)) & (stored <= max(ends))
    return np.asarray(found) if found.any() else None
