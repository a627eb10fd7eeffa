"""FROC, the paper's protocol (section 4.1, Fig. 6a): calcifications found against false alarms per mammogram."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from calcseg_tf.probability_map import FULL_SCALE, from_code
from data_prep.components import label_components
from data_prep.mask import CALCIFICATION, IGNORE

__all__ = [
    "FALSE_ALARM_LIMITS",
    "PROTOCOL",
    "FrocCurve",
    "OperatingPoint",
    "ZamirCounts",
    "admissible",
    "count_zamir",
    "froc_curve",
    "operating_point",
    "threshold_grid",
]

PROTOCOL = "zamir"

# Mean false alarms per mammogram at which sensitivities are quoted.
FALSE_ALARM_LIMITS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)

# The grid is even in logit, where a network's outputs spread evenly: p = 0.0025 to 0.99995. Near 1 neighbouring steps
# round to the same code, which leaves 99 thresholds.
_GRID_LOGITS = (-6.0, 10.0)
_GRID_STEPS = 100


@dataclasses.dataclass(frozen=True, eq=False)
class ZamirCounts:
    """What one image gives at each threshold.

    Attributes:
        calcifications: Connected components of the annotation.
        detected: int64 [thresholds]; those of them that share a pixel with the prediction.
        false_positives: int64 [thresholds]; predicted components that share no pixel with any calcification.
    """

    calcifications: int
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


def threshold_grid() -> np.ndarray:
    """Returns the thresholds at which every evaluation counts, as ascending codes, int64 [99]."""
    logits = np.linspace(*_GRID_LOGITS, _GRID_STEPS)
    return np.unique(np.rint(FULL_SCALE / (1.0 + np.exp(-logits))).astype(np.int64))


def count_zamir(codes: np.ndarray, mask: np.ndarray, thresholds: np.ndarray, connectivity: int = 8) -> ZamirCounts:
    """Counts detected calcifications and false alarms of one image at every threshold.

    A calcification is a connected component of the mask's calcification pixels; it is detected if at least one of its
    pixels has p >= threshold. A false alarm is a connected component of the predicted pixels none of which is a
    calcification pixel. Ignored pixels count as not predicted, whatever their probability: what lies on them alone is
    neither, and they join no components.

    Args:
        codes: uint16 [height, width], the probability map.
        mask: uint8 [height, width].
        thresholds: int [thresholds], ascending codes, each at least 1.
        connectivity: 8 or 4.
    """
    # A pixel of level n is predicted at the n lowest thresholds: pixel >= thresholds[k] where level > k.
    table = np.searchsorted(thresholds, np.arange(FULL_SCALE + 1), side="right")
    level = table.astype(np.uint8 if len(thresholds) < 256 else np.uint16)[codes]
    level[mask == IGNORE] = 0
    labels, count = label_components(mask == CALCIFICATION, connectivity)
    truth = np.nonzero(labels)
    best = np.zeros(count, np.int64)
    np.maximum.at(best, labels[truth].astype(np.int64) - 1, level[truth].astype(np.int64))
    return ZamirCounts(
        calcifications=count,
        detected=_above(best, len(thresholds)),
        false_positives=_false_alarms(level, truth, len(thresholds), connectivity),
    )


def _above(levels: np.ndarray, steps: int) -> np.ndarray:
    """Returns int64 [steps]: how many levels exceed 0, 1, ..., steps - 1."""
    histogram = np.bincount(levels.ravel(), minlength=steps + 1)
    return np.asarray(levels.size - np.cumsum(histogram)[:steps])


def _false_alarms(level: np.ndarray, truth: tuple[np.ndarray, ...], steps: int, connectivity: int) -> np.ndarray:
    """Labels at every threshold, inside the shrinking box of what is still predicted; int64 [steps]."""
    predicted = _above(level, steps)
    counts = np.zeros(steps, np.int64)
    rows, columns = truth
    for step in range(steps):
        if predicted[step] == 0:
            break
        if step > 0 and predicted[step] == predicted[step - 1]:
            counts[step] = counts[step - 1]
            continue
        foreground = level > step
        top, bottom = _extent(foreground.any(axis=1))
        left, right = _extent(foreground[top:bottom].any(axis=0))
        labels, count = label_components(foreground[top:bottom, left:right], connectivity)
        level = level[top:bottom, left:right]
        rows, columns = rows - top, columns - left
        # A calcification pixel below this threshold is below all later ones too.
        inside = (rows >= 0) & (rows < level.shape[0]) & (columns >= 0) & (columns < level.shape[1])
        rows, columns = rows[inside], columns[inside]
        touched = np.zeros(count + 1, bool)
        touched[labels[rows, columns]] = True
        counts[step] = count - np.count_nonzero(touched[1:])
    return counts


def _extent(occupied: np.ndarray) -> tuple[int, int]:
    """Returns the first index that is True and one past the last."""
    return int(occupied.argmax()), len(occupied) - int(occupied[::-1].argmax())


def froc_curve(
    thresholds: np.ndarray, counts: Sequence[ZamirCounts], breast_areas_mm2: Sequence[float | None]
) -> FrocCurve:
    """Pools the counts of a set of images.

    Args:
        thresholds: int [thresholds], the ascending codes of the counts.
        counts: One an image; at least one.
        breast_areas_mm2: One an image, None where unknown.
    """
    calcifications = sum(image.calcifications for image in counts)
    detected = np.sum([image.detected for image in counts], axis=0)
    false_positives = np.sum([image.false_positives for image in counts], axis=0)
    areas = [area for area in breast_areas_mm2 if area is not None]
    return FrocCurve(
        thresholds=np.array([from_code(code) for code in thresholds]),
        sensitivity=detected / calcifications if calcifications else None,
        false_positives_per_image=false_positives / len(counts),
        false_positives_per_cm2=false_positives / (math.fsum(areas) / 100.0) if len(areas) == len(counts) else None,
    )


def admissible(false_positives_per_image: np.ndarray, limit: float) -> np.ndarray:
    """Tells at which thresholds a limit on the false alarms holds, there and at every higher threshold.

    The second half matters. As the threshold falls, false alarms grow together: at the lowest thresholds of a poor
    network one component covers the breast, touches every calcification, and counts as no false alarm at all. Coming
    down from the highest threshold and stopping at the first excess keeps that blob from being called a perfect result.

    Args:
        false_positives_per_image: float [..., thresholds], by ascending threshold.
        limit: The most that is allowed, inclusive.

    Returns:
        bool of the same shape; True from some threshold upwards.
    """
    within = false_positives_per_image <= limit
    return np.asarray(np.logical_and.accumulate(within[..., ::-1], axis=-1)[..., ::-1])


def operating_point(curve: FrocCurve, limit: float) -> OperatingPoint | None:
    """Finds the highest sensitivity, which is that of the lowest threshold, under a limit on the false alarms.

    Returns:
        None where there are no calcifications, or where the limit is exceeded at the highest threshold already.
    """
    allowed = admissible(curve.false_positives_per_image, limit)
    if curve.sensitivity is None or not allowed.any():
        return None
    index = int(allowed.argmax())
    return OperatingPoint(
        threshold=float(curve.thresholds[index]),
        sensitivity=float(curve.sensitivity[index]),
        false_positives_per_image=float(curve.false_positives_per_image[index]),
    )
