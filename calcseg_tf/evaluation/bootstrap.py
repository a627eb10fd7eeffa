"""Confidence intervals by resampling patients: the images of one patient are not independent, patients are."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from calcseg_tf.evaluation.froc import SweepCounts
from calcseg_tf.evaluation.pixel_curves import Figure

__all__ = [
    "LEVEL",
    "ONE_PATIENT",
    "Band",
    "Exposure",
    "Interval",
    "PixelResamples",
    "band",
    "few_patients",
    "interval",
    "patient_weights",
    "resample_pixel_scores",
    "resample_sensitivities",
]

LEVEL = 0.95

_CHUNK_SAMPLES = 8  # samples x 65,536 bins x 8 bytes: 4 MB an array, which stays in a cache

# A rate that stands for a whole number of pixels must still mean it after a product in float64.
_TOLERANCE = 1e-12

ONE_PATIENT = "one patient alone cannot be resampled"
"""Why there is no interval where there is none at all."""

# Three patients have only 10 different resamples; of n, the variance within one is (n - 1) / n of the patients'.
FEW_PATIENTS = 10


def few_patients(patients: int) -> str:
    """Returns what must be said of intervals over so few patients; "" where they are many, or where there are none."""
    if not 1 < patients < FEW_PATIENTS:
        return ""
    return (
        f"over {patients} patients, fewer than {FEW_PATIENTS}, intervals are too narrow and p values too small to "
        "tell a difference from chance"
    )


@dataclasses.dataclass(frozen=True)
class Interval:
    """A percentile interval, or None with the reason.

    Attributes:
        low: The 2.5 % percentile.
        high: The 97.5 % percentile.
        samples: How many resamples define the figure; the others were left out.
        reason: Why there is no interval, or "".
    """

    low: float | None
    high: float | None
    samples: int
    reason: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Band:
    """Intervals along a curve, each of its own: 95 % of the resamples at each x, not of whole curves.

    Attributes:
        x: float64 [points]; ascending.
        value: float64 [points]; the curve's y there, NaN where undefined.
        low: float64 [points]; the 2.5 % percentile of the resamples' y, NaN where there is none.
        high: float64 [points]; the 97.5 % percentile.
        reason: Why there is no band at all, or "".
    """

    x: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    reason: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class PixelResamples:
    """The pixel figures of every resample; NaN where a resample lacks a class.

    Attributes:
        roc_auc: float64 [samples].
        average_precision: float64 [samples].
        true_positive_rate: float64 [samples, rates]; the highest whose false-positive rate is at most the rate.
        precision: float64 [samples, recalls]; at the highest threshold that reaches the recall.
    """

    roc_auc: np.ndarray
    average_precision: np.ndarray
    true_positive_rate: np.ndarray
    precision: np.ndarray


def patient_weights(patients: int, samples: int, seed: int) -> np.ndarray:
    """Draws patients with replacement, as many as there are.

    Returns:
        float64 [samples, patients]: how often each patient is in each resample.
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(patients, np.full(patients, 1.0 / patients), size=samples).astype(np.float64)


def resample_pixel_scores(
    histograms: Sequence[np.ndarray],
    weights: np.ndarray,
    false_positive_rates: np.ndarray,
    recalls: np.ndarray,
) -> PixelResamples:
    """Computes the pixel figures of every resample, exactly.

    With n+ and n- pixels at a bin, N+ and N- at or above it, P and N in all: AUC = sum n+ (N - N- + n- / 2) / (P N) and
    AP = sum (n+ / P) (N+ / (N+ + N-)).

    Args:
        histograms: One a patient, int [2, bins]: calcification and background pixels by ascending code.
        weights: float [samples, patients].
        false_positive_rates: float [rates] in [0, 1]: where the ROC curve is read.
        recalls: float [recalls] in (0, 1]: where the precision-recall curve is read.
    """
    used = np.flatnonzero(np.any([each.any(axis=0) for each in histograms], axis=0))[::-1]  # by falling code, as drawn
    ones, zeros = (np.stack([each[kind, used].astype(np.float64) for each in histograms]) for kind in (0, 1))
    samples = len(weights)
    area, average = np.full(samples, np.nan), np.full(samples, np.nan)
    rates = np.full((samples, len(false_positive_rates)), np.nan)
    precisions = np.full((samples, len(recalls)), np.nan)
    for start in range(0, samples, _CHUNK_SAMPLES):
        chunk = weights[start : start + _CHUNK_SAMPLES]
        here, beside = chunk @ ones, chunk @ zeros
        found, alarms = here.cumsum(axis=1), beside.cumsum(axis=1)
        for row, sample in enumerate(range(start, start + len(chunk))):
            positives, negatives = found[row, -1], alarms[row, -1]
            if positives == 0:
                continue
            # Bins above which a resample has nothing have no weight in it either.
            precision = found[row] / np.maximum(found[row] + alarms[row], 1.0)
            average[sample] = here[row] @ precision / positives
            precisions[sample] = precision[np.searchsorted(found[row], recalls * positives * (1 - _TOLERANCE))]
            if negatives:
                area[sample] = here[row] @ (negatives - alarms[row] + beside[row] / 2) / (positives * negatives)
                limits = false_positive_rates * negatives * (1 + _TOLERANCE)
                allowed = np.searchsorted(alarms[row], limits, side="right")
                rates[sample] = np.append(0.0, found[row])[allowed] / positives
    return PixelResamples(area, average, rates, precisions)


@dataclasses.dataclass(frozen=True, eq=False)
class Exposure:
    """What false alarms are counted per, and where a FROC curve is read.

    Attributes:
        amount: float [patients], such as images or cm2 of breast.
        limits: float [limits] on the false alarms per unit, inclusive.
        area_limit: Up to which the partial area is taken; None takes none, which saves time.
    """

    amount: np.ndarray
    limits: np.ndarray
    area_limit: float | None = None


def resample_sensitivities(
    counts: Sequence[SweepCounts],
    exposures: Sequence[Exposure],
    weights: np.ndarray,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Reads the FROC curve of every resample, exactly (`froc.admissible`, `froc.partial_auc`).

    Args:
        counts: One a patient.
        exposures: Where it is read.
        weights: float [samples, patients].

    Returns:
        For each exposure the sensitivities, float64 [samples, limits], and the partial areas / their limit, float64
        [samples]; NaN where a resample has no object, or exceeds the limit at the highest threshold already.
    """
    # By falling threshold; thresholds at which nothing changes hide no sensitivity.
    changes = [np.diff(each.detected) | np.diff(each.false_positives) for each in counts]
    steps = np.flatnonzero(np.append(np.any(changes, axis=0), True))[::-1]
    objects = np.array([each.objects for each in counts])
    found = np.stack([each.detected[steps] for each in counts])
    alarms = _exact(np.stack([each.false_positives[steps] for each in counts]), weights)
    with_areas = any(each.area_limit is not None for each in exposures)
    counted = _exact(found, weights) if with_areas else found[:, :0]
    samples = len(weights)
    results = [(np.full((samples, len(each.limits)), np.nan), np.full(samples, np.nan)) for each in exposures]
    for start in range(0, samples, _CHUNK_SAMPLES):
        chunk = weights[start : start + _CHUNK_SAMPLES]
        false = chunk.astype(alarms.dtype) @ alarms
        most = np.maximum.accumulate(false, axis=1)
        weighted_found = chunk.astype(counted.dtype) @ counted
        for row, sample in enumerate(range(start, start + len(chunk))):
            present = np.flatnonzero(chunk[row])
            total = chunk[row] @ objects
            if total == 0:
                continue
            for each, (sensitivities, areas) in zip(exposures, results, strict=True):
                amount = chunk[row] @ each.amount
                per = most[row].astype(np.float64) / amount
                last = np.searchsorted(per, each.limits, side="right") - 1
                best = chunk[row, present] @ found[np.ix_(present, np.maximum(last, 0))] / total
                sensitivities[sample] = np.where(last >= 0, best, np.nan)
                if each.area_limit is not None:
                    kept = int(np.searchsorted(per, each.area_limit, side="right"))
                    hits = weighted_found[row, :kept]
                    areas[sample] = _partial_area(false[row, :kept], hits, amount, total, each.area_limit)
    return results


def _partial_area(alarms: np.ndarray, hits: np.ndarray, amount: float, objects: float, limit: float) -> float:
    """Returns `froc.partial_auc` / limit of counts that keep the limit; sorted as one key, in a tenth of its time."""
    key = (alarms.astype(np.int64) << 32) + hits.astype(np.int64)
    key.sort()
    x = np.concatenate([[0.0], (key >> 32) / amount, [limit]])
    y = np.concatenate([[0.0], (key & 0xFFFFFFFF) / objects])
    y = np.append(y, y[-1])
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2.0) / limit)


def _exact(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns counts as the narrowest float in which every resample's sum of them is exact."""
    largest = float(weights.sum(axis=1).max(initial=0.0)) * float(counts.max(initial=0))
    return counts.astype(np.float32 if largest < 2**24 else np.float64)


def interval(samples: np.ndarray, figure: Figure, patients: int) -> Interval:
    """Takes the percentile interval of one figure's resamples.

    Args:
        samples: float [samples], NaN where undefined; these are left out.
        figure: The figure itself; where it is undefined, so is its interval.
        patients: One patient cannot be resampled.
    """
    defined = samples[np.isfinite(samples)]
    if figure.value is None:
        return Interval(None, None, 0, f"the figure is undefined: {figure.reason}")
    if patients < 2:
        return Interval(None, None, 0, ONE_PATIENT)
    if 2 * len(defined) < len(samples) or len(defined) == 0:
        return Interval(None, None, len(defined), f"only {len(defined)} of {len(samples)} resamples define the figure")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), len(defined))


def band(x: np.ndarray, value: np.ndarray, samples: np.ndarray, patients: int) -> Band:
    """Takes the interval at every point of a curve.

    Args:
        x: float [points].
        value: float [points], the curve's y; NaN where undefined, and so is its interval.
        samples: float [samples, points], NaN where undefined.
        patients: One patient cannot be resampled.
    """
    figures = [Figure(float(y)) if np.isfinite(y) else Figure(None, "undefined") for y in value]
    intervals = [interval(column, figure, patients) for column, figure in zip(samples.T, figures, strict=True)]
    low, high = (
        np.array([np.nan if end is None else end for end in ends], np.float64)
        for ends in ([each.low for each in intervals], [each.high for each in intervals])
    )
    return Band(x, value, low, high, ONE_PATIENT if patients < 2 else "")
