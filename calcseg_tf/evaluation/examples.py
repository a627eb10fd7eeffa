"""The paper's Figs 4 and 5: a mammogram, a window of it nine times enlarged, the annotation, and every model's map."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from calcseg_tf.drawing import Box, draw_outline, draw_scale_bar, figure_bytes, halo, plain_text, reduce_blocks
from calcseg_tf.evaluation.crops import ANNOTATION_COLOUR, breast_window
from calcseg_tf.heat_map import heat_colours
from calcseg_tf.probability_map import from_code
from data_prep.breast import breast_mask
from data_prep.command import DISCLAIMER
from data_prep.mask import CALCIFICATION, IGNORE
from data_prep.schema import Record

__all__ = ["Prediction", "differing_window", "draw_example"]

_ZOOM = 9.0  # the paper's Fig. 4
_LEAST_PX = 12
_CELL_IN, _GAP_IN, _HEAD_IN, _TOP_IN, _BOTTOM_IN = 2.7, 0.12, 0.3, 0.7, 0.35
_MOST_COLUMNS = 5
_DPI = 160
_FRAME_COLOUR = "#d55e00"
_IGNORED_COLOUR = "#bbbbbb"


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """What one model makes of a mammogram.

    Attributes:
        name: Of the model.
        codes: uint16 [height, width].
        threshold: Lowest code that it counts as calcification.
    """

    name: str
    codes: np.ndarray
    threshold: int

    @property
    def predicted(self) -> np.ndarray:
        """What it counts as calcification, bool [height, width]."""
        return self.codes >= self.threshold


def differing_window(
    mask: np.ndarray, predictions: Sequence[Prediction], breast: np.ndarray, spacing_mm: tuple[float, float] | None
) -> Box:
    """Chooses the window, a ninth of the mammogram wide, in which the models differ in the most pixels of the breast.

    One model is compared with the annotation. Where nothing differs, the window holds the most pixels in error, in the
    breast or else anywhere, or else the most calcification pixels. Ignored pixels do not count.

    Args:
        mask: uint8 [height, width].
        predictions: At least one.
        breast: bool [height, width]; film borders and labels make large differences that show nothing.
        spacing_mm: (row, column); makes the window physically square.
    """
    wrong = np.stack([(each.predicted != (mask == CALCIFICATION)) & (mask != IGNORE) for each in predictions])
    differing = wrong.any(axis=0) & ~wrong.all(axis=0)
    erring = wrong.any(axis=0)
    ranked = (differing & breast, erring & breast, erring, mask == CALCIFICATION)
    pixels = next((each for each in ranked if each.any()), ranked[-1])
    row_mm, column_mm = spacing_mm or (1.0, 1.0)
    side = max(mask.shape[0] * row_mm, mask.shape[1] * column_mm) / _ZOOM
    height = min(mask.shape[0], max(_LEAST_PX, round(side / row_mm)))
    width = min(mask.shape[1], max(_LEAST_PX, round(side / column_mm)))
    # Sums over every window at once, from sums over the corners' quadrants.
    sums = np.pad(pixels.cumsum(axis=0, dtype=np.int64).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    best = np.argwhere(inside == inside.max())
    # The middle of equals: the first of them has what it shows in its corner.
    top, left = (int(corner) for corner in best[len(best) // 2])
    return Box(top, left, top + height, left + width)


def draw_example(record: Record, predictions: Sequence[Prediction], title: str) -> tuple[bytes, bytes]:
    """Draws one mammogram.

    Args:
        record: The mammogram with its annotation.
        predictions: At least one; each gets a panel.
        title: Above all.

    Returns:
        The figure as PNG and as PDF; equal arguments give equal bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = 3 + len(predictions)
    columns, rows = min(panels, _MOST_COLUMNS), -(-panels // _MOST_COLUMNS)
    size = (columns * (_CELL_IN + _GAP_IN) + _GAP_IN, rows * (_CELL_IN + _HEAD_IN) - _HEAD_IN + _TOP_IN + _BOTTOM_IN)
    figure = Figure(figsize=size, facecolor="white")
    FigureCanvasAgg(figure)
    left, bottom = _GAP_IN / size[0], 0.13 / size[1]
    figure.text(left, 1 - 0.22 / size[1], plain_text(title, 28 * columns), fontsize=11, weight="bold", va="center")
    figure.text(left, bottom, f"{DISCLAIMER}   {_spacing(record)}", fontsize=7.5, color="0.3", va="center")
    axes = [
        figure.add_axes((
            (_GAP_IN + (number % columns) * (_CELL_IN + _GAP_IN)) / size[0],
            1 - (_TOP_IN + (number // columns) * (_CELL_IN + _HEAD_IN) + _CELL_IN) / size[1],
            _CELL_IN / size[0], _CELL_IN / size[1],
        ))
        for number in range(panels)
    ]  # fmt: skip
    _draw_panels(axes, record, predictions)
    return figure_bytes(figure, "png", _DPI), figure_bytes(figure, "pdf", _DPI)


def _draw_panels(axes: Sequence[Any], record: Record, predictions: Sequence[Prediction]) -> None:
    intensity, mask, spacing = record.intensity(), record.mask, record.pixel_spacing_mm
    box = differing_window(mask, predictions, breast_mask(intensity), spacing)
    view = _View(breast_window(intensity), spacing)
    whole = Box(0, 0, *mask.shape)
    view.show(axes[0], intensity, whole, f"(a) input{_side(record)}")
    _frame(axes[0], box)
    view.show(axes[1], intensity, box, f"(b) ×{_zoom(whole, box, spacing):.2g}")
    view.show(axes[2], intensity, box, "(c) annotation (light grey: ignored)")
    draw_outline(axes[2], box.of(mask) == IGNORE, box, _IGNORED_COLOUR, 0.8)
    draw_outline(axes[2], box.of(mask) == CALCIFICATION, box, ANNOTATION_COLOUR, 1.1)
    for number, (each, panel) in enumerate(zip(predictions, axes[3:], strict=True)):
        letter = chr(ord("d") + number) if number < 23 else "-"
        view.show(panel, intensity, box, plain_text(f"({letter}) {each.name}", 40))
        panel.imshow(heat_colours(box.of(each.codes)), extent=box.extent, aspect=view.aspect, interpolation="nearest")
        draw_outline(panel, box.of(each.codes) >= each.threshold, box, "white", 0.7)
        panel.text(0.97, 0.03, f"outline p ≥ {from_code(each.threshold):.3g}", transform=panel.transAxes, ha="right",
                   color="white", fontsize=8, path_effects=halo(2.0))  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _View:
    """How the pixels of one mammogram are shown, in every panel alike."""

    window: tuple[float, float]
    spacing_mm: tuple[float, float] | None

    @property
    def aspect(self) -> float:
        return self.spacing_mm[0] / self.spacing_mm[1] if self.spacing_mm else 1.0

    def show(self, axes: Any, intensity: np.ndarray, box: Box, title: str) -> None:
        low, high = self.window
        step = max(1, (box.bottom - box.top) // round(_CELL_IN * _DPI))
        grey = reduce_blocks(box.of(intensity), step, np.mean)
        axes.imshow(grey, cmap="gray", vmin=low, vmax=high, extent=box.extent, aspect=self.aspect,
                    interpolation="nearest")  # fmt: skip
        axes.set(xticks=[], yticks=[], facecolor="black")
        axes.set_title(title, fontsize=9.5, loc="left", pad=3)
        draw_scale_bar(axes, box.right - box.left, 0.3, self.spacing_mm[1] if self.spacing_mm else None)


def _frame(axes: Any, box: Box) -> None:
    from matplotlib.patches import Rectangle

    left, _, _, top = box.extent
    frame = Rectangle((left, top), box.right - box.left, box.bottom - box.top, fill=False, edgecolor=_FRAME_COLOUR)
    frame.set(linewidth=1.5, path_effects=halo(3.0))
    axes.add_patch(frame)


def _zoom(whole: Box, box: Box, spacing_mm: tuple[float, float] | None) -> float:
    row_mm, column_mm = spacing_mm or (1.0, 1.0)
    shown = [max((each.bottom - each.top) * row_mm, (each.right - each.left) * column_mm) for each in (whole, box)]
    return shown[0] / shown[1]


def _side(record: Record) -> str:
    known = " ".join(filter(None, (record.laterality, record.view)))
    return f", {known}" if known else ""


def _spacing(record: Record) -> str:
    if record.pixel_spacing_mm is None:
        return "Pixel spacing unknown: scale in px."
    row, column = record.pixel_spacing_mm
    return f"Pixel spacing {row:.4g} x {column:.4g} mm, from {record.pixel_spacing_source}."
