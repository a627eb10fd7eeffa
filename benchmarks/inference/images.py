"""The images that the peers get: the mammogram, the breast alone, the demo's input, larger and smaller ones."""

import dataclasses
import pathlib

import numpy as np
from scipy import ndimage

from calcseg_tf.drawing import Box
from data_prep.breast import breast_mask
from data_prep.components import label_components
from data_prep.errors import InputError
from data_prep.mammogram import read_mammogram

__all__ = ["Subject", "demo_input", "scaled_images"]

_TEXTURE_PX = 512  # least side of the piece of tissue that larger images are made of


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """The mammogram that is predicted, with what is known of its tissue.

    Attributes:
        intensity: float32 [height, width] in [0, 1].
        breast: bool, the same shape.
    """

    intensity: np.ndarray
    breast: np.ndarray

    @classmethod
    def read(cls, path: pathlib.Path) -> "Subject":
        """Reads a DICOM file or a 16-bit PNG.

        Raises:
            InputError: Not readable, or nothing on it looks like a breast.
        """
        intensity = read_mammogram(path).intensity()
        breast = breast_mask(intensity)
        if not breast.any():
            raise InputError("--image must show a breast; found none", path)
        return cls(intensity, breast)

    def around_breast(self, margin: int) -> np.ndarray:
        """Returns the smallest part that holds the breast and so many px around it, as an engineer would cut it out."""
        rows, columns = (np.flatnonzero(self.breast.any(axis)) for axis in (1, 0))
        height, width = self.intensity.shape
        box = Box(
            max(0, rows[0] - margin),
            max(0, columns[0] - margin),
            min(height, rows[-1] + 1 + margin),
            min(width, columns[-1] + 1 + margin),
        )
        return np.ascontiguousarray(box.of(self.intensity))


def demo_input(intensity: np.ndarray) -> np.ndarray:
    """Returns what the authors' public demo computes of a mammogram: less, and less exact.

    It reads 8 bits; turns the breast to the left; blanks 10 px along three borders; keeps the largest component of what
    is not 0, after a closing with a square of 50 px; and cuts the columns behind the breast, from a third of the
    width on. Written from the description in its repository's code, without OpenCV.

    Args:
        intensity: float32 [height, width] in [0, 1].

    Returns:
        float32 [height, narrower width].
    """
    image = np.floor(intensity * 65535.0 / 256.0 + 1e-3).astype(np.float32) / np.float32(255)
    if image[:, :200].sum() < image[:, -200:].sum():
        image = image[:, ::-1].copy()
    image[:10] = image[-10:] = image[:, -10:] = 0
    closed = ndimage.minimum_filter(ndimage.maximum_filter(image > 0, 50, mode="constant"), 50, mode="nearest")
    labels, count = label_components(closed)
    if count:
        image *= labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    filled = np.flatnonzero(image.any(axis=0))
    width = max(image.shape[1] // 3, int(filled[-1]) + 1 if len(filled) else 0)
    return np.ascontiguousarray(image[:, :width])


def scaled_images(subject: Subject, megapixels: float) -> dict[str, tuple[np.ndarray, float]]:
    """Makes images of about a size out of a mammogram's own tissue, in its own proportions.

    Returns:
        "tissue everywhere" and "air as on the mammogram", each with its megapixels of tissue.

    Raises:
        InputError: No square of tissue is large enough to take texture from.
    """
    height, width = subject.intensity.shape
    scale = np.sqrt(megapixels * 1e6 / subject.intensity.size)
    size = (round(height * scale), round(width * scale))
    tissue = _repeat(_texture(subject), size)
    rows, columns = (
        np.minimum((np.arange(new) * old) // new, old - 1)
        for new, old in zip(size, subject.intensity.shape, strict=True)
    )
    breast = subject.breast[np.ix_(rows, columns)]
    values, counts = np.unique(subject.intensity, return_counts=True)
    with_air = np.where(breast, tissue, values[np.argmax(counts)])
    return {
        "tissue everywhere": (tissue, tissue.size / 1e6),
        "air as on the mammogram": (with_air, float(breast.sum()) / 1e6),
    }


def _texture(subject: Subject) -> np.ndarray:
    """Returns the largest square of tissue, float32 [side, side]."""
    distance = ndimage.distance_transform_cdt(np.pad(subject.breast, 1), metric="chessboard")[1:-1, 1:-1]
    row, column = np.unravel_index(np.argmax(distance), distance.shape)
    reach = int(distance[row, column]) - 1
    if 2 * reach + 1 < min(_TEXTURE_PX, *subject.breast.shape):
        raise InputError(f"--scaling needs a square of tissue of {_TEXTURE_PX} px; found {2 * reach + 1} px")
    return subject.intensity[row - reach : row + reach + 1, column - reach : column + reach + 1]


def _repeat(texture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Repeats a texture, every second time mirrored, so that no edges arise."""
    for axis, length in enumerate(size):
        pair = np.concatenate([texture, np.flip(texture, axis)], axis)
        texture = np.take(pair, np.arange(length) % pair.shape[axis], axis)
    return np.ascontiguousarray(texture)
