"""The parts that pictures share: a window of the image, outlines along pixel edges, a scale bar, safe text."""

import dataclasses
import io
import math
from typing import Any

import numpy as np

from data_prep.printable import printable
from data_prep.quiet import quiet

__all__ = ["Box", "draw_outline", "draw_scale_bar", "figure_bytes", "halo", "plain_text", "reduce_blocks"]


@dataclasses.dataclass(frozen=True)
class Box:
    """A window of the image; `bottom` and `right` are exclusive."""

    top: int
    left: int
    bottom: int
    right: int

    def overlaps(self, other: "Box") -> bool:
        """Tells whether the windows share a pixel."""
        return (
            self.top < other.bottom and other.top < self.bottom and self.left < other.right and other.left < self.right
        )

    def of(self, image: np.ndarray) -> np.ndarray:
        """Returns the window of an image, [height, width]; 0 where a window leaves the image, which it must touch."""
        inside = image[max(0, self.top) : self.bottom, max(0, self.left) : self.right]
        height, width = image.shape
        before = (max(0, -self.top), max(0, -self.left))
        after = (max(0, self.bottom - height), max(0, self.right - width))
        return np.pad(inside, list(zip(before, after, strict=True)))

    @staticmethod
    def around(centre: tuple[float, float], height: int, width: int) -> "Box":
        """Returns the window of a size with the pixel of (row, column) in its middle; it may leave the image."""
        top, left = math.floor(centre[0] + 0.5 - height / 2), math.floor(centre[1] + 0.5 - width / 2)
        return Box(top, left, top + height, left + width)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """The edges for matplotlib's `imshow`, in px of the image: (left, right, bottom, top)."""
        return (self.left - 0.5, self.right - 0.5, self.bottom - 0.5, self.top - 0.5)


def draw_outline(axes: Any, inside: np.ndarray, box: Box, colour: str, width: float) -> None:
    """Draws the border of a set of pixels, along the pixels' edges.

    Args:
        axes: Matplotlib's, in px of the image.
        inside: bool [height, width] of the window.
        box: The window.
        colour: Of the line.
        width: Of the line, in points.
    """
    from matplotlib.collections import LineCollection

    found = np.pad(inside, 1)
    left, _, _, top = box.extent
    segments = [
        [(left + column, top + row), (left + column + 1, top + row)]
        for row, column in np.argwhere(found[1:, 1:-1] != found[:-1, 1:-1])
    ]
    segments += [
        [(left + column, top + row), (left + column, top + row + 1)]
        for row, column in np.argwhere(found[1:-1, 1:] != found[1:-1, :-1])
    ]
    axes.add_collection(LineCollection(segments, colors=colour, linewidths=width), autolim=False)


def draw_scale_bar(axes: Any, width_px: int, share: float, column_spacing_mm: float | None) -> None:
    """Draws a bar of a round length in the lower left corner.

    Args:
        axes: Matplotlib's, in px of the image, whose limits are set.
        width_px: Columns that are shown.
        share: Of the width that the bar may take.
        column_spacing_mm: mm a column; None labels the bar in px.
    """
    unit, spacing = ("px", 1.0) if column_spacing_mm is None else ("mm", column_spacing_mm)
    length = _round_length(width_px * spacing * share)
    left, right = axes.get_xlim()
    start = left + 0.04 * (right - left)
    end = start + length / spacing
    low, high = axes.get_ylim()
    height = low + 0.035 * (high - low)
    axes.plot([start, end], [height, height], color="white", linewidth=2.5, path_effects=halo(4.5),
              solid_capstyle="butt")  # fmt: skip
    axes.annotate(
        f"{length:g} {unit}", ((start + end) / 2, height), xytext=(0, 4), textcoords="offset points",
        color="white", ha="center", va="bottom", fontsize=8, path_effects=halo(2.0),
    )  # fmt: skip
    axes.set(xlim=(left, right), ylim=(low, high))


def figure_bytes(figure: Any, kind: str, dpi: float) -> bytes:
    """Returns a figure of matplotlib's as a file; equal figures give equal bytes.

    Args:
        figure: Drawn without pyplot.
        kind: "png" or "pdf".
        dpi: Of a PNG, and of the images in a PDF.
    """
    buffer = io.BytesIO()
    # A date in the file would make equal results differ. Letters that no font has become boxes, without a warning each.
    with quiet("matplotlib"):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata={{"png": "Software", "pdf": "CreationDate"}[kind]: None})
    return buffer.getvalue()


def halo(width: float) -> list[Any]:
    """Returns matplotlib's path effect of a black border, which keeps white legible on any tissue."""
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=width, foreground="black")]


def plain_text(text: str, most: int) -> str:
    """Returns text for matplotlib that it draws as it is, shortened to so many characters.

    Dollar signs would make it a formula, of which a broken one raises; what does not print is shown as its code.
    """
    told = printable(text)
    return (told if len(told) <= most else f"{told[: most - 3]}...").replace("$", r"\$")


def reduce_blocks(image: np.ndarray, step: int, combine: Any) -> np.ndarray:
    """Combines blocks of step x step pixels; the last ones are completed by the image's edge.

    Args:
        image: [height, width].
        step: At least 1.
        combine: A reduction such as `np.mean` or `np.max`.
    """
    if step == 1:
        return image
    height, width = image.shape
    padded = np.pad(image, ((0, -height % step), (0, -width % step)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step)
    return np.asarray(combine(combine(blocks, axis=3), axis=1))


def _round_length(length: float) -> float:
    """Returns the largest of 1, 2, 5 times a power of ten that fits."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(factor * power for factor in (1.0, 2.0, 5.0) if factor * power <= length * (1 + 1e-9)))
