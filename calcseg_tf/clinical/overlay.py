"""Draws overlay.png: the mammogram under its heat map, with every cluster enlarged (the paper's Fig. 1, 4)."""

import dataclasses
import math
import pathlib
from typing import Any

import numpy as np

from calcseg_tf.clinical.statistics import ImageStatistics
from calcseg_tf.clinical.windows import MOST_WINDOWS, Window, choose_windows
from calcseg_tf.drawing import draw_outline, draw_scale_bar, figure_bytes, halo, plain_text, reduce_blocks
from calcseg_tf.heat_map import heat_colours
from calcseg_tf.probability_map import FULL_SCALE, threshold_code
from data_prep.command import DISCLAIMER
from data_prep.mammogram import SpacingSource

__all__ = ["write_overlay"]

_DPI = 170
_MAX_PANEL_IN = (8.4, 8.0)  # (height, width) of the mammogram
_MIN_CONTENT_IN = 6.0
_GAP_IN = 0.14
_COLUMN_GAP_IN = 0.3
_ZOOM = 9.0  # as in the paper's Fig. 4
_ROWS = 3  # of windows; more go into further columns
_MIN_CROP_PX = 12


@dataclasses.dataclass(frozen=True)
class _Layout:
    """Sizes in inches, and of a window in pixels."""

    panel: tuple[float, float]  # (height, width) of the mammogram
    content: float  # height
    cell: float  # side of a zoom
    crop: tuple[int, int]  # (height, width)
    zoom: float  # against the mammogram

    @staticmethod
    def of(shape: tuple[int, int], spacing: tuple[float, float]) -> "_Layout":
        height, width = shape[0] * spacing[0], shape[1] * spacing[1]
        scale = min(_MAX_PANEL_IN[0] / height, _MAX_PANEL_IN[1] / width)
        panel = (height * scale, width * scale)
        content = max(panel[0], _MIN_CONTENT_IN)
        cell = (content - (_ROWS - 1) * _GAP_IN) / _ROWS
        side = max(cell / (_ZOOM * scale), _MIN_CROP_PX * min(spacing))
        crop = (min(shape[0], max(1, round(side / spacing[0]))), min(shape[1], max(1, round(side / spacing[1]))))
        shown = max(crop[0] * spacing[0], crop[1] * spacing[1])
        return _Layout(panel, content, cell, crop, cell / shown / scale)


def write_overlay(
    path: pathlib.Path, intensity: np.ndarray, codes: np.ndarray, statistics: ImageStatistics, title: str
) -> None:
    """Draws and saves the picture.

    Left the whole mammogram under the heat map, enlarged where needed so that no speck is lost, and the hull of each
    cluster; right the windows of `choose_windows` at nine times that size, each without and with heat map and outline.
    Physically square, where the spacing says how.

    Args:
        path: The PNG to write.
        intensity: float [height, width] in [0, 1].
        codes: uint16 [height, width], the probability map.
        statistics: Measured on the same map.
        title: Shown above.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    spacing = statistics.pixel_spacing_mm or (1.0, 1.0)
    shape = (intensity.shape[0], intensity.shape[1])
    layout = _Layout.of(shape, spacing)
    windows = choose_windows(statistics, shape, layout.crop)
    columns = max(1, math.ceil(len(windows) / _ROWS))
    size = (_width_in(layout, columns), layout.content + 1.25)
    figure = Figure(figsize=size, facecolor="white")
    FigureCanvasAgg(figure)
    _Picture(figure, size, layout, statistics).draw(intensity, codes, windows, title)
    path.write_bytes(figure_bytes(figure, "png", _DPI))


def _width_in(layout: _Layout, columns: int) -> float:
    return 0.25 + layout.panel[1] + 0.3 + columns * _pair_in(layout) - _COLUMN_GAP_IN + 1.15


def _pair_in(layout: _Layout) -> float:
    """Returns the width of a column of windows, each twice, and of the gap after it."""
    return 2 * layout.cell + _GAP_IN + _COLUMN_GAP_IN


class _Picture:
    """Places the parts on a figure; all positions in inches from the lower left corner."""

    def __init__(self, figure: Any, size: tuple[float, float], layout: _Layout, statistics: ImageStatistics) -> None:
        self._figure = figure
        self._size = size
        self._layout = layout
        self._statistics = statistics
        self._spacing = statistics.pixel_spacing_mm
        self._bottom = 0.45
        self._right_column = 0.25 + layout.panel[1] + 0.3

    def draw(self, intensity: np.ndarray, codes: np.ndarray, windows: list[Window], title: str) -> None:
        self._text(title)
        self._mammogram(intensity, codes, windows)
        for place, window in enumerate(windows):
            self._zoom(place, window, intensity, codes)
        if not windows:
            self._nothing(codes)
        self._colour_bar()

    def _axes(self, left: float, bottom: float, width: float, height: float) -> Any:
        wide, high = self._size
        axes = self._figure.add_axes((left / wide, bottom / high, width / wide, height / high))
        axes.set_xticks([])
        axes.set_yticks([])
        return axes

    def _aspect(self) -> float:
        return self._spacing[0] / self._spacing[1] if self._spacing else 1.0

    def _text(self, title: str) -> None:
        wide, high = self._size
        self._figure.text(0.25 / wide, 1 - 0.3 / high, plain_text(title, 80), fontsize=12, weight="bold", va="center")
        self._figure.text(0.25 / wide, 1 - 0.55 / high, _describe(self._statistics), fontsize=9.5, va="center")
        hulls = "   Dashed: hulls of the clusters." if self._statistics.clusters else ""
        footer = f"{DISCLAIMER}   {_describe_spacing(self._statistics)}{hulls}"
        self._figure.text(0.25 / wide, 0.2 / high, footer, fontsize=8, color="0.3", va="center")

    def _mammogram(self, intensity: np.ndarray, codes: np.ndarray, windows: list[Window]) -> None:
        height, width = self._layout.panel
        bottom = self._bottom + self._layout.content - height
        axes = self._axes(0.25, bottom, width, height)
        step = max(1, int(min(intensity.shape[0] / (height * _DPI), intensity.shape[1] / (width * _DPI))))
        grey = reduce_blocks(intensity, step, np.mean)
        probability = _widen(reduce_blocks(codes, step, np.max)) if step > 1 else codes
        extent = (-0.5, intensity.shape[1] - 0.5, intensity.shape[0] - 0.5, -0.5)
        low, high = np.percentile(grey, (1.0, 99.8))
        _show(axes, grey, (low, high), extent, self._aspect())
        axes.imshow(heat_colours(probability), extent=extent, aspect=self._aspect(), interpolation="nearest")
        self._hulls(axes)
        for window in windows:
            self._mark(axes, window)
        self._scale_bar(axes, intensity.shape[1], 0.25)

    def _hulls(self, axes: Any) -> None:
        from matplotlib.patches import Polygon

        limits = axes.get_xlim(), axes.get_ylim()
        for cluster in self._statistics.clusters or ():
            corners = [(column, row) for row, column in cluster.hull]
            outline = Polygon(corners, fill=False, edgecolor="white", linestyle=(0, (3, 2)), linewidth=0.9)
            outline.set_path_effects(halo(1.8))
            axes.add_patch(outline)
        axes.set(xlim=limits[0], ylim=limits[1])

    def _mark(self, axes: Any, window: Window) -> None:
        from matplotlib.patches import Rectangle

        box = window.box
        corner = (box.left - 0.5, box.top - 0.5)
        frame = Rectangle(corner, box.right - box.left, box.bottom - box.top, fill=False, edgecolor="white")
        frame.set(linewidth=1.3, path_effects=halo(2.8))
        axes.add_patch(frame)
        # Above the frame, or below it where the image ends above.
        above = box.top > 0.05 * axes.get_ylim()[0]
        axes.annotate(
            window.label, (box.left, box.top if above else box.bottom), xytext=(0, 3 if above else -3),
            textcoords="offset points", va="bottom" if above else "top", color="white", fontsize=10, weight="bold",
            path_effects=halo(2.0), annotation_clip=True,
        )  # fmt: skip

    def _zoom(self, place: int, window: Window, intensity: np.ndarray, codes: np.ndarray) -> None:
        cell, box = self._layout.cell, window.box
        column, row = divmod(place, _ROWS)
        left = self._right_column + column * _pair_in(self._layout)
        bottom = self._bottom + self._layout.content - cell - row * (cell + _GAP_IN)
        crop, probability = box.of(intensity), box.of(codes)
        shades = tuple(np.percentile(crop, (0.5, 99.8)))
        for with_heat in (False, True):
            axes = self._axes(left + with_heat * (cell + _GAP_IN), bottom, cell, cell)
            _show(axes, crop, shades, box.extent, self._aspect())
            if with_heat:
                axes.imshow(
                    heat_colours(probability), extent=box.extent, aspect=self._aspect(), interpolation="nearest"
                )
                found = probability >= threshold_code(self._statistics.threshold)
                draw_outline(axes, found, box, "white", 0.7)
                self._hulls(axes)
            else:
                self._label(axes, window)
                self._scale_bar(axes, box.right - box.left, 0.35)
            if row == 0:
                axes.set_title(_zoom_title(self._layout, self._statistics, with_heat), size=9)

    def _label(self, axes: Any, window: Window) -> None:
        after = 4 + 9 * len(window.label)  # points
        for text, right, size, weight in ((window.label, 0, 11, "bold"), (window.caption, after, 8, "normal")):
            axes.annotate(
                text, (0.03, 0.965), xycoords="axes fraction", xytext=(right, 0), textcoords="offset points",
                color="white", fontsize=size, weight=weight, va="top", path_effects=halo(2.0),
            )  # fmt: skip

    def _scale_bar(self, axes: Any, width_px: int, share: float) -> None:
        if self._spacing is not None:
            draw_scale_bar(axes, width_px, share, self._spacing[1])

    def _nothing(self, codes: np.ndarray) -> None:
        width = 2 * self._layout.cell + _GAP_IN
        axes = self._axes(self._right_column, self._bottom, width, self._layout.content)
        axes.set_facecolor("0.96")
        message = (
            f"no pixel with p >= {self._statistics.threshold:.3g}\n"
            f"highest probability in the image: {int(codes.max()) / FULL_SCALE:.3g}"
        )
        axes.text(0.5, 0.5, message, ha="center", va="center", fontsize=11, color="0.25", transform=axes.transAxes)

    def _colour_bar(self) -> None:
        left = self._size[0] - 0.85
        height = min(4.0, self._layout.content)
        bottom = self._bottom + (self._layout.content - height) / 2
        axes = self._axes(left, bottom, 0.18, height)
        axes.set_facecolor("0.35")
        heat = heat_colours((np.linspace(0, 1, 512) * FULL_SCALE).astype(np.uint16)[:, None])
        axes.imshow(heat, extent=(0, 1, 0, 1), origin="lower", aspect="auto")
        axes.yaxis.tick_right()
        axes.yaxis.set_label_position("right")
        axes.set_yticks(np.linspace(0, 1, 6))
        axes.tick_params(labelsize=8)
        axes.set_ylabel("calcification probability", fontsize=9)
        axes.axhline(self._statistics.threshold, color="black", linewidth=1.6)


def _show(axes: Any, grey: np.ndarray, window: tuple[float, ...], extent: tuple[float, ...], aspect: float) -> None:
    low, high = window
    low, high = (low, high) if high > low else (0.0, 1.0)
    axes.imshow(grey, cmap="gray", vmin=low, vmax=high, extent=extent, aspect=aspect, interpolation="nearest")


def _widen(codes: np.ndarray) -> np.ndarray:
    """Takes the maximum over 3 x 3: one dot of a printed page is too small to see."""
    from scipy import ndimage

    return np.asarray(ndimage.maximum_filter(codes, 3))


def _zoom_title(layout: _Layout, statistics: ImageStatistics, with_heat: bool) -> str:
    if with_heat:
        return f"probability; outline p >= {statistics.threshold:.3g}"
    return f"×{layout.zoom:.0f}" if layout.zoom >= 1.5 else f"×{layout.zoom:.2g}"  # small images are not enlarged


def _describe(statistics: ImageStatistics) -> str:
    plural = "" if statistics.count == 1 else "s"
    parts = [f"{statistics.count} calcification{plural} at p >= {statistics.threshold:.3g}"]
    for mean, std, unit in (
        (statistics.mean_area_mm2, statistics.std_area_mm2, "mm²"),
        (statistics.mean_area_px, statistics.std_area_px, "px"),
    ):
        if mean is not None:
            spread = f" (SD {std:.3g})" if std is not None else ""
            parts.append(f"mean area {mean:.3g} {unit}{spread}")
            break
    if statistics.clusters is not None:
        clusters = len(statistics.clusters)
        shown = f", the {MOST_WINDOWS} largest enlarged" if clusters > MOST_WINDOWS else ""
        parts.append(f"{clusters} cluster{'' if clusters == 1 else 's'}{shown}")
    return "; ".join(parts)


def _describe_spacing(statistics: ImageStatistics) -> str:
    if statistics.pixel_spacing_mm is None or statistics.spacing_source is SpacingSource.UNKNOWN:
        return "Pixel spacing unknown: no scale."
    row, column = statistics.pixel_spacing_mm
    return f"Pixel spacing {row:.4g} x {column:.4g} mm, from {statistics.spacing_source.value}."
