"""The protocol of HDoGReg: near centroids or overlap, one prediction an object, dots apart; per cm2 and per image.

As its authors' code has it (`get_confusion_matrix_2`). Holes of fewer than 64 px in the prediction are filled; objects
and predictions are 4-connected. Each object in turn, by its first pixel, row by row, is found by the unused prediction
whose centroid is nearest, if that lies within 5 px; only predictions with a pixel in the square of 14 px around the
object's centroid are asked. Else it is found by the unused prediction of the greatest IoU, if that is at least 0.3. A
prediction that finds an object is used. False alarms are the predictions less the objects found.
"""

import dataclasses

import numpy as np

from calcseg_tf.evaluation.component_tree import at_or_above, find_basins, spanning_forest
from calcseg_tf.evaluation.components import annotated_objects, predicted_pixels
from calcseg_tf.evaluation.froc import LOWEST_CODE, SweepCounts
from calcseg_tf.evaluation.holes import fill_small_holes
from calcseg_tf.evaluation.protocols.hdogreg_matching import count_found, find_pairs
from data_prep.mask import IGNORE

__all__ = ["MOST_PER_CM2", "MOST_PER_IMAGE", "NAME", "HdogregCounts", "count_hdogreg"]

NAME = "hdogreg"

MOST_PER_CM2 = 1.0
"""False alarms per cm2 up to which the authors take the partial area under the curve."""

MOST_PER_IMAGE = 100.0
"""The same per image."""

_CONNECTIVITY = 4
_HOLE_PX = 64


@dataclasses.dataclass(frozen=True, eq=False)
class HdogregCounts:
    """What one image gives at every code of the sweep.

    Attributes:
        all: Objects of any size.
        dots: Objects of one pixel among them.
        detected_dots: int32 [65536 - LOWEST_CODE]; those of them that are found.
    """

    all: SweepCounts
    dots: int
    detected_dots: np.ndarray

    @property
    def regions(self) -> SweepCounts:
        """Objects of more than one pixel; the false alarms are those of all."""
        return SweepCounts(
            self.all.objects - self.dots, self.all.detected - self.detected_dots, self.all.false_positives
        )

    @property
    def only_dots(self) -> SweepCounts:
        """Objects of one pixel; the false alarms are those of all."""
        return SweepCounts(self.dots, self.detected_dots, self.all.false_positives)


def count_hdogreg(codes: np.ndarray, mask: np.ndarray) -> HdogregCounts:
    """Counts found objects and false alarms of one image at every code.

    Ignored pixels, which the authors do not have, count as not predicted, before and after holes are filled.

    Args:
        codes: uint16 [height, width], the probability map.
        mask: uint8 [height, width]: 0 background, 1 calcification, 255 ignore.
    """
    filled = fill_small_holes(np.where(mask == IGNORE, np.uint16(0), codes), LOWEST_CODE, _HOLE_PX)
    basins = find_basins(*predicted_pixels(filled, mask, LOWEST_CODE), mask.shape, _CONNECTIVITY)
    edges = spanning_forest(len(basins.peaks), basins.first, basins.second, basins.saddles)
    predictions = at_or_above(basins.peaks, LOWEST_CODE) - at_or_above(edges[:, 2], LOWEST_CODE)
    objects = annotated_objects(codes, mask, _CONNECTIVITY)
    is_dot = objects.area_px == 1
    detected, detected_dots = count_found(find_pairs(objects, basins), is_dot)
    return HdogregCounts(
        all=SweepCounts(len(objects), detected.astype(np.int32), (predictions - detected).astype(np.int32)),
        dots=int(is_dot.sum()),
        detected_dots=detected_dots.astype(np.int32),
    )
