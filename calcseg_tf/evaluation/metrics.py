"""The contents of metrics.json, and the table that a person reads."""

from collections.abc import Mapping

import numpy as np

from calcseg_tf.evaluation.bootstrap import LEVEL, ONE_PATIENT, few_patients
from calcseg_tf.evaluation.definitions import definitions
from calcseg_tf.evaluation.evaluation_result import PRIMARY, EvaluationResult
from calcseg_tf.evaluation.froc import FALSE_ALARM_LIMITS, FrocCurve
from calcseg_tf.evaluation.pixel_curves import Figure, thin
from calcseg_tf.evaluation.uncertainty import LIMITS_PER_CM2
from calcseg_tf.evaluation.wording import counted
from data_prep.command import DISCLAIMER

__all__ = ["build_metrics", "cautions", "summary_table"]

_LISTED_POINTS = 200  # of a FROC curve; the tables hold all
_MUCH = 0.05  # of all pixels; of mammograms full of calcifications less than a hundredth is calcified


def build_metrics(result: EvaluationResult, context: Mapping[str, object] | None = None) -> dict[str, object]:
    """Builds the contents of metrics.json: numbers, lists and null, ready for `json.dumps(allow_nan=False)`.

    Args:
        result: What was evaluated.
        context: What was evaluated and how (model, records, split), written under `context`.
    """
    undefined: dict[str, str] = {}
    positive, negative = result.pixels
    pixel = _take(result, "pixel.", undefined)
    return {
        "images": len(result.images),
        "patients": len(result.patients),
        "calcifications": result.calcifications,
        "pixel": {**pixel, "calcification_pixels": int(positive.sum()), "background_pixels": int(negative.sum())},
        "rounding": _rounding(result, undefined),
        "froc": {protocol: _froc(result, protocol, undefined) for protocol in result.protocols},
        "operating_points": _operating_points(result, PRIMARY, "operating_points", undefined),
        "at_threshold": {"threshold": result.threshold, **_take(result, "at_threshold.", undefined)},
        "strata": _strata(result, undefined),
        "confidence_intervals": _intervals(result, undefined),
        "bootstrap": {
            "unit": "patient", "samples": result.bootstrap_samples, "seed": result.seed, "level": LEVEL,
            "caution": few_patients(len(result.patients)),
        },
        "undefined": undefined,
        "definitions": definitions(result.threshold_figures, result.protocols, result.connectivity),
        "context": dict(context or {}),
        "disclaimer": DISCLAIMER,
    }  # fmt: skip


def summary_table(result: EvaluationResult) -> str:
    """Formats the main figures as a table of text, several lines without a final line break."""
    rows = [("pixel ROC AUC", "pixel.roc_auc"), ("pixel average precision", "pixel.average_precision")]
    for limit in FALSE_ALARM_LIMITS:
        path = f"froc.{PRIMARY}.operating_points.{limit:g}.sensitivity"
        rows.append((f"sensitivity at {limit:g} false alarms / mammogram", path))
    rows += [
        (f"at threshold {result.threshold:.4f}: sensitivity", "at_threshold.sensitivity"),
        ("  false alarms / mammogram", "at_threshold.false_positives_per_image"),
        ("  false alarms / cm2 of breast", "at_threshold.false_positives_per_cm2"),
        ("  pixel Dice", "at_threshold.dice"),
        ("  pixel IoU", "at_threshold.iou"),
        ("  object IoU", "at_threshold.object_iou"),
        ("  mean IoU of both classes", "at_threshold.mean_iou_classes"),
        ("  mean IoU of the images", "at_threshold.mean_iou_images"),
    ]
    width = max(len(label) for label, _ in rows)
    counts = ", ".join([
        counted(len(result.images), "image"),
        counted(len(result.patients), "patient"),
        counted(result.calcifications, "calcification"),
    ])  # fmt: skip
    lines = [f"{counts}; [{LEVEL:.0%} interval over patients]"]
    for label, path in rows:
        figure, interval = result.figures[path], result.intervals[path]
        value = "n/a" if figure.value is None else f"{figure.value:.4f}"
        between = "" if interval.low is None else f"[{interval.low:.4f}, {interval.high:.4f}]"
        lines.append(f"{label:<{width}}  {value:>7}  {between}".rstrip())
    reasons = {result.figures[path].reason for _, path in rows}
    if len(result.patients) < 2:
        reasons.add(f"intervals: {ONE_PATIENT}")
    lines += [f"n/a: {reason}" for reason in sorted(reasons - {""})]
    told = [few_patients(len(result.patients)), *cautions(result)]
    return "\n".join([*lines, *(f"caution: {each}" for each in told if each)])


def cautions(result: EvaluationResult) -> list[str]:
    """Says where the paper's protocol cannot be believed: any overlap finds, so what covers everything finds all."""
    points = [point for limit in FALSE_ALARM_LIMITS if (point := result.operating_point(limit)) is not None]
    share = max(map(result.predicted_share, [result.threshold, *(point.threshold for point in points)]))
    if share < _MUCH:
        return []
    return [f"up to {share:.0%} of all pixels are predicted at these thresholds; what covers so much finds anything"]


def _take(result: EvaluationResult, prefix: str, undefined: dict[str, str]) -> dict[str, float | None]:
    """Returns the figures whose path begins so, by the rest of their path."""
    return {
        path.removeprefix(prefix): _value(path, figure, undefined)
        for path, figure in result.figures.items()
        if path.startswith(prefix)
    }


def _value(path: str, figure: Figure, undefined: dict[str, str]) -> float | None:
    if figure.value is None:
        undefined[path] = figure.reason
    return figure.value


def _rounding(result: EvaluationResult, undefined: dict[str, str]) -> dict[str, dict[str, float | None]]:
    bounds = {}
    for path, each in result.rounding.items():
        if each is None:
            undefined[f"rounding.{path}"] = result.figures[path].reason
        bounds[path] = {"low": each.low if each else None, "high": each.high if each else None}
    return bounds


def _froc(result: EvaluationResult, protocol: str, undefined: dict[str, str]) -> dict[str, object]:
    curve, path = result.froc[protocol], f"froc.{protocol}"
    if curve.sensitivity is None:
        undefined[f"{path}.sensitivity"] = result.figures[f"{path}.at_threshold.sensitivity"].reason
    if curve.false_positives_per_cm2 is None:
        undefined[f"{path}.false_positives_per_cm2"] = result.area_reason
    kept = _listed(curve)
    return {
        **({"connectivity": result.connectivity} if protocol == PRIMARY else {}),
        "objects": result.sweeps[protocol].objects,
        "thresholds": curve.thresholds[kept].tolist(),
        "sensitivity": _list(curve.sensitivity, kept),
        "false_positives_per_image": _list(curve.false_positives_per_image, kept),
        "false_positives_per_cm2": _list(curve.false_positives_per_cm2, kept),
        "operating_points": _operating_points(result, protocol, f"{path}.operating_points", undefined),
        "operating_points_per_cm2": _operating_points(
            result, protocol, f"{path}.operating_points_per_cm2", undefined, per_cm2=True
        ),
        "at_threshold": _take(result, f"{path}.at_threshold.", undefined),
        **{f"partial_auc{unit}": value for unit, value in _take(result, f"{path}.partial_auc", undefined).items()},
    }


def _listed(curve: FrocCurve) -> np.ndarray:
    alarms = curve.false_positives_per_image
    y = np.zeros(len(alarms)) if curve.sensitivity is None else curve.sensitivity
    return thin(alarms, y, _LISTED_POINTS, logarithmic=True)


def _list(values: np.ndarray | None, kept: np.ndarray) -> list[float] | None:
    return None if values is None else values[kept].tolist()


def _operating_points(
    result: EvaluationResult, protocol: str, path: str, undefined: dict[str, str], per_cm2: bool = False
) -> dict[str, dict[str, float | None]]:
    points = {}
    for limit in LIMITS_PER_CM2 if per_cm2 else FALSE_ALARM_LIMITS:
        point = result.operating_point(limit, protocol, per_cm2)
        if point is None:
            undefined[f"{path}.{limit:g}"] = result.sensitivity_at(limit, protocol, per_cm2).reason
        points[f"{limit:g}"] = {
            "threshold": point.threshold if point else None,
            "sensitivity": point.sensitivity if point else None,
            "false_positives_per_image": point.false_positives_per_image if point else None,
            "predicted_share": result.predicted_share(point.threshold) if point else None,
        }
    return points


def _strata(result: EvaluationResult, undefined: dict[str, str]) -> dict[str, dict[str, dict[str, float | None]]]:
    strata: dict[str, dict[str, dict[str, float | None]]] = {}
    for stratum in result.strata:
        strata.setdefault(stratum.dimension, {})[stratum.name] = {
            "calcifications": stratum.objects,
            "detected": stratum.detected,
            "sensitivity": _value(stratum.path, result.figures[stratum.path], undefined),
        }
    return strata


def _intervals(result: EvaluationResult, undefined: dict[str, str]) -> dict[str, dict[str, float | None]]:
    intervals = {}
    for path, interval in result.intervals.items():
        # The primary protocol's points stand at the top too.
        short = path.removeprefix(f"froc.{PRIMARY}.") if ".operating_points." in path else path
        for name in {path, short}:
            if interval.low is None:
                undefined[f"confidence_intervals.{name}"] = interval.reason
            intervals[name] = {"low": interval.low, "high": interval.high, "samples": interval.samples}
    return dict(sorted(intervals.items()))
