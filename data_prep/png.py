"""Single-channel PNG files: 16-bit mammograms and 8-bit masks, decoded and encoded without loss."""

import io
import pathlib
import zlib
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from data_prep.errors import InputError
from data_prep.quiet import quiet

__all__ = ["MAX_PIXELS", "decode_grey_png", "encode_png", "grey_png_size"]

# The largest detectors and film scans have about 30 megapixels. A header that claims more is refused before any memory
# is taken for it.
MAX_PIXELS = 120_000_000

_MODES_16_BIT = ("I;16", "I")  # Pillow's names for 16-bit greyscale


def decode_grey_png(data: bytes, bits: int | None = None) -> np.ndarray:
    """Decodes a single-channel PNG.

    Args:
        data: The file.
        bits: Depth that the file must have: 16, or None for any.

    Returns:
        uint16 [height, width] for 16-bit files, uint8 for shallower ones (1-bit files give 0 and 255).

    Raises:
        InputError: Not a PNG, truncated, colour, of another depth, or larger than `MAX_PIXELS`.
    """
    try:
        with _open_png(io.BytesIO(data), bits) as image, quiet("PIL"):
            image.load()
            if image.mode == "1":
                return np.array(image.convert("L"))
            return np.array(image).astype(np.uint16 if image.mode in _MODES_16_BIT else np.uint8, copy=False)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # Pillow raises what a damaged chunk leads to: SyntaxError, struct.error and more
        raise InputError(f"not a readable PNG ({_one_line(error)})") from None


def grey_png_size(path: pathlib.Path, bits: int | None = None) -> tuple[int, int]:
    """Reads (height, width) from the header of a single-channel PNG, without its pixels.

    Args:
        path: The file.
        bits: Depth that the file must have: 16, or None for any.

    Raises:
        InputError: Not a PNG, colour, of another depth, or larger than `MAX_PIXELS`.
    """
    try:
        with path.open("rb") as file, _open_png(file, bits) as image:
            return image.height, image.width
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
    except InputError as error:
        raise InputError(error.rule, path) from None


def encode_png(pixels: np.ndarray, comment: str = "") -> bytes:
    """Encodes uint8 or uint16 [height, width] as a greyscale PNG of the same depth.

    Args:
        pixels: The image.
        comment: Kept in the file as text beside the pixels; in Latin-1.
    """
    buffer = io.BytesIO()
    text = PngInfo()
    if comment:
        text.add_text("Comment", comment)
    # Runs alone: within 3 % of the size of any level on mammograms, and the fastest (benchmarks/encoding.py).
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE, pnginfo=text)
    return buffer.getvalue()


def _open_png(file: BinaryIO, bits: int | None) -> Image.Image:
    """Opens a PNG without decoding it: one grey channel, `bits` deep, at most `MAX_PIXELS`."""
    try:
        with quiet("PIL"):
            image = Image.open(file, formats=["PNG"])
    except UnidentifiedImageError:
        raise InputError("not a readable PNG (its header is damaged or of another format)") from None
    except Image.DecompressionBombError:
        raise InputError(f"an image has at most {MAX_PIXELS} pixels; found far more") from None
    except Exception as error:
        raise InputError(f"not a readable PNG ({_one_line(error)})") from None
    if image.width * image.height > MAX_PIXELS:
        raise InputError(f"an image has at most {MAX_PIXELS} pixels; found {image.height} x {image.width}")
    if image.mode not in ("1", "L", *_MODES_16_BIT):
        raise InputError(f"a PNG must have one grey channel; found mode {image.mode}")
    if bits == 16 and image.mode not in _MODES_16_BIT:
        raise InputError("a mammogram as PNG must have 16 bits a pixel; found 8 or fewer")
    return image


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
