"""Draws comparison.png: both regions in the current exam's frame, and what became of each calcification."""

import pathlib
from typing import Any

import numpy as np

from calcseg_tf.clinical.follow_up import Change, FollowUp, Status
from calcseg_tf.clinical.follow_up_exams import Exam
from calcseg_tf.clinical.follow_up_marks import MARKS
from calcseg_tf.drawing import Box, draw_scale_bar, halo
from data_prep.command import DISCLAIMER

__all__ = ["describe_alignment", "table_lines", "write_comparison_figure"]

_DPI = 160
_PANEL_IN = 6.0
_PANEL_PX = 900  # what a panel shows at most
_MARGIN = 0.08  # of the region's sides
_MOST_NUMBERED = 60


def write_comparison_figure(path: pathlib.Path, follow_up: FollowUp) -> None:
    """Draws and saves the picture.

    Left the prior exam, moved into the frame of the current one where they are aligned, right the current exam, at one
    scale; the regions outlined, matched calcifications joined, all marked by status. The table stands below.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2 * _PANEL_IN + 0.9, _PANEL_IN + 2.7), facecolor="white")
    FigureCanvasAgg(figure)
    wide, high = figure.get_size_inches()
    panels = [
        figure.add_axes((left / wide, 2.0 / high, _PANEL_IN / wide, _PANEL_IN / high))
        for left in (0.3, 0.6 + _PANEL_IN)
    ]
    aligned = follow_up.transform is not None
    if aligned:
        region = np.array(follow_up.prior.region.region.corners)
        box = _box(follow_up.current, follow_up.prior_in_current(region))
        _show_moved(panels[0], follow_up, box)
        _show(panels[1], follow_up.current, box)
        _outline(panels[0], follow_up.prior_in_current(region))
    else:
        for axes, exam in zip(panels, (follow_up.prior, follow_up.current), strict=True):
            _show(axes, exam, _box(exam))
        _outline(panels[0], np.array(follow_up.prior.region.region.corners))
    _outline(panels[1], np.array(follow_up.current.region.region.corners))
    panels[0].set_title("prior exam" + (", moved onto the current one" if aligned else ""), fontsize=11)
    panels[1].set_title("current exam", fontsize=11)
    if follow_up.changes is not None:
        _mark(figure, panels, follow_up)
    figure.text(0.3 / wide, 1 - 0.25 / high, "Follow-up of a region", fontsize=13, weight="bold", va="center")
    lines = "\n".join(table_lines(follow_up))
    figure.text(0.3 / wide, 1.55 / high, lines, fontsize=9.5, family="monospace", va="top")
    figure.text((0.6 + _PANEL_IN) / wide, 1.55 / high, "\n".join(_legend(follow_up)), fontsize=9, va="top")
    figure.text(0.3 / wide, 0.15 / high, DISCLAIMER, fontsize=8, color="0.3", va="center")
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})


def table_lines(follow_up: FollowUp) -> list[str]:
    """Returns the table of the paper's Fig. 7 with differences, a line each; areas in mm2, or in px without spacing."""
    unit = "mm2" if follow_up.unit == "mm" else "px"
    names = {
        "count": "calcifications",
        f"mean_area_{unit}": f"mean area, {unit}",
        f"std_area_{unit}": f"STD of area, {unit}",
    }
    lines = [f"{'':<18}{'prior':>9}{'current':>9}{'difference':>12}"]
    for each in follow_up.table:
        if each.name in names:
            form = "d" if each.name == "count" else ".4f" if unit == "mm2" else ".2f"  # as many digits as on the pages
            cells = [
                "-" if value is None else format(value, sign + form)
                for value, sign in ((each.prior, ""), (each.current, ""), (each.difference, "+"))
            ]
            lines.append(f"{names[each.name]:<18}{cells[0]:>9}{cells[1]:>9}{cells[2]:>12}")
    return lines


def describe_alignment(follow_up: FollowUp) -> str:
    """Returns in words how the exams were brought together, or why not."""
    found, unit = follow_up.transform, follow_up.unit
    if found is None:
        return f"Not aligned: {follow_up.reason}."
    note = f" {follow_up.reason[0].upper()}{follow_up.reason[1:]}." if follow_up.reason else ""
    return (
        f"Aligned ({found.motion}): rotation {found.rotation_deg:+z.1f} degrees, scale {found.scale:.3f}, "
        f"residual {follow_up.residual:.2f} {unit}.{note}"
    )


def _legend(follow_up: FollowUp) -> list[str]:
    import textwrap

    return textwrap.wrap(describe_alignment(follow_up), 88)


def _box(exam: Exam, others: np.ndarray | None = None) -> Box:
    """Returns the window of a region, and of further points (row, column) in px, with a margin."""
    points = np.array(exam.region.region.corners)
    if others is not None:
        points = np.concatenate([points, others])
    margin = np.maximum(4.0, _MARGIN * np.ptp(points, axis=0))
    # A region may reach far beyond the image, where there is nothing to see.
    limit = 0.5 * np.array(exam.intensity.shape)
    low = np.floor(np.clip(points.min(axis=0) - margin, -limit, None)).astype(int)
    high = np.ceil(np.clip(points.max(axis=0) + margin, None, 3 * limit)).astype(int) + 1
    return Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))


def _grid(box: Box) -> tuple[np.ndarray, np.ndarray]:
    step = max(1.0, max(box.bottom - box.top, box.right - box.left) / _PANEL_PX)
    rows, columns = np.arange(box.top, box.bottom, step), np.arange(box.left, box.right, step)
    found = np.meshgrid(rows, columns, indexing="ij")
    return found[0], found[1]


def _show(axes: Any, exam: Exam, box: Box) -> None:
    rows, columns = _grid(box)
    _draw(axes, _sampled(exam.intensity, rows, columns), exam, box)


def _show_moved(axes: Any, follow_up: FollowUp, box: Box) -> None:
    rows, columns = _grid(box)
    places = follow_up.current_in_prior(np.stack([rows.ravel(), columns.ravel()], axis=1))
    shown = _sampled(follow_up.prior.intensity, *(each.reshape(rows.shape) for each in places.T))
    _draw(axes, shown, follow_up.current, box)


def _sampled(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return np.asarray(ndimage.map_coordinates(image, [rows, columns], order=1, mode="constant", cval=np.nan))


def _draw(axes: Any, grey: np.ndarray, frame: Exam, box: Box) -> None:
    known = grey[np.isfinite(grey)]
    low, high = np.percentile(known, (1.0, 99.8)) if known.size else (0.0, 1.0)
    spacing = frame.image.pixel_spacing_mm
    axes.set_facecolor("0.15")
    axes.imshow(
        grey, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), extent=box.extent, interpolation="nearest",
        aspect=spacing[0] / spacing[1] if spacing else 1.0,
    )  # fmt: skip
    axes.set(xticks=[], yticks=[], xlim=box.extent[:2], ylim=box.extent[2:])
    draw_scale_bar(axes, box.right - box.left, 0.3, spacing[1] if spacing else None)


def _outline(axes: Any, corners: np.ndarray) -> None:
    from matplotlib.patches import Polygon

    limits = axes.get_xlim(), axes.get_ylim()
    outline = Polygon(corners[:, ::-1], fill=False, edgecolor="white", linestyle=(0, (4, 2)), linewidth=1.0)
    outline.set_path_effects(halo(2.0))
    axes.add_patch(outline)
    axes.set(xlim=limits[0], ylim=limits[1])


def _mark(figure: Any, panels: list[Any], follow_up: FollowUp) -> None:
    from matplotlib.patches import ConnectionPatch

    changes = follow_up.changes or ()
    numbered = len(changes) <= _MOST_NUMBERED
    places: dict[Status, list[list[tuple[float, float]]]] = {status: [[], []] for status in Status}
    for change in changes:
        ends: list[tuple[float, float] | None] = [None, None]
        if change.prior is not None:
            moved = follow_up.prior_in_current(np.array([[change.prior.row, change.prior.column]]))[0]
            ends[0] = (float(moved[1]), float(moved[0]))
        if change.current is not None:
            ends[1] = (change.current.column, change.current.row)
        for side, end in enumerate(ends):
            if end is not None:
                places[change.status][side].append(end)
                if numbered:
                    _number(panels[side], end, change, side)
        if ends[0] is not None and ends[1] is not None:
            line = ConnectionPatch(
                ends[0], ends[1], "data", "data", axesA=panels[0], axesB=panels[1],
                color=MARKS[change.status].colour, linewidth=0.6, alpha=0.55,
            )  # fmt: skip
            figure.add_artist(line)
    handles = []
    counts = follow_up.counts() or {}
    for status, mark in MARKS.items():
        for side, axes in enumerate(panels):
            columns, rows = np.array(places[status][side]).reshape(-1, 2).T
            handle = axes.scatter(
                columns, rows, s=90, marker=mark.marker, facecolors="none", edgecolors=mark.colour, linewidths=1.5,
                path_effects=halo(2.6), label=f"{status}: {counts[status.value]}",
            )  # fmt: skip
        handles.append(handle)
    figure.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(0.985, 0.045), ncols=5, fontsize=9, facecolor="0.35",
        labelcolor="white", handletextpad=0.3, columnspacing=1.2,
    )  # fmt: skip


def _number(axes: Any, place: tuple[float, float], change: Change, side: int) -> None:
    found = change.current if side else change.prior
    assert found is not None
    axes.annotate(
        str(found.id), place, xytext=(6, 5), textcoords="offset points", fontsize=7, color="white",
        path_effects=halo(1.6), annotation_clip=True,
    )  # fmt: skip
