"""Small holes of the predicted pixels, filled at every code at once."""

import dataclasses

import numpy as np

from calcseg_tf.evaluation.component_tree import find_basins, merge, trace_nodes
from data_prep.components import label_components

__all__ = ["fill_small_holes"]

_HIGHEST = 65535


def fill_small_holes(values: np.ndarray, lowest: int, hole_px: int) -> np.ndarray:
    """Raises pixels so that for every c >= lowest {filled >= c} is {values >= c} with its small holes filled.

    A hole is a 4-connected component of fewer than `hole_px` pixels of those below c; as in scikit-image's
    remove_small_holes it may lie on the image's border. Grey-level area closing, for those who know it by that name.

    The holes are the components of the darkness, 65535 - value, and grow as the darkness sinks: a pixel keeps being
    filled from its own value up to the value at which its hole has grown to `hole_px`.

    Args:
        values: uint16 [height, width].
        lowest: The lowest code that matters, at least 1; a result below it says no more than that it is below.
        hole_px: Pixels from which on a hole is left open.

    Returns:
        uint16 [height, width].
    """
    below = values < lowest
    labels, _ = label_components(below, connectivity=4)
    small = np.bincount(labels.ravel()) < hole_px
    small[0] = True  # what is not below
    pixels = np.flatnonzero(small[labels])
    darkness = _HIGHEST - np.maximum(values.ravel()[pixels], np.uint16(lowest - 1))
    basins = find_basins(pixels, darkness, values.shape, connectivity=4, with_outside=True)
    within = basins.basin < len(basins.peaks)
    if not within.any():
        return values
    basins = dataclasses.replace(
        basins, pixels=basins.pixels[within], values=basins.values[within], basin=basins.basin[within]
    )
    forest = merge(basins, with_outside=True)
    nodes = trace_nodes(basins, forest, 1)
    # The darkness at which each name has grown large; -1 for those that join another before.
    grown = np.full(len(forest.parent), -1)
    is_large = nodes.area >= hole_px
    np.maximum.at(grown, nodes.name[is_large], nodes.high[is_large])
    grown[-1] = _HIGHEST  # the outside
    # A name that never grows large and never joins another is the whole image: filled at every code.
    level = basins.values.astype(np.int64)
    name = forest.find(basins.basin, level)
    rising = np.flatnonzero(grown[name] < 0)
    while len(rising):
        level[rising] = np.maximum(forest.joined[name[rising]], 0)
        name[rising] = forest.parent[name[rising]]
        rising = rising[(grown[name[rising]] < 0) & (level[rising] > 0)]
    ended = grown[name] >= 0
    level[ended] = np.minimum(level, grown[name])[ended]
    filled = values.copy()
    filled.ravel()[basins.pixels] = np.maximum(values.ravel()[basins.pixels], _HIGHEST - level)
    return filled
