"""Annotations as three-valued masks: what every kind promises, and the kind that is drawn in mask files."""

import dataclasses
import pathlib
from typing import Protocol

import numpy as np

from data_prep.components import label_components
from data_prep.errors import InputError
from data_prep.mask import BACKGROUND, CALCIFICATION, IGNORE
from data_prep.mask_files import is_segmentation, mask_size, read_mask, segmentation_warnings

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
    """An annotation drawn in mask files (`mask_files.py`) of the image's own size.

    Attributes:
        calcifications: Every non-zero pixel is a calcification, whatever its value: masks with 1, with 255 and with a
            number per object all mean the same. A DICOM segmentation tells by its segments' codes.
        ignore: Every non-zero pixel, and every segment, that is no calcification is ignored; None where nothing is.
        image: The image's file, which a DICOM segmentation may name; None where it is not to be looked at.
    """

    calcifications: pathlib.Path
    ignore: pathlib.Path | None = None
    image: pathlib.Path | None = None

    def check(self, size: tuple[int, int]) -> None:
        """See `Annotation.check`."""
        for path in self._files():
            _require_size(mask_size(path), size, path)

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """See `Annotation.mask`."""
        mask = _drawn(self.calcifications, size)
        if self.ignore is not None:
            mask[(_drawn(self.ignore, size) != BACKGROUND) & (mask != CALCIFICATION)] = IGNORE
        return mask

    def warnings(self, size: tuple[int, int]) -> tuple[str, ...]:
        """See `Annotation.warnings`: what a DICOM segmentation's codes and references leave open."""
        return tuple(
            line for path in self._files() if is_segmentation(path) for line in segmentation_warnings(path, self.image)
        )

    def _files(self) -> tuple[pathlib.Path, ...]:
        return (self.calcifications,) if self.ignore is None else (self.calcifications, self.ignore)


def count_calcifications(mask: np.ndarray) -> int:
    """Counts the 8-connected components of CALCIFICATION in a mask, uint8 [height, width]."""
    drawn = mask == CALCIFICATION
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if not rows.size:
        return 0
    # Labels have four bytes a pixel: of the box that holds them all, not of the whole mammogram.
    _, count = label_components(drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return count


def _drawn(path: pathlib.Path, size: tuple[int, int]) -> np.ndarray:
    _require_size(mask_size(path), size, path)
    drawn = read_mask(path)
    _require_size((drawn.shape[0], drawn.shape[1]), size, path)
    return drawn


def _require_size(found: tuple[int, int], size: tuple[int, int], path: pathlib.Path) -> None:
    if found != size:
        raise InputError(
            f"a mask must have the size of its image, {size[0]} x {size[1]} (rows x columns); "
            f"found {found[0]} x {found[1]}",
            path,
        )
