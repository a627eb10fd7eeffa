"""Finds the breast: the tissue against air, film borders, labels and markers."""

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

__all__ = ["breast_mask"]

_COARSE_PX = 8  # one coarse pixel per 8 x 8: the outline needs no more, and a mammogram takes 0.1 s


def breast_mask(intensity: np.ndarray) -> np.ndarray:
    """Returns bool [height, width]: True on the breast (with the pectoral muscle), False on air, labels and borders.

    Otsu's threshold on the logarithm parts tissue from air, an opening detaches film borders and labels, and the
    largest connected component with its holes filled is the breast.

    Args:
        intensity: float [height, width] in [0, 1], brighter is denser.
    """
    height, width = intensity.shape
    step = _COARSE_PX if min(height, width) >= 64 * _COARSE_PX else 1
    coarse = ndimage.uniform_filter(intensity, step)[step // 2 :: step, step // 2 :: step]
    if coarse.max() <= coarse.min():
        return np.zeros((height, width), bool)
    level = np.log1p(50.0 * coarse)
    tissue = coarse > np.expm1(threshold_otsu(level)) / 50.0
    # Borders and labels are narrower than this; the breast is not. Padding by reflection keeps the chest wall.
    radius = max(1, min(coarse.shape) // 40)
    opened = ndimage.binary_opening(np.pad(tissue, radius, "edge"), np.ones((3, 3)), iterations=radius)
    opened = opened[radius:-radius, radius:-radius] & tissue
    labels, count = ndimage.label(opened)
    if count == 0:
        return np.zeros((height, width), bool)
    largest = 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    filled = ndimage.binary_fill_holes(labels == largest)
    rows = np.minimum(np.arange(height) // step, filled.shape[0] - 1)
    columns = np.minimum(np.arange(width) // step, filled.shape[1] - 1)
    return np.asarray(filled[np.ix_(rows, columns)])
