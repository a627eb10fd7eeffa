"""Confidence intervals by resampling patients: the images of one patient are not independent, patients are."""

import dataclasses

import numpy as np

from calcseg_tf.evaluation.froc import admissible
from calcseg_tf.evaluation.pixel_curves import Figure

__all__ = ["LEVEL", "Interval", "interval", "patient_weights", "resample_pixel_scores", "resample_sensitivities"]

LEVEL = 0.95

_CHUNK_SAMPLES = 32  # samples x 65,536 bins x 8 bytes: 17 MB an array


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


def patient_weights(patients: int, samples: int, seed: int) -> np.ndarray:
    """Draws patients with replacement, as many as there are.

    Returns:
        float64 [samples, patients]: how often each patient is in each resample.
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(patients, np.full(patients, 1.0 / patients), size=samples).astype(np.float64)


def resample_pixel_scores(positive: np.ndarray, negative: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Computes ROC AUC and average precision of every resample, exactly.

    Both are sums over the bins that hold calcification pixels. With n+ and n- pixels at a bin, N+ and N- at or above
    it, P and N in all: AUC = sum n+ (N - N- + n- / 2) / (P N) and AP = sum (n+ / P) (N+ / (N+ + N-)). The bins without
    calcification pixels drop out, which leaves few.

    Args:
        positive: int [patients, 65536], calcification pixels by patient and code.
        negative: int [patients, 65536], background pixels.
        weights: float [samples, patients].

    Returns:
        float64 [samples, 2]: AUC and AP; NaN where a resample has no calcification (or no background) pixel.
    """
    bins = np.flatnonzero(positive.any(axis=0))
    at_positive = positive[:, bins].astype(np.float64)
    at_negative = negative[:, bins].astype(np.float64)
    above_negative = negative[:, ::-1].cumsum(axis=1)[:, ::-1][:, bins].astype(np.float64)
    all_negative = negative.sum(axis=1).astype(np.float64)
    scores = np.full((len(weights), 2), np.nan)
    for start in range(0, len(weights), _CHUNK_SAMPLES):
        chunk = weights[start : start + _CHUNK_SAMPLES]
        here, false, above = chunk @ at_positive, chunk @ at_negative, chunk @ above_negative
        found = here[:, ::-1].cumsum(axis=1)[:, ::-1]
        positives, negatives = here.sum(axis=1), chunk @ all_negative
        with np.errstate(divide="ignore", invalid="ignore"):
            ranked = (here * (negatives[:, None] - above + false / 2)).sum(axis=1)
            scores[start : start + len(chunk), 0] = ranked / (positives * negatives)
            # A bin above which a resample has nothing has no weight in it either.
            precision = np.where(here > 0, found / (found + above), 0.0)
            scores[start : start + len(chunk), 1] = (here * precision).sum(axis=1) / positives
    return scores


def resample_sensitivities(
    detected: np.ndarray,
    false_positives: np.ndarray,
    calcifications: np.ndarray,
    images: np.ndarray,
    weights: np.ndarray,
    limits: tuple[float, ...],
) -> np.ndarray:
    """Computes the sensitivity under each limit on the false alarms, of every resample.

    Args:
        detected: int [patients, thresholds], by ascending threshold.
        false_positives: int [patients, thresholds].
        calcifications: int [patients].
        images: int [patients].
        weights: float [samples, patients].
        limits: Mean false alarms per mammogram, inclusive.

    Returns:
        float64 [samples, limits]; NaN where a resample has no calcification, or exceeds the limit everywhere.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity = (weights @ detected) / (weights @ calcifications)[:, None]
        alarms = (weights @ false_positives) / (weights @ images)[:, None]
    result = np.full((len(weights), len(limits)), np.nan)
    for column, limit in enumerate(limits):
        allowed = admissible(alarms, limit)
        index = allowed.argmax(axis=1)
        best = sensitivity[np.arange(len(weights)), index]
        result[:, column] = np.where(allowed.any(axis=1), best, np.nan)
    return result


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
        return Interval(None, None, 0, "one patient alone cannot be resampled")
    if 2 * len(defined) < len(samples) or len(defined) == 0:
        return Interval(None, None, len(defined), f"only {len(defined)} of {len(samples)} resamples define the figure")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), len(defined))
