"""Where in a mammogram a calcification may lie, and how noisy the mammogram is there."""

import math

import numpy as np
from scipy import ndimage

from data_prep.breast import breast_mask

__all__ = ["allowed_cells", "local_noise"]

_SKIN_MM = 1.5  # skin is about this thick, and its edge is no background for a calcification
_NARROWEST_MM = 4.0  # film borders that cling to the breast are narrower and get nothing
_BORDER_PX = 25  # a little more than the network's halo of 22 px


def allowed_cells(intensity: np.ndarray, spacing_mm: float) -> tuple[np.ndarray, int]:
    """Finds where calcifications may lie, in cells of step x step pixels.

    Returns:
        bool [ceil(height / step), ceil(width / step)], and the step.
    """
    step = 8 if min(intensity.shape) >= 512 else 1
    # A cell is breast where its middle is: the skin's margin is several cells wide.
    breast = breast_mask(intensity)
    height, width = (-(-side // step) for side in intensity.shape)
    cells = np.pad(breast[step // 2 :: step, step // 2 :: step], ((0, 1), (0, 1)))[:height, :width]
    depth = ndimage.distance_transform_edt(np.pad(cells, 1))[1:-1, 1:-1] * step * spacing_mm
    core = depth >= _NARROWEST_MM
    if not core.any():
        return core, step
    to_core = ndimage.distance_transform_edt(~core) * step * spacing_mm
    allowed = (depth >= _SKIN_MM) & (to_core <= _NARROWEST_MM - _SKIN_MM)
    margin = -(-_BORDER_PX // step)
    allowed[:margin] = allowed[:, :margin] = False
    allowed[(intensity.shape[0] - _BORDER_PX) // step :] = False
    allowed[:, (intensity.shape[1] - _BORDER_PX) // step :] = False
    return allowed, step


def local_noise(intensity: np.ndarray, site: tuple[float, float], radius_px: float) -> float:
    """Measures the background's standard deviation at the scale of a disk, about a site.

    A difference of Gaussians: averaging with a standard deviation of half the radius takes as many pixels together as
    the disk has, as in Rose's ratio; the wider Gaussian takes away the surroundings, over twice the radius.

    Args:
        intensity: float32 [height, width].
        site: (row, column).
        radius_px: Radius of the disk.
    """
    inner = max(0.5, radius_px / 2.0)
    outer = 4.0 * inner
    margin = math.ceil(3.0 * outer)
    half = max(16, math.ceil(2.0 * outer))
    window = []
    core = []
    for position, size in zip(site, intensity.shape, strict=True):
        first, last = max(0, int(position) - half), min(size, int(position) + half + 1)
        start, stop = max(0, first - margin), min(size, last + margin)
        window.append(slice(start, stop))
        core.append(slice(first - start, last - start))
    patch = intensity[tuple(window)]
    band = ndimage.gaussian_filter(patch, inner, truncate=3.0) - ndimage.gaussian_filter(patch, outer, truncate=3.0)
    # Half the middle 68 %: the deviation of what is there mostly, whatever skin line, dust or scratch lies in a corner.
    low, high = np.percentile(band[tuple(core)], (15.87, 84.13))
    return float(high - low) / 2.0
