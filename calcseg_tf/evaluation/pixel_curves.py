"""Per-pixel accuracy (the paper's section 4.1, Fig. 6b-d): ROC and precision-recall, from histograms.

The pixels of a test set are too many to sort (a hundred mammograms have a billion), but they hold 65,536 different
probabilities. Two histograms, of calcification and of background pixels, carry all that scikit-learn's curves need: one
sample a bin, weighted by its count, gives the same sums as one sample a pixel.
"""

import dataclasses

import numpy as np

from calcseg_tf.probability_map import FULL_SCALE
from data_prep.mask import BACKGROUND, CALCIFICATION

__all__ = [
    "DRAWN_POINTS",
    "Curve",
    "Figure",
    "average_precision",
    "log_floor",
    "pixel_histograms",
    "precision_recall_curve",
    "roc_auc",
    "roc_curve",
    "thin",
]

DRAWN_POINTS = 2000
"""Of a curve in figures and tables: what is drawn cannot show more."""

_NO_POSITIVES = "no calcification pixel in the images"
_NO_NEGATIVES = "no background pixel in the images"


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure that may be undefined: a number, or None with the reason."""

    value: float | None
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.reason):
            raise ValueError("a figure has a value or a reason, not both")


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """A curve of pixel scores, in the order and with the end points of scikit-learn.

    Attributes:
        x: float64 [points]; false-positive rate, or recall.
        y: float64 [points]; true-positive rate, or precision.
        thresholds: float64 [points]; p >= threshold is positive. `inf` at the end where nothing is predicted.
    """

    x: np.ndarray
    y: np.ndarray
    thresholds: np.ndarray


def pixel_histograms(codes: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts codes over the calcification and over the background pixels of one image; ignored pixels are in neither.

    Args:
        codes: uint16 [height, width].
        mask: uint8 [height, width].

    Returns:
        positive: int64 [65536], calcification pixels by code.
        negative: int64 [65536], background pixels by code.
    """
    positive = np.bincount(codes[mask == CALCIFICATION], minlength=FULL_SCALE + 1)
    negative = np.bincount(codes[mask == BACKGROUND], minlength=FULL_SCALE + 1)
    return positive, negative


def roc_curve(positive: np.ndarray, negative: np.ndarray) -> Curve | None:
    """Returns `sklearn.metrics.roc_curve` of the pixels, or None where one of the classes is empty.

    Args:
        positive: int64 [65536], as `pixel_histograms` counts them.
        negative: Likewise.
    """
    import sklearn.metrics

    if _missing_class(positive, negative):
        return None
    truth, codes, counts = _samples(positive, negative)
    x, y, thresholds = sklearn.metrics.roc_curve(truth, codes, sample_weight=counts)
    return Curve(x, y, thresholds / FULL_SCALE)


def precision_recall_curve(positive: np.ndarray, negative: np.ndarray) -> Curve | None:
    """Returns `sklearn.metrics.precision_recall_curve` of the pixels, or None without a calcification pixel.

    Args:
        positive: int64 [65536], as `pixel_histograms` counts them.
        negative: Likewise.
    """
    import sklearn.metrics

    if not positive.any():
        return None
    truth, codes, counts = _samples(positive, negative)
    precision, recall, thresholds = sklearn.metrics.precision_recall_curve(truth, codes, sample_weight=counts)
    return Curve(recall, precision, np.append(thresholds / FULL_SCALE, np.inf))


def roc_auc(positive: np.ndarray, negative: np.ndarray) -> Figure:
    """Returns `sklearn.metrics.roc_auc_score` of the pixels, of their histograms, int64 [65536] each."""
    import sklearn.metrics

    if reason := _missing_class(positive, negative):
        return Figure(None, reason)
    truth, codes, counts = _samples(positive, negative)
    return Figure(float(sklearn.metrics.roc_auc_score(truth, codes, sample_weight=counts)))


def average_precision(positive: np.ndarray, negative: np.ndarray) -> Figure:
    """Returns `sklearn.metrics.average_precision_score`, the paper's APS, of two histograms, int64 [65536] each."""
    import sklearn.metrics

    if not positive.any():
        return Figure(None, _NO_POSITIVES)
    truth, codes, counts = _samples(positive, negative)
    return Figure(float(sklearn.metrics.average_precision_score(truth, codes, sample_weight=counts)))


def thin(x: np.ndarray, y: np.ndarray, points: int, logarithmic: bool) -> np.ndarray:
    """Chooses at most `points` of a curve's points, evenly along its drawn length, both ends included.

    Args:
        x: float [curve], no infinities.
        y: float [curve].
        points: At least 2.
        logarithmic: Whether x is drawn on a logarithmic axis, zeros at `log_floor`.

    Returns:
        Ascending indices.
    """
    if len(x) <= points:
        return np.arange(len(x))
    if logarithmic:
        x = np.log10(np.maximum(x, log_floor(x)))
    length = np.append(0.0, np.cumsum(np.hypot(np.diff(x), np.diff(y))))
    wanted = np.linspace(0.0, length[-1], points)
    return np.unique(np.append(np.searchsorted(length, wanted[:-1], side="left"), len(x) - 1))


def log_floor(x: np.ndarray) -> float:
    """Returns where zeros of x, float [n], are drawn on a logarithmic axis: half the smallest positive value, or 1."""
    positive = x[x > 0]
    return float(positive.min()) / 2 if len(positive) else 1.0


def _missing_class(positive: np.ndarray, negative: np.ndarray) -> str:
    if not positive.any():
        return _NO_POSITIVES
    return "" if negative.any() else _NO_NEGATIVES


def _samples(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns truth (0 or 1), code and count of every bin that is not empty, [bins] each."""
    ones, zeros = np.flatnonzero(positive), np.flatnonzero(negative)
    truth = np.append(np.ones(len(ones), np.int64), np.zeros(len(zeros), np.int64))
    counts = np.append(positive[ones], negative[zeros]).astype(np.float64)  # exact: below 2^53
    return truth, np.append(ones, zeros), counts
