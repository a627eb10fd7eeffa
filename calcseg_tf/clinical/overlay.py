"""Draws overlay.png: the mammogram under its heat map, with the strongest finds enlarged (the paper's Fig. 1, 4)."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from calcseg_tf.clinical.statistics import ImageStatistics
from calcseg_tf.drawing import Box, draw_outline, draw_scale_bar, halo, plain_text, reduce_blocks
from calcseg_tf.heat_map import heat_colours
from calcseg_tf.probability_map import FULL_SCALE, threshold_code
from data_prep.command import DISCLAIMER
from data_prep.mammogram import SpacingSource

__all__ = ["choose_boxes", "write_overlay"]

_DPI = 170
_MAX_PANEL_IN = (8.4, 8.0)  # (height, width) of the mammogram
_MIN_CONTENT_IN = 6.0
_GAP_IN = 0.14
_ZOOM = 9.0  # as in the paper's Fig. 4
_ZOOMS = 3
_MIN_CROP_PX = 12

# More finds than these are ranked by probability before the densest windows are sought: windows are compared by pairs.
_MAX_RANKED = 1500


def choose_boxes(statistics: ImageStatistics, shape: tuple[int, int], size: tuple[int, int]) -> list[Box]:
    """Chooses at most three windows that do not overlap, each the one with the highest sum of probabilities left.

    Args:
        statistics: Of the image.
        shape: (height, width) of the image.
        size: (height, width) of a window; at most the image's.
    """
    finds = sorted(statistics.calcifications, key=lambda find: (-find.max_probability, -find.area_px, find.id))
    finds = finds[:_MAX_RANKED]
    if not finds:
        return []
    centres = np.array([(find.row, find.column) for find in finds])
    strength = np.array([find.max_probability for find in finds])
    inside = (np.abs(centres[:, None] - centres[None]) <= np.array(size) / 2).all(axis=2)
    boxes: list[Box] = []
    for index in np.argsort(-(inside @ strength), kind="stable"):
        top = int(np.clip(round(centres[index, 0] - size[0] / 2), 0, shape[0] - size[0]))
        left = int(np.clip(round(centres[index, 1] - size[1] / 2), 0, shape[1] - size[1]))
        box = Box(top, left, top + size[0], left + size[1])
        if not any(box.overlaps(other) for other in boxes):
            boxes.append(box)
        if len(boxes) == _ZOOMS:
            break
    return boxes


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
        cell = (content - (_ZOOMS - 1) * _GAP_IN) / _ZOOMS
        side = max(cell / (_ZOOM * scale), _MIN_CROP_PX * min(spacing))
        crop = (min(shape[0], max(1, round(side / spacing[0]))), min(shape[1], max(1, round(side / spacing[1]))))
        shown = max(crop[0] * spacing[0], crop[1] * spacing[1])
        return _Layout(panel, content, cell, crop, cell / shown / scale)


def write_overlay(
    path: pathlib.Path, intensity: np.ndarray, codes: np.ndarray, statistics: ImageStatistics, title: str
) -> None:
    """Draws and saves the picture.

    Left the whole mammogram under the heat map, enlarged where needed so that no speck is lost; right up to three
    enlarged windows, each without and with heat map and outline. Physically square, where the spacing says how.

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
    boxes = choose_boxes(statistics, shape, layout.crop)
    size = (_width_in(layout), layout.content + 1.25)
    figure = Figure(figsize=size, facecolor="white")
    FigureCanvasAgg(figure)
    _Picture(figure, size, layout, statistics).draw(intensity, codes, boxes, title)
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})


def _width_in(layout: _Layout) -> float:
    return 0.25 + layout.panel[1] + 0.3 + 2 * layout.cell + _GAP_IN + 1.15


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

    def draw(self, intensity: np.ndarray, codes: np.ndarray, boxes: list[Box], title: str) -> None:
        self._text(title)
        self._mammogram(intensity, codes, boxes)
        for number, box in enumerate(boxes):
            self._zoom(number, box, intensity, codes)
        if not boxes:
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
        footer = f"{DISCLAIMER}   {_describe_spacing(self._statistics)}"
        self._figure.text(0.25 / wide, 0.2 / high, footer, fontsize=8, color="0.3", va="center")

    def _mammogram(self, intensity: np.ndarray, codes: np.ndarray, boxes: list[Box]) -> None:
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
        for number, box in enumerate(boxes):
            self._mark(axes, number, box)
        self._scale_bar(axes, intensity.shape[1], 0.25)

    def _mark(self, axes: Any, number: int, box: Box) -> None:
        from matplotlib.patches import Rectangle

        corner = (box.left - 0.5, box.top - 0.5)
        frame = Rectangle(corner, box.right - box.left, box.bottom - box.top, fill=False, edgecolor="white")
        frame.set(linewidth=1.3, path_effects=halo(2.8))
        axes.add_patch(frame)
        # Above the frame, or below it where the image ends above.
        above = box.top > 0.05 * axes.get_ylim()[0]
        axes.annotate(
            str(number + 1), (box.left, box.top if above else box.bottom), xytext=(0, 3 if above else -3),
            textcoords="offset points", va="bottom" if above else "top", color="white", fontsize=10, weight="bold",
            path_effects=halo(2.0), annotation_clip=True,
        )  # fmt: skip

    def _zoom(self, number: int, box: Box, intensity: np.ndarray, codes: np.ndarray) -> None:
        cell = self._layout.cell
        bottom = self._bottom + self._layout.content - cell - number * (cell + _GAP_IN)
        crop, probability = box.of(intensity), box.of(codes)
        window = tuple(np.percentile(crop, (0.5, 99.8)))
        extent = box.extent
        for column, with_heat in enumerate((False, True)):
            axes = self._axes(self._right_column + column * (cell + _GAP_IN), bottom, cell, cell)
            _show(axes, crop, window, extent, self._aspect())
            if with_heat:
                axes.imshow(heat_colours(probability), extent=extent, aspect=self._aspect(), interpolation="nearest")
                found = probability >= threshold_code(self._statistics.threshold)
                draw_outline(axes, found, box, "white", 0.7)
            else:
                axes.text(
                    0.03, 0.97, str(number + 1), transform=axes.transAxes, color="white", fontsize=11, weight="bold",
                    va="top", path_effects=halo(2.0),
                )  # fmt: skip
                self._scale_bar(axes, box.right - box.left, 0.35)
            if number == 0:
                axes.set_title(_zoom_title(self._layout, self._statistics, with_heat), size=9)

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
        left = self._right_column + 2 * self._layout.cell + _GAP_IN + 0.3
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
        parts.append(f"{len(statistics.clusters)} cluster{'' if len(statistics.clusters) == 1 else 's'}")
    return "; ".join(parts)


def _describe_spacing(statistics: ImageStatistics) -> str:
    if statistics.pixel_spacing_mm is None or statistics.spacing_source is SpacingSource.UNKNOWN:
        return "Pixel spacing unknown: no scale."
    row, column = statistics.pixel_spacing_mm
    return f"Pixel spacing {row:.4g} x {column:.4g} mm, from {statistics.spacing_source.value}."
