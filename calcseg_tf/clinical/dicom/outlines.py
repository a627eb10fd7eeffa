"""Outlines of calcifications and clusters in the coordinates of structured reports (PS3.3 C.18.6.1.2).

A structured report counts (column, row) from the upper left corner of the first pixel, whose centre is (0.5, 0.5).
"""

import numpy as np

from calcseg_tf.clinical.calcification import Calcification
from calcseg_tf.clinical.clusters import Cluster
from calcseg_tf.probability_map import threshold_code
from data_prep.components import label_components

__all__ = ["MOST_POINTS", "outline_calcification", "outline_cluster"]

# A graphic data element of explicit value representation holds 65,534 bytes, 8,191 points (PS3.5 7.1.2); far fewer show
# any shape.
MOST_POINTS = 500


def outline_calcification(codes: np.ndarray, threshold: float, found: Calcification) -> np.ndarray:
    """Traces the outer border of a calcification, half a pixel outside the outermost pixel centres.

    Args:
        codes: uint16 [height, width], the probability map.
        threshold: Which it was found at.
        found: Measured on the map.

    Returns:
        float64 [points, 2] of (column, row), the last point the first. Holes are not told; of a border of more than 500
        points as many are taken evenly.
    """
    box = codes[found.top : found.bottom, found.left : found.right]
    labels, _ = label_components(box >= threshold_code(threshold))
    # Others may reach into its box, but two that touch all four sides would cross and so be one.
    sides = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    (label,) = set.intersection(*(set(side.tolist()) for side in sides)) - {0}
    return _shorten(_border(labels == label) + np.array((found.left, found.top)))


def outline_cluster(cluster: Cluster) -> np.ndarray:
    """Returns the hull of a cluster, float64 [corners + 1, 2] of (column, row), the last point the first."""
    corners = np.array(cluster.hull)[:, ::-1] + 0.5
    return _shorten(np.concatenate([corners, corners[:1]]))


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
