"""Small windows of mammograms around single finds: what was missed, and what was found where nothing is."""

import io

import numpy as np
from PIL import Image
from scipy import ndimage

from calcseg_tf.drawing import Box
from data_prep.breast import breast_mask
from data_prep.mask import CALCIFICATION

__all__ = ["ANNOTATION_COLOUR", "CROP_PX", "PREDICTION_COLOUR", "breast_window", "draw_crop", "grey_levels", "png_of"]

CROP_PX = 96
"""Side of a crop in px of the mammogram."""

# Sky blue and orange of Okabe and Ito's palette: told apart on grey with any colour vision.
ANNOTATION_COLOUR = "#56b4e9"
PREDICTION_COLOUR = "#e69f00"

_ZOOM = 3
_NEIGHBOURS = np.ones((3, 3), bool)
_WINDOW_PERCENT = (1.0, 99.9)  # a calcification is among the brightest thousandth of a breast


def breast_window(intensity: np.ndarray) -> tuple[float, float]:
    """Chooses the intensities to show as black and as white, from those of the breast alone.

    Args:
        intensity: float [height, width] in [0, 1], the whole mammogram.

    Returns:
        (low, high), high above low; of all pixels where no breast is found.
    """
    inside = intensity[breast_mask(intensity)]
    low, high = (float(value) for value in np.percentile(inside if inside.size else intensity, _WINDOW_PERCENT))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def grey_levels(intensity: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Returns grey as RGB, uint8 [height, width, 3], of float [height, width]."""
    low, high = window
    grey = np.rint(255.0 * np.clip((intensity - low) / (high - low), 0.0, 1.0)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def draw_crop(
    intensity: np.ndarray,
    mask: np.ndarray,
    predicted: np.ndarray,
    centre: tuple[float, float],
    window: tuple[float, float],
) -> np.ndarray:
    """Draws the window of `CROP_PX` around a place, three times enlarged, with annotation and prediction outlined.

    The annotation's line runs outside its pixels and the prediction's inside, so that equal shapes show both.

    Args:
        intensity: float [height, width] in [0, 1], the whole mammogram.
        mask: uint8 [height, width].
        predicted: bool [height, width].
        centre: (row, column); what lies outside the mammogram is black.
        window: Intensities of black and of white.

    Returns:
        RGB, uint8 [288, 288, 3].
    """
    box = Box.around(centre, CROP_PX, CROP_PX)
    picture = _enlarge(grey_levels(box.of(intensity), window))
    found, truth = _enlarge(box.of(predicted)), _enlarge(box.of(mask == CALCIFICATION))
    picture[found & ~ndimage.binary_erosion(found, _NEIGHBOURS, border_value=1)] = _rgb(PREDICTION_COLOUR)
    picture[ndimage.binary_dilation(truth, _NEIGHBOURS) & ~truth] = _rgb(ANNOTATION_COLOUR)
    return picture


def png_of(picture: np.ndarray) -> bytes:
    """Returns the PNG of RGB, uint8 [height, width, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _enlarge(image: np.ndarray) -> np.ndarray:
    return image.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))
