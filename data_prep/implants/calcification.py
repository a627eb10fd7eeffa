"""Draws one artificial calcification: an outline, sampled to coverage, mask and blurred signal."""

import dataclasses
import math

import numpy as np
from scipy import ndimage

from data_prep.implants.outlines import Outline, PlaneFunction, Shape, draw_outline, limbs_outline

__all__ = ["Calcification", "Shape", "draw_calcification", "draw_strand"]

_PAD_PX = 3  # background kept around every mask: two pixels of gap to a neighbour, and one to see it
_SUBPIXELS = 8  # samples a pixel and axis
_SUBPIXELS_LARGE = 4  # where the outline is long, so that its sampling error averages out
_LARGE_PX = 64

_EIGHT_CONNECTED = np.ones((3, 3), bool)


@dataclasses.dataclass(frozen=True, eq=False)
class Calcification:
    """One calcification on its own patch; the patch's border of at least 3 pixels is no part of the mask.

    Attributes:
        shape: The outline that was drawn.
        coverage: float32 [height, width]; the share of each pixel inside the outline, 0 to 1; sums to the area asked.
        mask: bool [height, width]; pixels at least half covered: one 8-connected component of at least one pixel.
        signal: float32 [height, width]; projected thickness after the detector's blur, non-negative, largest value 1.
    """

    shape: Shape
    coverage: np.ndarray
    mask: np.ndarray
    signal: np.ndarray

    def __post_init__(self) -> None:
        if not self.coverage.shape == self.mask.shape == self.signal.shape:
            raise ValueError("coverage, mask and signal share one patch")
        if ndimage.label(self.mask, _EIGHT_CONNECTED)[1] != 1:
            raise ValueError("a calcification is one 8-connected component")

    @property
    def area_px(self) -> int:
        """Number of pixels of the mask."""
        return int(self.mask.sum())


def draw_calcification(
    shape: Shape, area_px: float, blur_px: float, rng: np.random.Generator, angle: float | None = None
) -> Calcification:
    """Draws one calcification at a random sub-pixel position.

    The thickness along the beam is a dome: sqrt(1 - (r/R)^2) for a sphere or a cylinder lying in the plane, flatter for
    a plate; a shell, sediment and lobes have their own. It is uneven by a fifth as deposits are. The mask is the object
    itself, not its blur. Of a rim it is the wall alone, a ring: that is what is bright. Of a smudge, which has no edge,
    it ends where a third of the signal is left.

    Args:
        shape: The outline asked for, any but `Shape.VASCULAR`; `Shape.at_area` says what so few pixels can show.
        area_px: Area inside the outline, in pixels, above 0.
        blur_px: Standard deviation of the detector's point spread in pixels, 0 or more.
        rng: The only source of chance.
        angle: Direction of the long axis in radians, from the column axis towards the row axis; None draws one. At 0 a
            teacup stands upright.
    """
    shape = shape.at_area(area_px)
    outline = draw_outline(shape, rng)
    scale = math.sqrt(area_px / _unit_area(outline))
    angle = rng.uniform(0.0, math.pi) if angle is None else angle
    centre_row, centre_column = rng.uniform(-0.5, 0.5, 2)
    return _render(shape, outline, _Pose(scale, angle, centre_row, centre_column), blur_px, rng)[0]


def draw_strand(points: np.ndarray, blur_px: float, rng: np.random.Generator) -> tuple[Calcification, tuple[int, int]]:
    """Draws one dash of a vessel's wall along given points.

    Args:
        points: float64 [points, 3]; row, column and half-width in pixels, 2 points or more.
        blur_px: As in `draw_calcification`.
        rng: Likewise.

    Returns:
        The calcification, and (row, column) of its patch's first pixel.
    """
    middle = (points[:, :2].min(axis=0) + points[:, :2].max(axis=0)) / 2.0
    anchor = np.rint(middle).astype(int)
    unit = float(points[:, 2].mean())
    outline = limbs_outline([points[:, [1, 0, 2]] / unit])
    drawn, (top, left) = _render(Shape.VASCULAR, outline, _Pose(unit, 0.0, *(middle - anchor)), blur_px, rng)
    return drawn, (int(anchor[0]) + top, int(anchor[1]) + left)


@dataclasses.dataclass(frozen=True)
class _Pose:
    """Where and how large an outline lies: pixels a unit, radians, and its origin from the middle of a pixel."""

    scale: float
    angle: float
    row: float
    column: float


def _render(
    shape: Shape, outline: Outline, pose: _Pose, blur_px: float, rng: np.random.Generator
) -> tuple[Calcification, tuple[int, int]]:
    """Samples an outline; returns it with (row, column) of its patch's first pixel from the origin's pixel."""
    dome = rng.uniform(0.25, 0.5)
    mottle = _mottle(rng)

    pad = max(_PAD_PX, math.ceil(4.0 * blur_px))
    half = math.ceil(outline.reach * pose.scale + 0.5)
    size = 2 * half + 1
    samples = _SUBPIXELS if size <= _LARGE_PX else _SUBPIXELS_LARGE
    axis = (np.arange(size * samples, dtype=np.float32) + 0.5) / samples - 0.5 - half
    rows, columns = np.meshgrid((axis - pose.row) / pose.scale, (axis - pose.column) / pose.scale, indexing="ij")
    x = math.cos(pose.angle) * columns + math.sin(pose.angle) * rows
    y = math.cos(pose.angle) * rows - math.sin(pose.angle) * columns
    inside = outline.depth(x, y)
    thickness = outline.thickness(x, y) if outline.thickness else np.maximum(inside, 0.0) ** dome
    thickness = thickness * mottle(x, y)

    coverage = np.pad(_average(inside > 0.0, samples), pad)
    projected = np.pad(_average(thickness, samples), pad)
    signal = ndimage.gaussian_filter(projected, blur_px, mode="constant")
    mask = _mask(coverage, ring=shape is Shape.RIM)
    crop = _crop((coverage > 0.0) | (projected > 0.0), pad)
    drawn = Calcification(shape, coverage[crop], mask[crop], signal[crop] / signal.max())
    return drawn, (crop[0].start - pad - half, crop[1].start - pad - half)


def _average(samples: np.ndarray, factor: int) -> np.ndarray:
    """Averages factor x factor blocks; float32 [height / factor, width / factor]."""
    size = samples.shape[0] // factor
    return samples.reshape(size, factor, size, factor).mean(axis=(1, 3), dtype=np.float32)


def _crop(touched: np.ndarray, pad: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
    return slice(rows[0] - pad, rows[-1] + pad + 1), slice(columns[0] - pad, columns[-1] + pad + 1)


def _mask(coverage: np.ndarray, ring: bool) -> np.ndarray:
    """Returns the pixels at least half covered, as one component, which encloses some others if it is a ring.

    A limb or wall thinner than a pixel may fall below a half here and there: the threshold sinks until the pieces join.
    It ends at the latest where every touched pixel counts, and the outline is connected.
    """
    for threshold in (0.5, 0.4, 0.3, 0.2, 0.1):
        mask: np.ndarray = coverage >= min(threshold, float(coverage.max()))
        if ndimage.label(mask, _EIGHT_CONNECTED)[1] == 1 and (not ring or _encloses(mask)):
            return mask
    labels, _ = ndimage.label(coverage > 0.0, _EIGHT_CONNECTED)
    return np.asarray(labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])))


def _encloses(mask: np.ndarray) -> bool:
    return bool((ndimage.binary_fill_holes(mask) > mask).any())


def _unit_area(outline: Outline) -> float:
    """Measures the area of a shape in its own units on a 128 x 128 grid."""
    axis = (np.arange(128) + 0.5) / 64.0 - 1.0
    y, x = np.meshgrid(axis * outline.reach, axis * outline.reach, indexing="ij")
    return float((outline.depth(x, y) > 0.0).mean()) * (2.0 * outline.reach) ** 2


def _mottle(rng: np.random.Generator) -> PlaneFunction:
    """Draws uneven density: 1 on average, about a fifth up and down, over lengths like the shape's own width."""
    angles, phases = rng.uniform(0.0, 2.0 * math.pi, (2, 4))
    frequencies = rng.uniform(0.8, 4.0, 4)

    def factor(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        waves = sum(
            np.cos(frequency * (math.cos(angle) * x + math.sin(angle) * y) + phase)
            for angle, frequency, phase in zip(angles, frequencies, phases, strict=True)
        )
        return np.asarray(1.0 + 0.12 * waves)

    return factor
