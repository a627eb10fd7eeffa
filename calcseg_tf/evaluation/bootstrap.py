"""Confidence intervals by resampling patients: the images of one patient are not independent, patients are."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from calcseg_tf.evaluation.pixel_curves import Figure

__all__ = [
    "LEVEL",
    "Band",
    "Interval",
    "PixelResamples",
    "band",
    "interval",
    "patient_weights",
    "resample_pixel_scores",
    "resample_sensitivities",
]

LEVEL = 0.95

_CHUNK_SAMPLES = 8  # samples x 65,536 bins x 8 bytes: 4 MB an array, which stays in a cache

# A rate that stands for a whole number of pixels must still mean it after a product in float64.
_TOLERANCE = 1e-12

_ONE_PATIENT = "one patient alone cannot be resampled"


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
    positive: np.ndarray,
    negative: np.ndarray,
    weights: np.ndarray,
    false_positive_rates: np.ndarray,
    recalls: np.ndarray,
) -> PixelResamples:
    """Computes the pixel figures of every resample, exactly.

    With n+ and n- pixels at a bin, N+ and N- at or above it, P and N in all: AUC = sum n+ (N - N- + n- / 2) / (P N) and
    AP = sum (n+ / P) (N+ / (N+ + N-)).

    Args:
        positive: int [patients, bins], calcification pixels by patient and ascending code.
        negative: int [patients, bins], background pixels.
        weights: float [samples, patients].
        false_positive_rates: float [rates] in [0, 1]: where the ROC curve is read.
        recalls: float [recalls] in (0, 1]: where the precision-recall curve is read.
    """
    used = np.flatnonzero(positive.any(axis=0) | negative.any(axis=0))[::-1]  # by falling code, as curves are drawn
    ones, zeros = positive[:, used].astype(np.float64), negative[:, used].astype(np.float64)
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


def resample_sensitivities(
    detected: np.ndarray,
    false_positives: np.ndarray,
    objects: np.ndarray,
    exposures: Sequence[tuple[np.ndarray, np.ndarray]],
    weights: np.ndarray,
) -> list[np.ndarray]:
    """Computes the sensitivity under limits on the false alarms, of every resample, exactly (`froc.admissible`).

    Args:
        detected: int [patients, thresholds], by ascending threshold.
        false_positives: int [patients, thresholds].
        objects: int [patients], annotated objects.
        exposures: What false alarms are counted per, each with its limits: float [patients], such as images or cm2, and
            float [limits], inclusive.
        weights: float [samples, patients].

    Returns:
        For each exposure float64 [samples, limits]; NaN where a resample has no object, or exceeds the limit at the
        highest threshold already.
    """
    changes = (np.diff(detected, axis=1) != 0).any(axis=0) | (np.diff(false_positives, axis=1) != 0).any(axis=0)
    # By falling threshold; thresholds at which nothing changes hide no sensitivity.
    steps = np.flatnonzero(np.append(changes, True))[::-1]
    found, alarms = detected[:, steps], _exact(false_positives[:, steps], weights)
    results = [np.full((len(weights), len(limits)), np.nan) for _, limits in exposures]
    for start in range(0, len(weights), _CHUNK_SAMPLES):
        chunk = weights[start : start + _CHUNK_SAMPLES]
        most = np.maximum.accumulate(chunk.astype(alarms.dtype) @ alarms, axis=1)
        for row, sample in enumerate(range(start, start + len(chunk))):
            present = np.flatnonzero(chunk[row])
            total = chunk[row] @ objects
            if total == 0:
                continue
            for (exposure, limits), result in zip(exposures, results, strict=True):
                per = most[row].astype(np.float64) / (chunk[row] @ exposure)
                last = np.searchsorted(per, limits, side="right") - 1
                best = chunk[row, present] @ found[np.ix_(present, np.maximum(last, 0))] / total
                result[sample] = np.where(last >= 0, best, np.nan)
    return results


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
        return Interval(None, None, 0, _ONE_PATIENT)
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
    return Band(x, value, low, high, _ONE_PATIENT if patients < 2 else "")
