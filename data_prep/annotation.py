"""Annotations as three-valued masks; from mask images so far, other forms join as further kinds of `Annotation`."""

import dataclasses
import pathlib
from typing import Protocol

import cc3d
import numpy as np

from data_prep.errors import InputError
from data_prep.mask import BACKGROUND, CALCIFICATION, IGNORE
from data_prep.png import decode_grey_png, grey_png_size

__all__ = ["Annotation", "MaskImages", "count_calcifications"]


class Annotation(Protocol):
    """What a data set says about one image; picklable, for the pixels are read in another process."""

    def check(self, size: tuple[int, int]) -> None:
        """Checks what can be checked without decoding pixels.

        Args:
            size: (height, width) of the image.

        Raises:
            InputError: The annotation is unreadable or does not fit the image; `where` is the annotation's file.
        """

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """Returns uint8 [height, width] of BACKGROUND, CALCIFICATION and IGNORE.

        Raises:
            InputError: As `check`, and where the pixels turn out damaged.
        """

    def warnings(self, size: tuple[int, int]) -> tuple[str, ...]:
        """Returns what a person should know of an annotation that is used all the same, such as points left out.

        Each is one line, in order, without names of patients: it goes into the manifest.

        Raises:
            InputError: As `check`.
        """


@dataclasses.dataclass(frozen=True)
class MaskImages:
    """An annotation drawn as single-channel PNGs of the image's own size.

    Attributes:
        calcifications: Every non-zero pixel is a calcification, whatever its value: masks with 1, with 255 and with a
            number per object all mean the same.
        ignore: Every non-zero pixel that is no calcification is ignored; None where nothing is.
    """

    calcifications: pathlib.Path
    ignore: pathlib.Path | None = None

    def check(self, size: tuple[int, int]) -> None:
        """See `Annotation.check`."""
        for path in (self.calcifications, self.ignore):
            if path is not None:
                _require_size(grey_png_size(path), size, path)

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """See `Annotation.mask`."""
        mask = np.full(size, BACKGROUND, np.uint8)
        if self.ignore is not None:
            mask[_drawn(self.ignore, size)] = IGNORE
        mask[_drawn(self.calcifications, size)] = CALCIFICATION
        return mask

    def warnings(self, size: tuple[int, int]) -> tuple[str, ...]:
        """See `Annotation.warnings`: an image of the right size is taken as it is."""
        return ()


def count_calcifications(mask: np.ndarray) -> int:
    """Counts the 8-connected components of CALCIFICATION in a mask, uint8 [height, width]."""
    # As uint8: for bool cc3d 4.1.1 goes another way, whose labels are not to be relied on.
    drawn = (mask == CALCIFICATION).view(np.uint8)
    _, count = cc3d.connected_components(drawn, connectivity=8, return_N=True)
    return int(count)


def _drawn(path: pathlib.Path, size: tuple[int, int]) -> np.ndarray:
    try:
        pixels = decode_grey_png(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
    except InputError as error:
        raise InputError(error.rule, path) from None
    _require_size((pixels.shape[0], pixels.shape[1]), size, path)
    return np.asarray(pixels != 0)


def _require_size(found: tuple[int, int], size: tuple[int, int], path: pathlib.Path) -> None:
    if found != size:
        raise InputError(
            f"a mask must have the size of its image, {size[0]} x {size[1]} (rows x columns); "
            f"found {found[0]} x {found[1]}",
            path,
        )
