"""Chooses what overlay.png enlarges: a window on every cluster, and where the network is surest elsewhere."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from calcseg_tf.clinical.calcification import Calcification
from calcseg_tf.clinical.statistics import ImageStatistics
from calcseg_tf.drawing import Box

__all__ = ["MOST_WINDOWS", "Window", "choose_windows"]

MOST_WINDOWS = 12  # a picture that a page can hold
_FEWEST = 3  # where there are as many finds: clusters first, then the strongest

# More finds than these are ranked by probability before the densest window is sought: windows are compared by pairs.
_MAX_RANKED = 1500


@dataclasses.dataclass(frozen=True)
class Window:
    """A part of the mammogram to enlarge.

    Attributes:
        box: What it shows, inside the image.
        label: The cluster's id, or a letter where it shows none.
        caption: What it shows, in words.
    """

    box: Box
    label: str
    caption: str


def choose_windows(statistics: ImageStatistics, shape: tuple[int, int], size: tuple[int, int]) -> list[Window]:
    """Chooses a window on each cluster, on the twelve of most calcifications where there are more.

    A window lies where the sum of the probabilities of the cluster's calcifications in it is highest. Fewer than three
    are filled up with the highest sums of all calcifications left; these overlap no other window.

    Args:
        statistics: Of the image.
        shape: (height, width) of the image.
        size: (height, width) of a window; at most the image's.

    Returns:
        Clusters by id, then the others by their sum.
    """
    clusters = sorted(statistics.clusters or (), key=lambda cluster: (-cluster.count, cluster.id))[:MOST_WINDOWS]
    windows = []
    for cluster in sorted(clusters, key=lambda cluster: cluster.id):
        members = [statistics.calcifications[number - 1] for number in cluster.calcification_ids]
        box = _ranked_boxes(members, shape, size)[0]
        caption = f"{cluster.count} calcifications, {cluster.distribution}"
        windows.append(Window(box, str(cluster.id), caption))
    for box in _ranked_boxes(statistics.calcifications, shape, size):
        if len(windows) >= _FEWEST:
            break
        if not any(box.overlaps(window.box) for window in windows):
            windows.append(Window(box, "ABC"[len(windows) - len(clusters)], ""))
    return windows


def _ranked_boxes(finds: Sequence[Calcification], shape: tuple[int, int], size: tuple[int, int]) -> list[Box]:
    """Returns the windows around each find, those with the highest sum of probabilities first."""
    strongest = sorted(finds, key=lambda find: (-find.max_probability, -find.area_px, find.id))[:_MAX_RANKED]
    if not strongest:
        return []
    centres = np.array([(find.row, find.column) for find in strongest])
    strength = np.array([find.max_probability for find in strongest])
    inside = (np.abs(centres[:, None] - centres[None]) <= np.array(size) / 2).all(axis=2)
    corner = np.clip(np.rint(centres - np.array(size) / 2), 0, np.subtract(shape, size)).astype(int)
    order = np.argsort(-(inside @ strength), kind="stable")
    return [Box(top, left, top + size[0], left + size[1]) for top, left in corner[order].tolist()]
