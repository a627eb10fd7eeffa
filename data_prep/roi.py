"""Regions of interest that a person marked: points and outlines in pixel coordinates, drawn into masks.

A coordinate is (row, column) in pixels from the image's upper left corner, as viewers that draw on screen count
(OsiriX, which exported INbreast, takes half a pixel off to get to DICOM's coordinates of pixel centres): pixel (r, c)
covers [r, r + 1) x [c, c + 1) and its centre is (r + 0.5, c + 0.5).
"""

import math

import numpy as np

from data_prep.components import label_components

__all__ = ["count_outside", "draw_roi", "drawing_steps"]

_STEPS_PER_ROW = 200  # what a row of pixels takes, in corners looked at


def draw_roi(mask: np.ndarray, points: np.ndarray, value: int, point_radius_px: float = 0.0) -> None:
    """Draws one region into a mask; what lies outside the frame is left out.

    One or two points are spots: the pixel that holds the point and every pixel whose centre lies within
    `point_radius_px` of that pixel's. Nothing says what lies between two points, so no line joins them.

    Three or more are the corners of a polygon, closed from the last to the first: every pixel whose centre is inside by
    the even-odd rule, so that areas come out right on average. A centre on the outline belongs to the right of it and
    below. Where these pixels are none or fall apart, as in an outline narrower than a pixel, the pixels that the
    outline passes join them, so that one region stays one component.

    Args:
        mask: uint8 [height, width], changed in place.
        points: float64 [n, 2], finite (row, column) in pixels, n >= 0.
        value: What is written.
        point_radius_px: At least 0; 0 is one pixel a point.
    """
    if len(points) <= 2:
        for row, column in np.floor(points):
            _draw_spot(mask, int(row), int(column), value, point_radius_px)
    else:
        _draw_polygon(mask, points, value)


def count_outside(points: np.ndarray, size: tuple[int, int]) -> int:
    """Counts the points, float64 [n, 2], that lie in no pixel of an image of (height, width)."""
    return int(((points < 0) | (points >= size)).any(axis=1).sum())


def drawing_steps(points: np.ndarray, size: tuple[int, int]) -> int:
    """Returns about how many steps of 0.2 microseconds it takes to draw points, [n, 2], into (height, width)."""
    if len(points) <= 2:
        return 0
    rows, columns = _box(points, size)
    return (rows.size + columns.size) * (len(points) + _STEPS_PER_ROW)


def _draw_spot(mask: np.ndarray, row: int, column: int, value: int, radius: float) -> None:
    reach = math.floor(radius)
    rows = np.arange(max(row - reach, 0), min(row + reach + 1, mask.shape[0]))
    columns = np.arange(max(column - reach, 0), min(column + reach + 1, mask.shape[1]))
    if rows.size and columns.size:
        near = (rows[:, None] - row) ** 2 + (columns[None, :] - column) ** 2 <= radius**2
        mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1][near] = value


def _draw_polygon(mask: np.ndarray, points: np.ndarray, value: int) -> None:
    rows, columns = _box(points, mask.shape)
    if not rows.size or not columns.size:
        return
    region = _inside(points, rows, columns)
    if label_components(region)[1] != 1:
        _add_outline(region, points - (rows[0], columns[0]))
    mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1][region] = value


def _box(points: np.ndarray, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows and columns of the image that the points span; either may be empty."""
    low = np.clip(np.floor(points.min(axis=0)), 0, size).astype(int)
    high = np.clip(np.floor(points.max(axis=0)) + 1, 0, size).astype(int)
    return np.arange(low[0], high[0]), np.arange(low[1], high[1])


def _inside(points: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns bool [rows, columns]: pixel centres inside by the even-odd rule.

    Row by row, in memory of one row and all edges, whatever the outline; scikit-image asks every edge about every pixel
    (6 s for 500 corners around 2 megapixels) and Pillow cuts coordinates to whole pixels.
    """
    (y0, x0), (y1, x1) = points.T, np.roll(points, -1, axis=0).T
    region = np.empty((rows.size, columns.size), bool)
    for index, centre in enumerate(rows + 0.5):
        edges = np.flatnonzero((y0 <= centre) != (y1 <= centre))
        share = (centre - y0[edges]) / (y1[edges] - y0[edges])
        crossings = x0[edges] + share * (x1[edges] - x0[edges])
        first = np.clip(np.ceil(crossings - 0.5) - columns[0], 0, columns.size).astype(int)
        crossed = np.cumsum(np.bincount(first, minlength=columns.size + 1)[:-1])
        region[index] = crossed % 2
    return region


def _add_outline(region: np.ndarray, points: np.ndarray) -> None:
    """Adds the pixels of bool [height, width] that the closed outline passes."""
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        # Between the lines of the grid that an edge crosses within the frame it stays in one pixel.
        crossings = [np.array([0.0, 1.0])]
        for axis, size in enumerate(region.shape):
            low, high = np.clip(np.sort((start[axis], end[axis])), 0, size)
            if low < high:
                lines = np.arange(math.ceil(low), math.floor(high) + 1)
                crossings.append((lines - start[axis]) / (end[axis] - start[axis]))
        shares = np.unique(np.concatenate(crossings))
        middles = (shares[:-1] + shares[1:]) / 2
        pixels = np.floor(start + middles[:, None] * (end - start)).astype(int)
        rows, columns = pixels[((pixels >= 0) & (pixels < region.shape)).all(axis=1)].T
        region[rows, columns] = True
