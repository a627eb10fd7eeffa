"""The protocol of picai_eval 1.4.13: candidates with one score each, IoU of at least 0.10, optimal assignment.

Candidates are the connected components of what is predicted at one low threshold, each scored by its maximum. Objects
and candidates are assigned to each other so that most pairs overlap enough, and among such assignments the overlap is
greatest. What is swept is the score: a candidate below the threshold is dropped whole, none ever changes its shape. The
curve is monotone for that, but candidates that merge at the candidate threshold stay merged. Unlike picai_eval's own
extraction of candidates, made for lesions of the prostate, none is dropped for its size and no score is rounded.
"""

import dataclasses

import numpy as np
from scipy.optimize import linear_sum_assignment

from calcseg_tf.evaluation.component_tree import at_or_above
from calcseg_tf.evaluation.components import annotated_objects, predicted_components, shared_pixels
from calcseg_tf.evaluation.froc import LOWEST_CODE, SweepCounts
from calcseg_tf.probability_map import threshold_code
from data_prep.errors import InputError

__all__ = ["CANDIDATE_CODE", "NAME", "Candidates", "count_picai", "find_candidates"]

NAME = "picai"

CANDIDATE_CODE = threshold_code(0.1)
"""p >= 0.1 is part of a candidate: the static threshold of report_guided_annotation's `extract_lesion_candidates`, with
which picai_eval's own users turn probability maps into candidates."""

_LEAST_IOU = 0.10
_EPSILON = 1e-8  # picai_eval adds it to both sides of the fraction


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """The candidates of one image and what they match, in the order of their first pixel, row by row.

    Attributes:
        score_code: int64 [candidates], the highest code of each.
        area_px: int64 [candidates].
        match: int64 [candidates], the object matched, by the order of the objects' first pixels; -1 where none.
        iou: float64 [candidates], the overlap with it; 0 where there is none.
        is_false_alarm: bool [candidates]; overlaps no object enough. One that does but is not matched is neither found
            nor false, picai_eval's default.
        objects: Annotated calcifications.
    """

    score_code: np.ndarray
    area_px: np.ndarray
    match: np.ndarray
    iou: np.ndarray
    is_false_alarm: np.ndarray
    objects: int

    def counts(self) -> SweepCounts:
        """Counts the matched candidates, and the false alarms, whose score is at or above every code of the sweep."""
        detected = at_or_above(self.score_code[self.match >= 0], LOWEST_CODE)
        false_positives = at_or_above(self.score_code[self.is_false_alarm], LOWEST_CODE)
        return SweepCounts(self.objects, detected.astype(np.int32), false_positives.astype(np.int32))


def count_picai(
    codes: np.ndarray, mask: np.ndarray, candidate_code: int = CANDIDATE_CODE, connectivity: int = 8
) -> SweepCounts:
    """Counts found objects and false alarms of one image at every score; see `find_candidates`."""
    return find_candidates(codes, mask, candidate_code, connectivity).counts()


def find_candidates(
    codes: np.ndarray, mask: np.ndarray, candidate_code: int = CANDIDATE_CODE, connectivity: int = 8
) -> Candidates:
    """Finds the candidates of one image and matches them with the annotated objects.

    Ignored pixels belong to no candidate. Where several assignments are optimal, it is the one that picai_eval takes.

    Args:
        codes: uint16 [height, width], the probability map.
        mask: uint8 [height, width]: 0 background, 1 calcification, 255 ignore.
        candidate_code: The lowest code that is part of a candidate, LOWEST_CODE to 65535.
        connectivity: 8, as in picai_eval, or 4.

    Raises:
        InputError: The candidate code lies below the floor of the sweep.
    """
    if candidate_code < LOWEST_CODE:
        raise InputError(f"candidates begin at code {LOWEST_CODE} or above; found {candidate_code}")
    objects = annotated_objects(codes, mask, connectivity)
    predicted = predicted_components(codes, mask, candidate_code, connectivity)
    overlap = np.zeros((len(objects), len(predicted)))
    np.add.at(overlap, shared_pixels(objects, predicted), 1.0)
    row, column = np.nonzero(overlap)
    shared = overlap[row, column]
    union = objects.area_px[row] + predicted.area_px[column] - shared
    iou = (shared + _EPSILON) / (union + _EPSILON)
    # As in picai_eval, to the last tie: what overlaps too little is 0, and a match counts more than any overlap.
    overlap[row, column] = np.where(iou < _LEAST_IOU, 0.0, iou + 1.0)
    row, column = linear_sum_assignment(overlap, maximize=True)
    matched = overlap[row, column] > 0
    row, column = row[matched], column[matched]
    match, iou = np.full(len(predicted), -1), np.zeros(len(predicted))
    match[column], iou[column] = row, overlap[row, column] - 1.0
    return Candidates(
        score_code=predicted.max_code,
        area_px=predicted.area_px,
        match=match,
        iou=iou,
        is_false_alarm=~(overlap > 0).any(axis=0),
        objects=len(objects),
    )
