"""Draws curves of one or several models on common axes: one style, legible in any colour vision, PNG and PDF."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from calcseg_tf.drawing import figure_bytes, plain_text
from calcseg_tf.evaluation.bootstrap import Band
from calcseg_tf.evaluation.pixel_curves import log_floor
from data_prep.command import DISCLAIMER

__all__ = ["PALETTE", "STYLE", "Line", "Plot", "draw_plot", "plot_image", "save_figure"]

# Okabe and Ito's colours, told apart with any colour vision; line styles and markers do it in black and white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_DASHES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "D", "^", "v", "P", "X")

STYLE = {
    "font.size": 10.0,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11.0,
    "lines.linewidth": 1.8,
    "legend.frameon": True,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "legend.fontsize": 8.5,
    "pdf.fonttype": 42,  # editable text in the figure of a paper
}


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """One model's curve.

    Attributes:
        name: Of the model; "" where there is one alone.
        x: float64 [points], in the order of the curve.
        y: float64 [points].
        figure: What the curve comes to, such as "AUC 0.981"; ends the legend's line. May be "".
        band: 95 % of the resamples, or None.
        merging: The part along which false alarms merge as the threshold falls: float64 [points] x and y, or None.
        point: Where the operating threshold lies, (x, y), or None.
        reason: Why there is no curve, or "".
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    figure: str = ""
    band: Band | None = None
    merging: tuple[np.ndarray, np.ndarray] | None = None
    point: tuple[float, float] | None = None
    reason: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Plot:
    """One pair of axes.

    Attributes:
        title: Above.
        x_label: Of the horizontal axis.
        y_label: Of the vertical one.
        lines: At least one.
        logarithmic: Whether x is; zeros are then drawn at half the smallest positive x.
        steps: Whether y holds from each x to the next, as in a precision-recall curve.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    logarithmic: bool
    steps: bool = False


def draw_plot(plot: Plot) -> Any:
    """Returns matplotlib's figure, drawn without a display and without its global state."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label)
        axes.set_ylim(-0.02, 1.02)
        floor = 0.0
        if plot.logarithmic:
            # One place for the zeros of all lines.
            floor = log_floor(
                np.concatenate([part for line in plot.lines for part in (line.x, *(line.merging or ())[:1])])
            )
            axes.set_xscale("log")
            if any((line.x == 0).any() for line in plot.lines):
                axes.set_xlabel(f"{plot.x_label} (0 drawn at the left end)")
        else:
            axes.set_xlim(-0.02, 1.02)
        for number, line in enumerate(plot.lines):
            _draw_line(axes, plot, line, number, floor)
        reasons = sorted({_joined(line.name, f"undefined, {line.reason}") for line in plot.lines if line.reason})
        for row, reason in enumerate(reasons):
            axes.text(0.02, 0.5 - 0.07 * row, plain_text(reason, 80), transform=axes.transAxes, color="0.3", fontsize=8)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(loc="best")
        figure.supxlabel(DISCLAIMER, fontsize=7, color="0.4")
    return figure


def save_figure(figure: Any) -> tuple[bytes, bytes]:
    """Returns a figure as PNG and as PDF, the same bytes for the same figure."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        png = figure_bytes(figure, "png", 200)
        figure.set_layout_engine(None)  # laid out already; else it would be drawn once more
        return png, figure_bytes(figure, "pdf", 200)


def plot_image(plot: Plot) -> np.ndarray:
    """Draws for a screen: RGB, uint8 [height, width, 3]."""
    figure = draw_plot(plot)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def _joined(*parts: str) -> str:
    return ": ".join(part for part in parts if part)


def _draw_line(axes: Any, plot: Plot, line: Line, number: int, floor: float) -> None:
    if line.reason:
        return
    colour = PALETTE[number % len(PALETTE)]
    dash = _DASHES[number % len(_DASHES)]
    label = plain_text(_joined(line.name, line.figure), 60)
    style = {"drawstyle": "steps-post"} if plot.steps else {}
    axes.plot(np.maximum(line.x, floor), line.y, color=colour, linestyle=dash, label=label, **style)
    if line.merging is not None:
        merging_x, merging_y = line.merging
        named = {"label": "false alarms merging"} if number == 0 else {}
        axes.plot(
            np.maximum(merging_x, floor), merging_y, color=colour, linestyle=":", linewidth=1.0, alpha=0.6, **named
        )
    if line.band is not None and not line.band.reason:
        band = line.band
        axes.fill_between(np.maximum(band.x, floor), band.low, band.high, color=colour, alpha=0.16, linewidth=0)
    if line.point is not None:
        marker = _MARKERS[number % len(_MARKERS)]
        place = ([max(line.point[0], floor)], [line.point[1]])
        axes.plot(*place, marker, color=colour, markersize=7, markeredgecolor="white", clip_on=False, zorder=5)
