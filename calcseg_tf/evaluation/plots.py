"""The paper's Fig. 6 of an evaluation: FROC, ROC and precision-recall, in one style, as PNG and PDF."""

import pathlib
from typing import Any

import numpy as np

from calcseg_tf.evaluation.evaluation_result import PRIMARY, EvaluationResult
from calcseg_tf.evaluation.pixel_curves import Curve, log_floor, precision_recall_curve, roc_curve, thin
from calcseg_tf.evaluation.tables import DRAWN_POINTS
from data_prep.command import DISCLAIMER

__all__ = ["CURVES", "curve_image", "plot_all"]

CURVES = ("froc", "roc", "precision_recall")

_STYLE = {
    "font.size": 10.0,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11.0,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # editable text in the figure of a paper
}
_COLOUR = "#1f5fa8"


def plot_all(result: EvaluationResult, output_dir: pathlib.Path) -> list[pathlib.Path]:
    """Draws the three figures into a folder.

    Args:
        result: What was evaluated; its operating threshold is marked on every curve.
        output_dir: Exists.

    Returns:
        The files: froc, roc and precision_recall, each as .png and .pdf.
    """
    import matplotlib

    paths = []
    with matplotlib.rc_context(_STYLE):
        for name in CURVES:
            figure = _figure(name, result, result.threshold)
            paths += [output_dir / f"{name}.png", output_dir / f"{name}.pdf"]
            figure.savefig(paths[-2], dpi=200)
            # A date in the file would make equal results differ.
            figure.savefig(paths[-1], metadata={"CreationDate": None})
    return paths


def curve_image(name: str, result: EvaluationResult) -> np.ndarray:
    """Draws one figure for a screen, without an operating threshold.

    Args:
        name: One of CURVES.
        result: What was evaluated.

    Returns:
        RGB, uint8 [height, width, 3].
    """
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        figure = _figure(name, result, None)
        figure.canvas.draw()
        return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def _figure(name: str, result: EvaluationResult, threshold: float | None) -> Any:
    """Returns one figure, drawn without a display and without matplotlib's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw = {"froc": _froc, "roc": _roc, "precision_recall": _precision_recall}[name]
    draw(axes, result, threshold)
    axes.set_title(f"{axes.get_title()}\n{_count(result)}")
    figure.supxlabel(DISCLAIMER, fontsize=7, color="0.4")
    return figure


def _count(result: EvaluationResult) -> str:
    return f"{_plural(len(result.images), 'image')}, {_plural(result.calcifications, 'calcification')}"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _froc(axes: Any, result: EvaluationResult, threshold: float | None) -> None:
    axes.set(title="FROC", xlabel="false alarms per mammogram", ylabel="sensitivity (calcifications found)")
    curve = result.froc[PRIMARY]
    if curve.sensitivity is None:
        _say(axes, "no calcification in the images")
        return
    floor = log_floor(curve.false_positives_per_image)
    x = np.maximum(curve.false_positives_per_image, floor)
    # Below the threshold with the most false alarms they merge, and the curve runs back: not a way to operate.
    peak = len(x) - 1 - int(x[::-1].argmax())
    axes.semilogx(x[peak:], curve.sensitivity[peak:], color=_COLOUR)
    if peak > 0:
        axes.semilogx(x[: peak + 1], curve.sensitivity[: peak + 1], color="0.6", linestyle=":", label="merging")
    if threshold is not None:
        alarms = result.figures["at_threshold.false_positives_per_image"].value or 0.0
        _mark(axes, max(alarms, floor), result.figures["at_threshold.sensitivity"].value, threshold)
    if (curve.false_positives_per_image == 0).any():
        axes.set_xlabel("false alarms per mammogram (0 drawn at the left end)")
    axes.set_ylim(-0.02, 1.02)


def _roc(axes: Any, result: EvaluationResult, threshold: float | None) -> None:
    axes.set(title="Per-pixel ROC", xlabel="false-positive rate", ylabel="true-positive rate")
    curve = roc_curve(*result.pixels)
    if curve is None or result.roc_auc.value is None:
        _say(axes, result.roc_auc.reason)
        return
    axes.set_title(f"Per-pixel ROC, AUC {result.roc_auc.value:.4f}")
    floor = log_floor(curve.x)
    x = np.maximum(curve.x, floor)
    kept = thin(np.log10(x), curve.y, DRAWN_POINTS)
    axes.semilogx(x[kept], curve.y[kept], color=_COLOUR)
    _mark_curve(axes, Curve(x, curve.y, curve.thresholds), threshold)
    axes.set_ylim(-0.02, 1.02)


def _precision_recall(axes: Any, result: EvaluationResult, threshold: float | None) -> None:
    axes.set(title="Per-pixel precision-recall", xlabel="recall", ylabel="precision")
    curve = precision_recall_curve(*result.pixels)
    if curve is None or result.average_precision.value is None:
        _say(axes, result.average_precision.reason)
        return
    axes.set_title(f"Per-pixel precision-recall, AP {result.average_precision.value:.4f}")
    kept = thin(curve.x, curve.y, DRAWN_POINTS)
    # Average precision is the area under these steps.
    axes.step(curve.x[kept], curve.y[kept], where="post", color=_COLOUR)
    _mark_curve(axes, curve, threshold)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def _mark_curve(axes: Any, curve: Curve, threshold: float | None) -> None:
    """Marks the point of a curve whose threshold is the lowest at or above the operating one, if there is one."""
    if threshold is None:
        return
    above = np.flatnonzero(curve.thresholds >= threshold - 1e-9)
    index = above[np.argmin(curve.thresholds[above])]
    _mark(axes, float(curve.x[index]), float(curve.y[index]), threshold)


def _mark(axes: Any, x: float, y: float | None, threshold: float) -> None:
    if y is None:
        return
    label = f"threshold {threshold:.3f}"
    axes.plot([x], [y], "o", color="#c8452c", markersize=6, label=label, clip_on=False, zorder=5)
    axes.legend(loc="best")


def _say(axes: Any, reason: str) -> None:
    axes.text(0.5, 0.5, f"undefined: {reason}", transform=axes.transAxes, ha="center", color="0.3")
