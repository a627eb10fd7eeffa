"""Compares two results on the same images: the difference of every figure, with an interval over resampled patients.

Both results are resampled with the same patients. What makes a patient hard for one model makes it hard for the other,
so the difference varies far less than either figure: two intervals that overlap say little, this one says it.
"""

import dataclasses

import numpy as np

from calcseg_tf.evaluation import bootstrap
from calcseg_tf.evaluation.evaluation_result import EvaluationResult
from calcseg_tf.evaluation.pixel_curves import Figure
from data_prep.errors import InputError

__all__ = ["PairedDifference", "check_comparable", "paired_differences"]


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """The first result's figure less the second's.

    Attributes:
        difference: None where one of the two is undefined.
        low: The 2.5 % percentile of the resamples' differences; None where there is no interval.
        high: The 97.5 % percentile.
        p: Two-sided share of the resamples that lie on the other side of no difference: twice the smaller of the shares
            at or above 0 and at or below it, counting the result itself as one, at most 1; None where there is no
            interval.
        samples: How many resamples define both figures.
        reason: Why there is no difference or no interval, or "".
    """

    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    samples: int
    reason: str = ""


def check_comparable(first: EvaluationResult, second: EvaluationResult) -> None:
    """Checks that two results are of the same images with the same annotation, counted and resampled alike.

    Raises:
        InputError: They are not.
    """
    ours, theirs = ({image.case.image_id: image for image in result.images} for result in (first, second))
    if others := sorted(ours.keys() ^ theirs.keys()):
        raise InputError(
            f"results are compared on the same images; {len(others)} are in one of them alone, such as {others[0]}"
        )
    for image_id, image in ours.items():
        other = theirs[image_id]
        if image.case.patient_id != other.case.patient_id:
            raise InputError("results are compared on the same patients; found two for one image", image_id)
        if image.annotation_sha256 != other.annotation_sha256:
            raise InputError("results are compared on the same annotation; found two for one image", image_id)
    for name, values in {
        "connectivity": (first.connectivity, second.connectivity),
        "number of resamples": (first.bootstrap_samples, second.bootstrap_samples),
        "seed of the resampling": (first.seed, second.seed),
    }.items():
        if values[0] != values[1]:
            raise InputError(f"results are compared with the same {name}; found {values[0]} and {values[1]}")


def paired_differences(first: EvaluationResult, second: EvaluationResult) -> dict[str, PairedDifference]:
    """Compares every figure that both results have, each at its own operating threshold.

    Args:
        first: Of one model.
        second: Of another, on the same images.

    Returns:
        By the figure's path in metrics.json.

    Raises:
        InputError: `check_comparable` says why.
    """
    check_comparable(first, second)
    return {
        path: _difference(
            figure,
            second.figures[path],
            first.resamples.figures[path] - second.resamples.figures[path],
            len(first.patients),
        )
        for path, figure in first.figures.items()
        if path in second.figures and path in first.resamples.figures and path in second.resamples.figures
    }


def _difference(one: Figure, two: Figure, samples: np.ndarray, patients: int) -> PairedDifference:
    if one.value is None or two.value is None:
        return PairedDifference(None, None, None, None, 0, one.reason or two.reason)
    difference = one.value - two.value
    interval = bootstrap.interval(samples, Figure(difference), patients)
    if interval.low is None:
        return PairedDifference(difference, None, None, None, interval.samples, interval.reason)
    defined = samples[np.isfinite(samples)]
    smaller = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    p = min(1.0, 2 * (smaller + 1) / (len(defined) + 1))
    return PairedDifference(difference, interval.low, interval.high, p, interval.samples)
