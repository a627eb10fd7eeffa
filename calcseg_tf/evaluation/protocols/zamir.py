"""The paper's protocol (section 4.1, Fig. 6a): any overlap finds, no overlap is a false alarm; per mammogram."""

import numpy as np

from calcseg_tf.evaluation.component_tree import Basins, at_or_above, find_basins, spanning_forest
from calcseg_tf.evaluation.components import annotated_objects, predicted_pixels
from calcseg_tf.evaluation.froc import LOWEST_CODE, SweepCounts
from data_prep.mask import CALCIFICATION

__all__ = ["NAME", "count_zamir"]

NAME = "zamir"


def count_zamir(codes: np.ndarray, mask: np.ndarray, connectivity: int = 8) -> SweepCounts:
    """Counts found calcifications and false alarms of one image at every code.

    A calcification is a connected component of the annotation's pixels; it is found where at least one of them is
    predicted. A false alarm is a connected component of the predicted pixels none of which is annotated. Ignored pixels
    count as not predicted, whatever their probability: what lies on them alone is neither, and they join nothing.

    Args:
        codes: uint16 [height, width], the probability map.
        mask: uint8 [height, width]: 0 background, 1 calcification, 255 ignore.
        connectivity: 8 or 4, of annotation and prediction.
    """
    objects = annotated_objects(codes, mask, connectivity)
    basins = find_basins(*predicted_pixels(codes, mask, LOWEST_CODE), mask.shape, connectivity)
    return SweepCounts(
        objects=len(objects),
        detected=at_or_above(objects.detection_code, LOWEST_CODE).astype(np.int32),
        false_positives=_false_alarms(basins, mask.ravel()[basins.pixels] == CALCIFICATION).astype(np.int32),
    )


def _false_alarms(basins: Basins, annotated: np.ndarray) -> np.ndarray:
    """Counts the components without an annotated pixel at every code, int64.

    One more node, connected with each annotated pixel from the pixel's value down, gathers every component that has
    such a pixel. The components that are left are peaks less edges of the maximum spanning forest: a forest has as many
    trees as nodes less edges, and the one more tree is not counted as no peak stands for it.
    """
    count = len(basins.peaks)
    highest = np.full(count, -1, np.int64)
    np.maximum.at(highest, basins.basin[annotated], basins.values[annotated].astype(np.int64))
    touched = np.flatnonzero(highest >= 0)
    edges = spanning_forest(
        count + 1,
        np.concatenate([basins.first, touched]),
        np.concatenate([basins.second, np.full(len(touched), count)]),
        np.concatenate([basins.saddles, highest[touched]]),
    )
    return at_or_above(basins.peaks, LOWEST_CODE) - at_or_above(edges[:, 2], LOWEST_CODE)
