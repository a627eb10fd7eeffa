"""Intensities as a 16-bit PNG from which a server takes exactly the same float32 values."""

import struct
import zlib

import numpy as np

from data_prep.errors import InputError
from data_prep.png import encode_png

__all__ = ["encode_intensity", "significant_bits"]

_FULL_SCALE = 65535
_IHDR_END = 33  # signature 8, IHDR 25 (PNG 1.2, 11.2.2)
# 65535 is a multiple of 2^b - 1 for these alone: any other depth is rounded.
_EXACT_BITS = (8, 16)


def significant_bits(intensity: np.ndarray) -> int:
    """Returns the least b from 8 to 16 for which every intensity is stored value / (2^b - 1), exactly.

    Args:
        intensity: float32 [height, width] in [0, 1].

    Raises:
        InputError: There is none: no mammogram's intensities.
    """
    sample = intensity.ravel()[:: max(1, intensity.size // 4096)]
    for bits in range(8, 17):
        if _is_exact(sample, bits) and _is_exact(intensity, bits):
            return bits
    raise InputError("only stored values / (2^b - 1), b from 8 to 16, fit a PNG without loss; found other intensities")


def encode_intensity(intensity: np.ndarray) -> bytes:
    """Encodes intensities of full scale 65535.

    Where that rounds, an sBIT chunk (PNG 1.2, 11.3.3.4) tells the depth, by which `predict_png` undoes the rounding.

    Args:
        intensity: float32 [height, width] in [0, 1], stored values / (2^b - 1) with b from 8 to 16.

    Raises:
        InputError: Other intensities.
    """
    bits = significant_bits(intensity)
    png = encode_png(np.rint(intensity.astype(np.float64) * _FULL_SCALE).astype(np.uint16))
    if bits in _EXACT_BITS:
        return png
    chunk = b"sBIT" + bytes([bits])
    packed = struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:_IHDR_END] + packed + png[_IHDR_END:]


def _is_exact(intensity: np.ndarray, bits: int) -> bool:
    full_scale = np.float32((1 << bits) - 1)
    return bool(np.array_equal(np.rint(intensity * full_scale) / full_scale, intensity))
