"""Writes an evaluation: metrics.json, the tables and the figures."""

import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping

from calcseg_tf.evaluation.evaluation_result import EvaluationResult
from calcseg_tf.evaluation.image_score import PROTOCOLS
from calcseg_tf.evaluation.metrics import build_metrics
from calcseg_tf.evaluation.plots import STRATA_PLOT, plot_all
from calcseg_tf.evaluation.tables import write_tables
from data_prep.atomic import sweep_partial_files
from data_prep.errors import InputError
from data_prep.flushing import flush_folder

__all__ = ["METRICS_FILE", "PARTIAL_PREFIX", "remove_results", "sweep_partial", "write_results"]

METRICS_FILE = "metrics.json"
PARTIAL_PREFIX = ".partial-"  # of hidden folders, in which a report is built

_PLOTS = (
    "froc_hdogreg_per_cm2",
    *(f"froc_{protocol}" for protocol in PROTOCOLS),
    "roc",
    "precision_recall",
    STRATA_PLOT,
)
_TABLES = (*_PLOTS, "pixels", "bands", "images", "calcifications", "candidates", "candidates_picai")


def write_results(
    result: EvaluationResult,
    output_dir: pathlib.Path,
    context: Mapping[str, object] | None = None,
    plots: bool = True,
) -> dict[str, object]:
    """Writes an evaluation into a folder; a folder that holds metrics.json holds all of one evaluation.

    Everything is built in a hidden folder beside and moved file by file, metrics.json last; an older metrics.json goes
    first. `tables.write_tables` says what the tables hold.

    Args:
        result: What was evaluated.
        output_dir: Made if it does not exist; other files in it are left alone.
        context: What was evaluated and how, for metrics.json.
        plots: Whether to draw the figures.

    Returns:
        The contents of metrics.json.

    Raises:
        InputError: The folder cannot be made.
    """
    metrics = build_metrics(result, context)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made ({error.strerror})", output_dir) from None
    with tempfile.TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=output_dir) as folder:
        partial = pathlib.Path(folder)
        write_tables(result, partial)
        if plots:
            plot_all({"": result}, partial)
        files = sorted(partial.iterdir())
        (partial / METRICS_FILE).write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")
        flush_folder(partial)
        if (output_dir / METRICS_FILE).exists():
            remove_results(output_dir)
        for file in [*files, partial / METRICS_FILE]:
            os.replace(file, output_dir / file.name)
    return metrics


def remove_results(output_dir: pathlib.Path) -> None:
    """Removes metrics.json, tables and figures from a folder that holds an evaluation.

    Another may write fewer: of a data set without pixel spacing, or of several models, whose tables lie in folders.
    """
    plots = [f"{name}.{kind}" for name in _PLOTS for kind in ("png", "pdf")]
    for name in (METRICS_FILE, *plots, *(f"{name}.csv" for name in _TABLES)):
        (output_dir / name).unlink(missing_ok=True)


def sweep_partial(output_dir: pathlib.Path) -> None:
    """Removes what killed processes left in a folder of results into which no other process writes now."""
    sweep_partial_files(output_dir)
    for folder in output_dir.glob(f"{PARTIAL_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
