"""Probability maps on disk: those that another tool wrote, and those kept between scoring and drawing."""

import hashlib
import pathlib
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from calcseg_tf.probability_map import to_codes
from data_prep.errors import InputError
from data_prep.png import decode_grey_png, encode_png
from data_prep.printable import printable

__all__ = ["KeptMaps", "MapFolder", "Maps"]


class Maps(Protocol):
    """Gives the probability map of an image."""

    def codes(self, image_id: str, shape: tuple[int, ...]) -> np.ndarray:
        """Returns uint16 codes [height, width] of the given shape."""
        ...


class MapFolder:
    """A folder with `<image_id>.png` (16 bits, round(65535 p)) or `<image_id>.npy` (float in [0, 1]) for every image.

    Args:
        folder: Holds the maps; other files in it are left alone.

    Raises:
        InputError: No such folder.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        if not folder.is_dir():
            raise InputError("no such folder of probability maps", folder)
        self._folder = folder

    def require(self, image_ids: Iterable[str]) -> None:
        """Checks that every image has its file, before hours of work.

        Raises:
            InputError: An image has none, or two.
        """
        for image_id in image_ids:
            self._path(image_id)

    def codes(self, image_id: str, shape: tuple[int, ...]) -> np.ndarray:
        """Reads the map of an image.

        Args:
            image_id: Of the records.
            shape: (height, width) that it must have.

        Returns:
            uint16 [height, width].

        Raises:
            InputError: No file or two, an unreadable one, another size or type, or values outside [0, 1], NaN included.
        """
        path = self._path(image_id)
        try:
            values = _read_png(path) if path.suffix == ".png" else _read_npy(path)
            if values.shape != shape:
                raise InputError(f"a probability map has the size of its mammogram, {_size(shape)}; "
                                 f"found {_size(values.shape)}")  # fmt: skip
            return to_codes(np.asarray(values))
        except InputError as error:
            raise InputError(error.rule, path) from None
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", path) from None

    def _path(self, image_id: str) -> pathlib.Path:
        # From records that anyone may have written: an id must not lead out of the folder.
        if "/" in image_id or "\0" in image_id:
            raise InputError("maps are named after the image's id, which must be the name of a file; found "
                             f"{image_id!r}", self._folder)  # fmt: skip
        try:
            found = [path for ending in (".png", ".npy") if (path := self._folder / f"{image_id}{ending}").is_file()]
        except OSError as error:
            raise InputError(f"cannot be looked up ({error.strerror})", self._folder / f"{image_id}.png") from None
        if len(found) != 1:
            rule = f"every image has one probability map, {image_id}.png or {image_id}.npy; found "
            raise InputError(rule + ("both" if found else "neither"), self._folder)
        return found[0]


class KeptMaps:
    """Keeps maps in a folder from the scoring, which sees every image, to the drawing, which needs a few.

    Args:
        folder: Exists; belongs to this object alone.
        lowest_code: Codes below it are kept as 0, which leaves a file of some 100 kB a mammogram.
    """

    def __init__(self, folder: pathlib.Path, lowest_code: int) -> None:
        self._folder = folder
        self._lowest_code = lowest_code

    def keep(self, image_id: str, codes: np.ndarray) -> None:
        """Writes the map of an image, uint16 [height, width]."""
        self._path(image_id).write_bytes(encode_png(np.where(codes < self._lowest_code, np.uint16(0), codes)))

    def codes(self, image_id: str, shape: tuple[int, ...]) -> np.ndarray:
        """Returns the map of an image that was kept; its shape is that of what was kept."""
        return decode_grey_png(self._path(image_id).read_bytes(), bits=16)

    def _path(self, image_id: str) -> pathlib.Path:
        return self._folder / f"{hashlib.sha256(image_id.encode()).hexdigest()}.png"


def _read_png(path: pathlib.Path) -> np.ndarray:
    codes = decode_grey_png(path.read_bytes())
    if codes.dtype != np.uint16:
        raise InputError("a probability map as PNG must have 16 bits a pixel; found 8 or fewer")
    return codes


def _read_npy(path: pathlib.Path) -> np.ndarray:
    try:
        # Mapped: a file of another size is refused before it is read.
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # numpy raises what a damaged header leads to
        told = printable(" ".join(str(error).split()))[:120]
        raise InputError(f"not a readable .npy array ({type(error).__name__}: {told})") from None
    if not isinstance(values, np.ndarray):
        raise InputError("not a readable .npy array (an .npz archive by its content)")
    return values


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
