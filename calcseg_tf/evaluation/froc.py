"""FROC: calcifications found against false alarms, at every code of the probability map, under any protocol."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from calcseg_tf.probability_map import FULL_SCALE, threshold_code

__all__ = [
    "FALSE_ALARM_LIMITS",
    "LOWEST_CODE",
    "SWEEP_CODES",
    "FrocCurve",
    "OperatingPoint",
    "SweepCounts",
    "admissible",
    "froc_curve",
    "operating_point",
    "partial_auc",
    "pool",
]

LOWEST_CODE = threshold_code(0.0025)
"""The floor of every sweep: a pixel below p = 0.0025 is never predicted. From here up it is counted at every code."""

SWEEP_CODES = np.arange(LOWEST_CODE, FULL_SCALE + 1)
"""int64 [65536 - LOWEST_CODE], the codes of a sweep, ascending: entry i of every count stands for SWEEP_CODES[i]."""
SWEEP_CODES.setflags(write=False)

# Mean false alarms per mammogram at which sensitivities are quoted.
FALSE_ALARM_LIMITS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)


@dataclasses.dataclass(frozen=True, eq=False)
class SweepCounts:
    """What one image gives where the pixels with code >= SWEEP_CODES[i] are predicted, for every i.

    Attributes:
        objects: Annotated calcifications.
        detected: int32 [65536 - LOWEST_CODE]; those of them that are found.
        false_positives: int32 [65536 - LOWEST_CODE], false alarms.
    """

    objects: int
    detected: np.ndarray
    false_positives: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class FrocCurve:
    """FROC over a set of images, by ascending threshold.

    Attributes:
        thresholds: float64 [thresholds]; p >= threshold is predicted.
        sensitivity: float64 [thresholds], calcifications found / calcifications; None where there are none.
        false_positives_per_image: float64 [thresholds], false alarms / images.
        false_positives_per_cm2: float64 [thresholds], false alarms / cm2 of breast in all images; None where the
            breast area of an image is unknown.
    """

    thresholds: np.ndarray
    sensitivity: np.ndarray | None
    false_positives_per_image: np.ndarray
    false_positives_per_cm2: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class OperatingPoint:
    """The best threshold under a limit on the mean false alarms per mammogram."""

    threshold: float
    sensitivity: float
    false_positives_per_image: float


def pool(counts: Sequence[SweepCounts]) -> SweepCounts:
    """Sums the counts of images, or of such sums; at least one. int64."""
    detected, false_positives = np.zeros((2, len(SWEEP_CODES)), np.int64)
    for each in counts:
        detected += each.detected
        false_positives += each.false_positives
    return SweepCounts(sum(each.objects for each in counts), detected, false_positives)


def froc_curve(counts: SweepCounts, images: int, breast_area_cm2: float | None) -> FrocCurve:
    """Turns the pooled counts of a set of images into a curve.

    Args:
        counts: Of all images.
        images: How many there are.
        breast_area_cm2: Of all of them together, None where one's is unknown.
    """
    return FrocCurve(
        thresholds=SWEEP_CODES / FULL_SCALE,
        sensitivity=counts.detected / counts.objects if counts.objects else None,
        false_positives_per_image=counts.false_positives / images,
        false_positives_per_cm2=None if breast_area_cm2 is None else counts.false_positives / breast_area_cm2,
    )


def admissible(false_positives_per_image: np.ndarray, limit: float) -> np.ndarray:
    """Tells at which thresholds a limit on the false alarms holds, there and at every higher threshold.

    The second half matters. As the threshold falls, false alarms grow together: at the lowest thresholds of a poor
    network one component covers the breast, touches every calcification, and counts as no false alarm at all. Coming
    down from the highest threshold and stopping at the first excess keeps that blob from being called a perfect result,
    unless no threshold had false alarms at all: `EvaluationResult.predicted_share` then tells it.

    Args:
        false_positives_per_image: float [..., thresholds], by ascending threshold.
        limit: The most that is allowed, inclusive.

    Returns:
        bool of the same shape; True from some threshold upwards.
    """
    within = false_positives_per_image <= limit
    return np.asarray(np.logical_and.accumulate(within[..., ::-1], axis=-1)[..., ::-1])


def operating_point(curve: FrocCurve, limit: float, per_cm2: bool = False) -> OperatingPoint | None:
    """Finds the lowest threshold that keeps a limit on the false alarms, there and at every higher threshold.

    Its sensitivity is the highest under the limit where finds are never lost as the threshold falls (zamir, picai);
    under hdogreg two finds that merge count once.

    Args:
        curve: Of a set of images.
        limit: Inclusive.
        per_cm2: Whether the limit is per cm2 of breast, not per mammogram.

    Returns:
        None where there are no calcifications, where the limit is exceeded at the highest threshold already, or where
        it is per cm2 and a breast's area is unknown.
    """
    alarms = curve.false_positives_per_cm2 if per_cm2 else curve.false_positives_per_image
    if curve.sensitivity is None or alarms is None:
        return None
    allowed = admissible(alarms, limit)
    if not allowed.any():
        return None
    index = int(allowed.argmax())
    return OperatingPoint(
        threshold=float(curve.thresholds[index]),
        sensitivity=float(curve.sensitivity[index]),
        false_positives_per_image=float(curve.false_positives_per_image[index]),
    )


def partial_auc(false_positives: np.ndarray, sensitivity: np.ndarray, limit: float) -> float:
    """Returns the area under a FROC curve from 0 to a limit on the false alarms, as HDoGReg's authors draw it.

    Straight lines join the points in the order of their false alarms, among equals of their sensitivity, from (0, 0)
    on; beyond the last point the curve runs level to the limit. Of an ideal detector it is the limit. Two steps away
    from the authors' script: only points count that keep the limit at every higher threshold too (`admissible`), and
    theirs leaves the order among equal false alarms to the sort.

    Args:
        false_positives: float64 [thresholds], by ascending threshold, in the unit of the limit.
        sensitivity: float64 [thresholds].
        limit: Positive; the authors take 1 / cm2 of breast, or 100 / image.
    """
    allowed = admissible(false_positives, limit)
    x, y = np.append(false_positives[allowed], 0.0), np.append(sensitivity[allowed], 0.0)
    order = np.lexsort((y, x))
    x, y = np.append(x[order], limit), y[order]
    y = np.append(y, y[-1])
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2.0))
