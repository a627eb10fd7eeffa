"""Writes an evaluation: metrics.json, the curves as tables and as figures, one row an image."""

import csv
import json
import os
import pathlib
import tempfile
from collections.abc import Iterable, Mapping

import numpy as np

from calcseg_tf.evaluation.evaluation import EvaluationResult
from calcseg_tf.evaluation.metrics import build_metrics
from calcseg_tf.evaluation.pixel_curves import precision_recall_curve, roc_curve, thin
from calcseg_tf.evaluation.plots import DRAWN_POINTS, log_floor, plot_all
from data_prep.errors import InputError

__all__ = ["METRICS_FILE", "write_results"]

METRICS_FILE = "metrics.json"


def write_results(
    result: EvaluationResult,
    output_dir: pathlib.Path,
    threshold: float,
    context: Mapping[str, object] | None = None,
    plots: bool = True,
) -> dict[str, object]:
    """Writes an evaluation into a folder; a folder that holds metrics.json holds all of one evaluation.

    Everything is built in a hidden folder beside and moved file by file, metrics.json last; an older metrics.json goes
    first. Tables: `froc.csv` (every threshold of the grid), `roc.csv` and `precision_recall.csv` (at most 2,000 points,
    evenly along the drawn curve, both ends included; the figures in metrics.json come from all points), `images.csv`.
    Numbers are written in full and re-read to the same float64; an empty cell is undefined; the threshold `inf` is
    where nothing is predicted.

    Args:
        result: What was evaluated.
        output_dir: Made if it does not exist; other files in it are left alone.
        threshold: The operating threshold, on the grid or among the extra thresholds.
        context: What was evaluated and how, for metrics.json.
        plots: Whether to draw the figures.

    Returns:
        The contents of metrics.json.

    Raises:
        InputError: The folder cannot be made, or nothing was counted at the threshold.
    """
    metrics = build_metrics(result, threshold, context)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made ({error.strerror})", output_dir) from None
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=output_dir) as folder:
        partial = pathlib.Path(folder)
        _write_froc(result, partial / "froc.csv")
        _write_roc(result, partial / "roc.csv")
        _write_precision_recall(result, partial / "precision_recall.csv")
        _write_images(result, threshold, partial / "images.csv")
        if plots:
            plot_all(result, threshold, partial)
        files = sorted(partial.iterdir())
        (partial / METRICS_FILE).write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")
        (output_dir / METRICS_FILE).unlink(missing_ok=True)
        for file in [*files, partial / METRICS_FILE]:
            os.replace(file, output_dir / file.name)
    return metrics


def _write_froc(result: EvaluationResult, path: pathlib.Path) -> None:
    curve = result.froc
    undefined = np.full(len(curve.thresholds), np.nan)
    columns = (
        curve.thresholds,
        undefined if curve.sensitivity is None else curve.sensitivity,
        curve.false_positives_per_image,
        undefined if curve.false_positives_per_cm2 is None else curve.false_positives_per_cm2,
    )
    header = ("threshold", "sensitivity", "false_positives_per_image", "false_positives_per_cm2")
    _write_csv(path, header, zip(*(column.tolist() for column in columns), strict=True))


def _write_roc(result: EvaluationResult, path: pathlib.Path) -> None:
    header = ("threshold", "false_positive_rate", "true_positive_rate")
    curve = roc_curve(*result.pixels)
    if curve is None:
        _write_csv(path, header, ())
        return
    kept = thin(np.log10(np.maximum(curve.x, log_floor(curve.x))), curve.y, DRAWN_POINTS)
    columns = (curve.thresholds[kept], curve.x[kept], curve.y[kept])
    _write_csv(path, header, zip(*(column.tolist() for column in columns), strict=True))


def _write_precision_recall(result: EvaluationResult, path: pathlib.Path) -> None:
    header = ("threshold", "recall", "precision")
    curve = precision_recall_curve(*result.pixels)
    if curve is None:
        _write_csv(path, header, ())
        return
    kept = thin(curve.x, curve.y, DRAWN_POINTS)
    columns = (curve.thresholds[kept], curve.x[kept], curve.y[kept])
    _write_csv(path, header, zip(*(column.tolist() for column in columns), strict=True))


def _write_images(result: EvaluationResult, threshold: float, path: pathlib.Path) -> None:
    step = result.step_of(threshold)
    header = ("image_id", "patient_id", "calcifications", "detected", "false_positives", "breast_area_mm2")
    _write_csv(path, header, (
        (image.image_id, image.patient_id, image.counts.objects, int(image.counts.detected[step]),
         int(image.counts.false_positives[step]), image.breast_area_mm2)
        for image in result.images
    ))  # fmt: skip


def _write_csv(path: pathlib.Path, header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(["" if cell is None or cell != cell else cell for cell in row] for row in rows)
