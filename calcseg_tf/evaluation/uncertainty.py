"""All figures and curves of patients under any weights: one each gives the result, resamples its intervals."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from calcseg_tf.evaluation import bootstrap
from calcseg_tf.evaluation.froc import FALSE_ALARM_LIMITS, pool
from calcseg_tf.evaluation.patient_counts import PatientCounts
from calcseg_tf.evaluation.protocols import hdogreg
from calcseg_tf.evaluation.threshold_figures import ThresholdFigure

__all__ = ["LIMITS_PER_CM2", "PARTIAL_AREAS", "Grids", "Weighted", "weigh"]

# False alarms per cm2 of breast at which sensitivities are quoted; HDoGReg's axis ends at 1.
LIMITS_PER_CM2 = (0.1, 0.25, 0.5, 1.0)

PARTIAL_AREAS = {hdogreg.NAME: {"per_image": hdogreg.MOST_PER_IMAGE, "per_cm2": hdogreg.MOST_PER_CM2}}
"""Up to how many false alarms the area under a protocol's FROC curve is taken, by unit."""

_POINTS = 100  # of a band


@dataclasses.dataclass(frozen=True, eq=False)
class Grids:
    """Where curves are read; float64 [points] each, ascending.

    Attributes:
        false_positive_rates: Of the ROC curve.
        recalls: Of the precision-recall curve.
        alarms: False alarms, by name of the curve.
    """

    false_positive_rates: np.ndarray
    recalls: np.ndarray
    alarms: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, counts: PatientCounts) -> "Grids":
        """Spreads the points evenly over what is drawn, on logarithmic axes where the figures' are."""
        images = counts.sums["images"].sum()
        negative = int(counts.pixels[1].sum())
        alarms = {}
        for protocol, sweeps in counts.sweeps.items():
            most = max(1, int(pool(sweeps).false_positives.max()))
            alarms[f"froc.{protocol}"] = _logarithmic(1 / images, most / images)
            if not counts.area_reason:
                area = counts.sums["area_cm2"].sum()
                alarms[f"froc.{protocol}.per_cm2"] = _logarithmic(1 / area, most / area)
        return cls(_logarithmic(1 / max(1, negative), 1.0), np.linspace(1 / _POINTS, 1.0, _POINTS), alarms)


@dataclasses.dataclass(frozen=True, eq=False)
class Weighted:
    """Figures and curves under weights; NaN where undefined.

    Attributes:
        figures: float64 [samples] each, by path in metrics.json.
        curves: float64 [samples, points] each, by name: `roc`, `precision_recall`, `froc.<protocol>` and, where the
            breast areas are known, `froc.<protocol>.per_cm2`.
    """

    figures: dict[str, np.ndarray]
    curves: dict[str, np.ndarray]


def weigh(counts: PatientCounts, figures: Sequence[ThresholdFigure], weights: np.ndarray, grids: Grids) -> Weighted:
    """Computes every figure and curve under weights.

    Args:
        counts: The patients.
        figures: Those at the threshold.
        weights: float64 [samples, patients], whole numbers: how often each patient counts.
        grids: Where curves are read.
    """
    pixels = bootstrap.resample_pixel_scores(counts.histograms, weights, grids.false_positive_rates, grids.recalls)
    weighted = Weighted(
        {"pixel.roc_auc": pixels.roc_auc, "pixel.average_precision": pixels.average_precision},
        {"roc": pixels.true_positive_rate, "precision_recall": pixels.precision},
    )
    sums = {name: weights @ values for name, values in counts.sums.items()}
    for figure in figures:
        weighted.figures[figure.path] = figure.compute(sums)
    for protocol in counts.sweeps:
        _weigh_protocol(counts, protocol, weights, grids, weighted)
    return weighted


def _weigh_protocol(
    counts: PatientCounts, protocol: str, weights: np.ndarray, grids: Grids, weighted: Weighted
) -> None:
    name = f"froc.{protocol}"
    reads: list[tuple[str, str, str, tuple[float, ...]]] = [(name, "per_image", "images", FALSE_ALARM_LIMITS)]
    if not counts.area_reason:
        reads.append((f"{name}.per_cm2", "per_cm2", "area_cm2", LIMITS_PER_CM2))
    exposures = [
        bootstrap.Exposure(
            counts.sums[sums], np.append(limits, grids.alarms[curve]), PARTIAL_AREAS.get(protocol, {}).get(unit)
        )
        for curve, unit, sums, limits in reads
    ]
    found = bootstrap.resample_sensitivities(counts.sweeps[protocol], exposures, weights)
    for (curve, unit, _, limits), exposure, (values, areas) in zip(reads, exposures, found, strict=True):
        points = f"{name}.operating_points" + ("" if unit == "per_image" else f"_{unit}")
        for column, limit in enumerate(limits):
            weighted.figures[f"{points}.{limit:g}.sensitivity"] = values[:, column]
        weighted.curves[curve] = values[:, len(limits) :]
        if exposure.area_limit is not None:
            weighted.figures[f"{name}.partial_auc_{unit}"] = areas


def _logarithmic(low: float, high: float) -> np.ndarray:
    return np.geomspace(low, max(low, high), _POINTS)
