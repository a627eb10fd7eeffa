"""Mask files of every form: PNG, TIFF, NPY and DICOM SEG, each of one image's size."""

import pathlib

import numpy as np

from data_prep.dicom.decoding import decode_tiff, read_tiff_header
from data_prep.dicom.header import read_identifiers
from data_prep.dicom.segmentation import read_segmentation, read_segmentation_header
from data_prep.errors import InputError
from data_prep.mammogram import DICOM_SUFFIXES
from data_prep.png import MAX_PIXELS, decode_grey_png, grey_png_size

__all__ = ["MASK_SUFFIXES", "is_segmentation", "mask_size", "read_mask", "segmentation_warnings"]

_TIFF_SUFFIXES = (".tif", ".tiff")
MASK_SUFFIXES = (".png", *_TIFF_SUFFIXES, ".npy", *DICOM_SUFFIXES)

_TIFF_MODES = ("1", "L", "I;16", "I;16B", "I;16L", "I")  # Pillow's names for one grey channel of whole numbers


def mask_size(path: pathlib.Path) -> tuple[int, int]:
    """Reads (height, width) from a mask file's header, without its pixels.

    Raises:
        InputError: Unreadable, of another form than its suffix says, or not one grey channel; `where` is the file.
    """
    suffix = path.suffix.lower()
    if suffix == ".png":
        return grey_png_size(path)
    if is_segmentation(path):
        return read_segmentation_header(path).size
    if suffix == ".npy":
        height, width = _open_npy(path).shape
        return height, width
    return _tiff_size(path)


def read_mask(path: pathlib.Path) -> np.ndarray:
    """Reads uint8 [height, width] of BACKGROUND, CALCIFICATION and, from DICOM SEG alone, IGNORE.

    In the other forms every value but 0 is a calcification.

    Raises:
        InputError: As `mask_size`, and where the pixels are damaged.
    """
    suffix = path.suffix.lower()
    if is_segmentation(path):
        return read_segmentation(path)
    if suffix == ".png":
        try:
            drawn = decode_grey_png(path.read_bytes()) != 0
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", path) from None
        except InputError as error:
            raise InputError(error.rule, path) from None
    elif suffix == ".npy":
        drawn = np.asarray(_open_npy(path)) != 0
    else:
        try:
            drawn = decode_tiff(path, mask_size(path))
        except InputError as error:
            raise InputError(error.rule, path) from None
    return drawn.view(np.uint8)  # True is CALCIFICATION, False is BACKGROUND


def is_segmentation(path: pathlib.Path) -> bool:
    """Tells a mask that is a DICOM segmentation, by its suffix."""
    return path.suffix.lower() in DICOM_SUFFIXES


def segmentation_warnings(path: pathlib.Path, image: pathlib.Path | None) -> tuple[str, ...]:
    """Returns what the codes of a segmentation leave open, and whether it names other images than its own.

    Raises:
        InputError: The segmentation cannot be read; `where` is the file.
    """
    header = read_segmentation_header(path)
    own = read_identifiers(image) if image is not None and header.images else set()
    if own and not own & header.images:
        return (*header.warnings, "the segmentation names another image as its source (SOPInstanceUID differs)")
    if len(header.images) > 1:
        told = (
            f"the segmentation names {len(header.images)} images as its sources: all its frames are taken for this one"
        )
        return (*header.warnings, told)
    return header.warnings


def _open_npy(path: pathlib.Path) -> np.ndarray:
    """Maps the array of an NPY file without reading its values: 2-D, of truth values or whole numbers."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or 'truncated'})", path) from None
    except Exception as error:
        # numpy raises what a damaged header leads to: ValueError, SyntaxError, tokenize.TokenError and more.
        raise InputError(
            f"not a readable NPY file of numbers: damaged or truncated ({type(error).__name__})", path
        ) from None
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.size == 0 or array.dtype.kind not in "bui":
        raise InputError("a mask as NPY must be one 2-D array of truth values or whole numbers", path)
    return array


def _tiff_size(path: pathlib.Path) -> tuple[int, int]:
    """Reads (height, width) of a TIFF: one page, one grey channel of whole numbers, at most `MAX_PIXELS`."""
    try:
        with path.open("rb"):
            pass
        (height, width), more_pages, mode = read_tiff_header(path)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
    except InputError as error:
        raise InputError(error.rule, path) from None
    if width * height > MAX_PIXELS:
        raise InputError(f"an image has at most {MAX_PIXELS} pixels; found {height} x {width}", path)
    if more_pages or mode not in _TIFF_MODES:
        found = "more pages" if more_pages else f"mode {mode}"
        raise InputError(f"a mask as TIFF must have one page and one grey channel; found {found}", path)
    return height, width
