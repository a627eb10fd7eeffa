"""The chart: seconds and memory as bars, seconds a megapixel as lines."""

import io
from collections.abc import Sequence
from typing import Any

from benchmarks.inference.figures import BREAST, FLOAT32, MAMMOGRAM, OURS, Context, ScalePoint
from benchmarks.inference.measuring import Measured
from data_prep.command import DISCLAIMER

__all__ = ["draw_chart"]

_OURS, _OTHERS, _LESS_PRECISE = "#1f5fbf", "#8c8c8c", "#d08a2e"


def draw_chart(context: Context, rows: Sequence[Measured], scale: Sequence[ScalePoint]) -> bytes:
    """Draws every peer that finished a turn; returns a PNG."""
    from matplotlib.figure import Figure

    done = [row for row in rows if row.answers]
    kinds = list(dict.fromkeys(point.kind for point in scale))
    figure = Figure(figsize=(13, 4.5 + (4.5 if kinds else 0)), layout="constrained")
    axes = figure.subplots(2 if kinds else 1, 2, squeeze=False)
    _bars(axes[0, 0], done, [row.seconds(MAMMOGRAM) or 0.0 for row in done], "%.3g")
    marked = [(row.seconds(BREAST), place) for place, row in enumerate(done) if row.seconds(BREAST)]
    if marked:
        axes[0, 0].plot(*zip(*marked, strict=True), "|", color="black", markersize=16)
    sizes = {name: f"{name} of {context.megapixels[name]:.1f} megapixels" for name in (MAMMOGRAM, BREAST)}
    axes[0, 0].set(xlabel=f"seconds: bars {sizes[MAMMOGRAM]}, strokes {sizes[BREAST]}")
    _bars(axes[0, 1], done, [row.peak_bytes / 1e9 for row in done], "%.2f")
    axes[0, 1].set(xlabel="peak memory of the process, GB")
    axes[0, 1].set_yticklabels([])
    for each, kind in zip(axes[-1], kinds, strict=False):
        _lines(each, done, [point for point in scale if point.kind == kind])
    if kinds:
        figure.legend(*axes[-1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    about = f"{context.machine['processor']}, {context.machine['cores']} cores"
    colours = "blue: ours, grey: float32, orange: lower precision"
    figure.suptitle(f"{about}; {colours}. {DISCLAIMER}", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _bars(axes: Any, rows: Sequence[Measured], lengths: Sequence[float], form: str) -> None:
    bars = axes.barh(range(len(rows)), lengths, 0.65, color=[_colour(row) for row in rows])
    axes.bar_label(bars, fmt=form, padding=3)
    axes.set_yticks(range(len(rows)), [_name(row) for row in rows])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)


def _lines(axes: Any, rows: Sequence[Measured], points: Sequence[ScalePoint]) -> None:
    for row in rows:
        known = [(point.megapixels, point.per_megapixel(row.peer.key)) for point in points]
        known = [(megapixels, seconds) for megapixels, seconds in known if seconds is not None]
        if known:
            width = 2.5 if row.peer.key == OURS else 1.2
            axes.plot(*zip(*known, strict=True), "o-", linewidth=width, label=_name(row))
    axes.set(title=points[0].kind, xlabel="megapixels", ylabel="seconds a megapixel", xscale="log", ylim=(0, None))
    axes.set_xticks([point.megapixels for point in points], [f"{point.megapixels:.2g}" for point in points])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)


def _name(row: Measured) -> str:
    return row.peer.name.replace("`", "")


def _colour(row: Measured) -> str:
    if row.peer.environment == "ours" and row.peer.key != "plain":
        return _OURS
    return _OTHERS if row.about["precision"] == FLOAT32 else _LESS_PRECISE
