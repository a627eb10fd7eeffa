"""Pictures of a description: the paper's Fig. 3, and one page with the rest."""

import contextlib
import io
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np

from data_prep.command import DISCLAIMER
from data_prep.description.figures import SIZE_BIN_PX, TRUNCATED_PX, Description, Figures, size_histogram
from data_prep.description.report import Findings, table_1
from data_prep.printable import printable

__all__ = ["overview_png", "sizes_png"]

_STYLE = {
    "font.size": 10.0,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11.0,
    "legend.frameon": False,
}
_COLOURS = {"train": "#1f5fa8", "test": "#e08a1e"}
_INTENSITY_BINS = 128


def sizes_png(description: Description) -> bytes:
    """Draws Fig. 3: the truncated histogram of the sizes of calcifications in both splits."""
    with _png((7.2, 4.2)) as (figure, image):
        axes = figure.add_subplot()
        _sizes(axes, description)
        axes.set_title(f"Sizes of calcifications, data set {_name(description)}")
    return image.getvalue()


def overview_png(description: Description, found: Findings) -> bytes:
    """Draws one page: Table 1, sizes, calcifications per image, views, intensities, and the warnings."""
    with _png((11.0, 8.5)) as (figure, image):
        top, middle, bottom = figure.subfigures(3, 1, height_ratios=(1.5, 3.2, 3.2))
        _table(top.add_subplot(), description, found)
        _sizes(middle.add_subplot(1, 2, 1), description)
        _per_image(middle.add_subplot(1, 2, 2), description)
        _intensities(bottom.add_subplot(1, 2, 1), description)
        _views(bottom.add_subplot(1, 2, 2), description)
    return image.getvalue()


@contextlib.contextmanager
def _png(inches: tuple[float, float]) -> Iterator[tuple[Any, io.BytesIO]]:
    """Gives a figure and what will hold it as PNG, without a display and without matplotlib's global state."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    image = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=inches, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
        FigureCanvasAgg(figure)
        yield figure, image
        figure.supxlabel(DISCLAIMER, fontsize=7, color="0.4")
        figure.savefig(image, format="png", dpi=150, metadata={"Software": None, "Description": DISCLAIMER})


def _name(description: Description) -> str:
    return printable(description.manifest.data_set).replace("$", r"\$")  # else matplotlib reads a formula


def _table(axes: Any, description: Description, found: Findings) -> None:
    axes.axis("off")
    manifest = description.manifest
    axes.set_title(f"Data set {_name(description)}, split by {manifest.split_by}", loc="left", fontweight="bold")
    header, *rows = table_1(description)
    table = axes.table(
        rows, colLabels=header, loc="upper left", cellLoc="left", colLoc="left", edges="horizontal",
        bbox=(0.0, 0.3, 1.0, 0.7), colWidths=(0.1, 0.08, 0.2, 0.06, 0.06, 0.1, 0.4),
    )  # fmt: skip
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    lines = [*(f"Warning: {warning}." for warning in found.warnings), found.comparison]
    if len(lines) > 4:
        lines = [*lines[:3], f"... and {len(lines) - 3} more: see describe.csv"]
    text = "\n".join(textwrap.shorten(line, 160) for line in lines)
    axes.text(0.0, 0.2, text, transform=axes.transAxes, va="top", fontsize=9,
              color="#a8261f" if found.warnings else "0.2")  # fmt: skip


def _sizes(axes: Any, description: Description) -> None:
    bins = TRUNCATED_PX // SIZE_BIN_PX + 1
    for side, figures in enumerate(description.splits):
        histogram = size_histogram(figures.areas_px)
        share = 100.0 * histogram / max(histogram.sum(), 1)
        left = np.arange(bins) + 0.08 + 0.42 * side
        axes.bar(left, share, 0.42, align="edge", color=_COLOURS[figures.name], label=_label(figures))
    starts = range(0, TRUNCATED_PX, 20)
    # The last bar has no end: its label stands under its middle.
    ticks = {**{start / SIZE_BIN_PX: str(start) for start in starts}, bins - 0.5: f"≥{TRUNCATED_PX}"}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set(xlabel="size in pixels", ylabel="% of the split's calcifications", xlim=(0, bins + 0.3))
    axes.legend()


def _per_image(axes: Any, description: Description) -> None:
    counts = {figures.name: [len(image.areas_px) for image in figures.images] for figures in description.splits}
    most = max((count for values in counts.values() for count in values), default=0)
    width = max(1, -(-(most + 1) // 20))
    edges = np.arange(0, most + width + 1, width)
    for side, (name, values) in enumerate(counts.items()):
        histogram = np.histogram(values, edges)[0]
        axes.bar(edges[:-1] + width * (0.08 + 0.42 * side), histogram, 0.42 * width, align="edge", color=_COLOURS[name])
    starts = edges[:-1] if len(edges) < 12 else edges[:-1:3]
    axes.set_xticks(
        starts + width / 2, [str(start) if width == 1 else f"{start}–{start + width - 1}" for start in starts]
    )
    axes.set(xlabel="calcifications per image", ylabel="images", xlim=(0, edges[-1]))
    axes.yaxis.get_major_locator().set_params(integer=True)


def _intensities(axes: Any, description: Description) -> None:
    centres = (np.arange(_INTENSITY_BINS) + 0.5) / _INTENSITY_BINS
    for figures in description.splits:
        histogram = figures.tissue.histogram(_INTENSITY_BINS)
        share = 100.0 * histogram / max(histogram.sum(), 1)
        axes.plot(centres, share, color=_COLOURS[figures.name], label=figures.name)
    axes.set(xlabel="intensity (stored value / full scale) in the breast", ylabel="% of the breast's pixels")
    axes.set(xlim=(0, 1), ylim=(0, None))
    axes.legend()


def _views(axes: Any, description: Description) -> None:
    names = list(description.together.tally(lambda image: image.view or "unknown"))
    for side, figures in enumerate(description.splits):
        tally = figures.tally(lambda image: image.view or "unknown")
        left = np.arange(len(names)) + 0.08 + 0.42 * side
        bars = axes.bar(left, [tally.get(name, 0) for name in names], 0.42, align="edge", color=_COLOURS[figures.name])
        axes.bar_label(bars, fontsize=8)
    axes.set_xticks(np.arange(len(names)) + 0.5, names)
    axes.set(xlabel="view", ylabel="images", xlim=(0, max(len(names), 1)))
    axes.margins(y=0.15)
    axes.yaxis.get_major_locator().set_params(integer=True)


def _label(figures: Figures) -> str:
    return f"{figures.name}: {len(figures.areas_px):,} calcifications, {len(figures.images):,} images"
