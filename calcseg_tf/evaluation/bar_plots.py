"""Draws a figure by classes: a bar for each model and class, with its interval, in the style of the curves."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from calcseg_tf.drawing import plain_text
from calcseg_tf.evaluation.line_plots import PALETTE, STYLE
from data_prep.command import DISCLAIMER

__all__ = ["Bars", "Panel", "draw_bars"]

_COLUMNS = 2
_HATCHES = ("", "//", "..", "\\\\", "xx", "--", "++")


@dataclasses.dataclass(frozen=True)
class Bars:
    """One model's figure in every class.

    Attributes:
        name: Of the model.
        values: In [0, 1]; None where undefined.
        low: Ends of the intervals; None where there is none.
        high: Likewise.
    """

    name: str
    values: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


@dataclasses.dataclass(frozen=True)
class Panel:
    """One division into classes.

    Attributes:
        title: By what.
        classes: Label of each, such as "2 to 4".
        counts: How many there are of each; under the label.
        bars: One a model.
    """

    title: str
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    bars: tuple[Bars, ...]


def draw_bars(panels: Sequence[Panel], y_label: str) -> Any:
    """Returns matplotlib's figure of at least one panel, for `save_figure`."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(panels) // _COLUMNS)
    with matplotlib.rc_context({**STYLE, "axes.grid.axis": "y", "axes.axisbelow": True}):
        figure = Figure(figsize=(10.4, 3.4 * rows + 0.3), layout="constrained")
        FigureCanvasAgg(figure)
        for number, axes in enumerate(figure.subplots(rows, _COLUMNS, squeeze=False).flat):
            if number < len(panels):
                _draw_panel(axes, panels[number], y_label)
            else:
                axes.set_axis_off()
        figure.supxlabel(DISCLAIMER, fontsize=7, color="0.4")
    return figure


def _draw_panel(axes: Any, panel: Panel, y_label: str) -> None:
    width = 0.8 / len(panel.bars)
    for number, bars in enumerate(panel.bars):
        left = np.arange(len(panel.classes)) - 0.4 + number * width
        heights = [0.0 if value is None else value for value in bars.values]
        axes.bar(
            left, heights, width, align="edge", color=PALETTE[number % len(PALETTE)], edgecolor="white",
            hatch=_HATCHES[number % len(_HATCHES)], label=plain_text(bars.name, 40),
        )  # fmt: skip
        for place, value, low, high in zip(left + width / 2, heights, bars.low, bars.high, strict=True):
            if low is not None and high is not None:
                # A percentile interval need not hold its figure.
                ends = [[max(value - low, 0.0)], [max(high - value, 0.0)]]
                axes.errorbar([place], [value], ends, color="0.15", capsize=2.5, linewidth=1.1)
    names = [plain_text(name, 20).replace(" to below ", " to\nbelow ") for name in panel.classes]
    labels = [f"{name}\n({count:,})" for name, count in zip(names, panel.counts, strict=True)]
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.set(title=panel.title, ylabel=y_label, ylim=(0.0, 1.02), xlim=(-0.6, max(len(labels), 1) - 0.4))
    if len(panel.bars) > 1:
        axes.legend(loc="best")
