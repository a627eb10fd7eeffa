"""The contents of metrics.json, and the table that a person reads."""

from collections.abc import Mapping

import numpy as np

from calcseg_tf.evaluation.bootstrap import LEVEL
from calcseg_tf.evaluation.evaluation import EvaluationResult
from calcseg_tf.evaluation.froc import FALSE_ALARM_LIMITS
from calcseg_tf.evaluation.pixel_curves import Figure
from calcseg_tf.evaluation.protocols.zamir import NAME as PROTOCOL
from data_prep.command import DISCLAIMER

__all__ = ["build_metrics", "summary_table"]

_PER_CM2 = f"froc.{PROTOCOL}.false_positives_per_cm2"

_DEFINITIONS = {
    "resolution": "Everything is measured on the 16-bit probability map: p is rounded to round(65535 p) / 65535.",
    "ignored pixels": "Pixels whose mask is 255 enter no figure; they count as not predicted.",
    "calcifications": "{connectivity}-connected components of the annotated calcification pixels, over all images.",
    "pixel.roc_auc": "Area under the ROC curve of all pixels of all images, as scikit-learn's roc_auc_score.",
    "pixel.average_precision": "Sum of precision times step in recall, as scikit-learn's average_precision_score.",
    f"froc.{PROTOCOL}.thresholds": "A pixel is predicted where p >= threshold; a fixed grid, even in logit, -6 to 10.",
    f"froc.{PROTOCOL}.sensitivity": (
        "Calcifications of which at least one pixel is predicted / calcifications, over all images."
    ),
    f"froc.{PROTOCOL}.false_positives_per_image": (
        "{connectivity}-connected predicted components that share no pixel with a calcification / images."
    ),
    _PER_CM2: "The same components / cm2 of breast in all images.",
    "operating_points": (
        "By limit on the mean false alarms per mammogram: the highest sensitivity at thresholds that keep the limit, "
        "there and at every higher threshold, so that a prediction merged into one component does not pass."
    ),
    "at_threshold": "The figures at the operating threshold, pooled over all images.",
    "at_threshold.dice": "2 TP / (2 TP + FP + FN), in pixels over all images.",
    "at_threshold.iou": "TP / (TP + FP + FN), in pixels over all images.",
    "confidence_intervals": (
        "95 % percentile interval over resamples of the patients; resamples that leave the figure undefined are left "
        "out, and `samples` says how many remain."
    ),
    "undefined": "Why a figure is null, by its path.",
}


def build_metrics(
    result: EvaluationResult, threshold: float, context: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Builds the contents of metrics.json: numbers, lists and null, ready for `json.dumps(allow_nan=False)`.

    Args:
        result: What was evaluated.
        threshold: The operating threshold, on the grid or among the extra thresholds.
        context: What was evaluated and how (model, records, split), written under `context`.
    """
    undefined: dict[str, str] = {}

    def value(path: str, figure: Figure) -> float | None:
        if figure.value is None:
            undefined[path] = figure.reason
        return figure.value

    positive, negative = result.pixels
    pixel = {
        "roc_auc": value("pixel.roc_auc", result.roc_auc),
        "average_precision": value("pixel.average_precision", result.average_precision),
        "calcification_pixels": int(positive.sum()),
        "background_pixels": int(negative.sum()),
    }
    at = result.at_threshold(threshold)
    at_threshold = {
        "threshold": at.threshold,
        "sensitivity": value("at_threshold.sensitivity", at.sensitivity),
        "false_positives_per_image": at.false_positives_per_image.value,
        "false_positives_per_cm2": value("at_threshold.false_positives_per_cm2", at.false_positives_per_cm2),
        "dice": value("at_threshold.dice", at.dice),
        "iou": value("at_threshold.iou", at.iou),
    }
    froc = result.froc
    if froc.sensitivity is None:
        undefined[f"froc.{PROTOCOL}.sensitivity"] = "no calcification in the images"
    if froc.false_positives_per_cm2 is None:
        undefined[_PER_CM2] = result.area_reason
    return {
        "images": len(result.images),
        "patients": len(result.patients),
        "calcifications": result.calcifications,
        "pixel": pixel,
        "froc": {
            PROTOCOL: {
                "connectivity": result.connectivity,
                "thresholds": froc.thresholds.tolist(),
                "sensitivity": _list(froc.sensitivity),
                "false_positives_per_image": froc.false_positives_per_image.tolist(),
                "false_positives_per_cm2": _list(froc.false_positives_per_cm2),
            }
        },
        "operating_points": _operating_points(result, undefined),
        "at_threshold": at_threshold,
        "confidence_intervals": _intervals(result, undefined),
        "bootstrap": {
            "unit": "patient", "samples": result.bootstrap_samples, "seed": result.seed, "level": LEVEL,
        },
        "undefined": undefined,
        "definitions": {key: text.format(connectivity=result.connectivity) for key, text in _DEFINITIONS.items()},
        "context": dict(context or {}),
        "disclaimer": DISCLAIMER,
    }  # fmt: skip


def summary_table(result: EvaluationResult, threshold: float) -> str:
    """Formats the main figures as a table of text, several lines without a final line break."""
    at = result.at_threshold(threshold)
    rows = [
        ("pixel ROC AUC", _text(result.roc_auc), _range(result, "pixel.roc_auc")),
        ("pixel average precision", _text(result.average_precision), _range(result, "pixel.average_precision")),
    ]
    for limit in FALSE_ALARM_LIMITS:
        label = f"sensitivity at {limit:g} false alarms / mammogram"
        rows.append(
            (label, _text(result.sensitivity_at(limit)), _range(result, f"operating_points.{limit:g}.sensitivity"))
        )
    rows += [
        (f"at threshold {at.threshold:.4f}: sensitivity", _text(at.sensitivity), ""),
        ("  false alarms / mammogram", _text(at.false_positives_per_image), ""),
        ("  false alarms / cm2 of breast", _text(at.false_positives_per_cm2), ""),
        ("  pixel Dice", _text(at.dice), ""),
        ("  pixel IoU", _text(at.iou), ""),
    ]
    width = max(len(label) for label, _, _ in rows)
    counts = f"{len(result.images)} images of {len(result.patients)} patients, {result.calcifications} calcifications"
    lines = [f"{counts}; [{LEVEL:.0%} interval over patients]"]
    lines += [f"{label:<{width}}  {value:>7}  {between}".rstrip() for label, value, between in rows]
    reasons = {figure.reason for figure in (result.roc_auc, at.sensitivity, at.false_positives_per_cm2, at.dice)}
    lines += [f"n/a: {reason}" for reason in sorted(reasons - {""})]
    return "\n".join(lines)


def _list(values: np.ndarray | None) -> list[float] | None:
    return None if values is None else values.tolist()


def _operating_points(result: EvaluationResult, undefined: dict[str, str]) -> dict[str, dict[str, float | None]]:
    points = {}
    for limit in FALSE_ALARM_LIMITS:
        point = result.operating_point(limit)
        if point is None:
            undefined[f"operating_points.{limit:g}"] = result.sensitivity_at(limit).reason
        points[f"{limit:g}"] = {
            "threshold": point.threshold if point else None,
            "sensitivity": point.sensitivity if point else None,
            "false_positives_per_image": point.false_positives_per_image if point else None,
        }
    return points


def _intervals(result: EvaluationResult, undefined: dict[str, str]) -> dict[str, dict[str, float | None]]:
    intervals = {}
    for path, interval in result.intervals.items():
        if interval.low is None:
            undefined[f"confidence_intervals.{path}"] = interval.reason
        intervals[path] = {"low": interval.low, "high": interval.high, "samples": interval.samples}
    return intervals


def _text(figure: Figure) -> str:
    return "n/a" if figure.value is None else f"{figure.value:.4f}"


def _range(result: EvaluationResult, path: str) -> str:
    interval = result.intervals[path]
    return "" if interval.low is None else f"[{interval.low:.4f}, {interval.high:.4f}]"
