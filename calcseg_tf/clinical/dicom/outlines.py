"""Outlines of calcifications and clusters in the coordinates of structured reports."""

from collections.abc import Iterable

import numpy as np

from calcseg_tf.clinical.statistics import ImageStatistics
from calcseg_tf.probability_map import threshold_code
from data_prep.components import label_components

__all__ = ["MOST_POINTS", "hull_outline", "trace_calcifications"]

# A graphic data element of explicit value representation holds 65,534 bytes, 8,191 points (PS3.5 7.1.2); far fewer show
# any shape.
MOST_POINTS = 500


def trace_calcifications(codes: np.ndarray, statistics: ImageStatistics, ids: Iterable[int]) -> dict[int, np.ndarray]:
    """Traces the outer border of calcifications, half a pixel outside the outermost pixel centres.

    Args:
        codes: uint16 [height, width], the probability map.
        statistics: Measured on it.
        ids: Of the calcifications wanted.

    Returns:
        By id, float64 [points, 2] of (column, row), the last point the first. (0, 0) is the upper left corner of the
        first pixel, whose centre is (0.5, 0.5) (PS3.3 C.18.6.1.2). Holes are not told; of a border of more than 500 points
        as many are taken evenly.
    """
    from scipy import ndimage

    labels, count = label_components(codes >= threshold_code(statistics.threshold))
    label_of = _labels_by_id(labels, count)
    boxes = ndimage.find_objects(labels)
    outlines = {}
    for number in ids:
        label = int(label_of[number - 1])
        box = boxes[label - 1]
        border = _border(labels[box] == label)
        outlines[number] = _shorten(border + (box[1].start, box[0].start))
    return outlines


def hull_outline(points: np.ndarray) -> np.ndarray:
    """Returns the corners of the convex hull of points, closed.

    Args:
        points: float [points, 2] of (row, column) of pixel centres, in pixels; at least one.

    Returns:
        float64 [corners, 2] of (column, row) as `trace_calcifications`; for points on one line, there and back.
    """
    from scipy.spatial import ConvexHull, QhullError

    turned = np.asarray(points, np.float64)[:, ::-1] + 0.5
    try:
        corners = turned[ConvexHull(turned).vertices]
    except (QhullError, ValueError):
        corners = turned[np.lexsort((turned[:, 1], turned[:, 0]))[[0, -1]]]
    return _shorten(np.concatenate([corners, corners[:1]]))


def _labels_by_id(labels: np.ndarray, count: int) -> np.ndarray:
    """Returns the label of each calcification, whose ids go by row, column and area (`Calcification.id`)."""
    rows, columns = np.nonzero(labels)
    component = labels[rows, columns].astype(np.int64) - 1
    area = np.bincount(component, minlength=count)
    row = np.bincount(component, weights=rows, minlength=count) / np.maximum(area, 1)
    column = np.bincount(component, weights=columns, minlength=count) / np.maximum(area, 1)
    return np.lexsort((area, column, row)) + 1


def _border(mask: np.ndarray) -> np.ndarray:
    """Returns the outer border of one 8-connected component as (column, row), its box's corner being (0, 0)."""
    from skimage.measure import find_contours

    borders = find_contours(np.pad(mask, 1).astype(np.float32), 0.5, fully_connected="high")
    outer = max(borders, key=lambda border: np.ptp(border, axis=0).sum())
    return np.asarray(outer[:, ::-1] - 0.5)  # the padding is one pixel, a pixel's centre half of one


def _shorten(points: np.ndarray) -> np.ndarray:
    """Takes points evenly where there are too many; the first and the last stay."""
    if len(points) <= MOST_POINTS:
        return points
    return np.asarray(points[np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int)])
