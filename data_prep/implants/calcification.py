"""Draws one artificial calcification: an implicit shape, sampled to coverage, mask and blurred signal."""

import dataclasses
import enum
import math
from collections.abc import Callable

import numpy as np
from scipy import ndimage

__all__ = ["Calcification", "Shape", "draw_calcification"]

_PAD_PX = 3  # background kept around every mask: two pixels of gap to a neighbour, and one to see it
_SUBPIXELS = 8  # samples a pixel and axis
_SUBPIXELS_LARGE = 4  # where the outline is long, so that its sampling error averages out
_LARGE_PX = 64

# Thinner than this in pixels, a rod is a dot and a tree is a blot.
_MIN_AREA_PX_ELONGATED = 8.0
_MIN_AREA_PX_BRANCHING = 20.0

_EIGHT_CONNECTED = np.ones((3, 3), bool)

# A shape in its own units: depth [n] at coordinates x, y [n]; 1 in the middle, 0 on the outline, below 0 outside.
_Depth = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Shape(enum.Enum):
    """Outline of a calcification, after the morphology terms of BI-RADS (5th edition, 2013, Mammography)."""

    ROUND = "round"  # "round" and "punctate"
    IRREGULAR = "irregular"  # "coarse heterogeneous" and "fine pleomorphic"
    ELONGATED = "elongated"  # "fine linear" and rod-like
    BRANCHING = "branching"  # "fine-linear branching"

    def at_area(self, area_px: float) -> "Shape":
        """Returns the shape that so few pixels can show: small rods are round, small trees irregular."""
        if self is Shape.ELONGATED and area_px < _MIN_AREA_PX_ELONGATED:
            return Shape.ROUND
        if self is Shape.BRANCHING and area_px < _MIN_AREA_PX_BRANCHING:
            return Shape.IRREGULAR
        return self


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
    a plate, uneven by a fifth as deposits are. The mask is the object itself, not its blur.

    Args:
        shape: The outline asked for; `Shape.at_area` says what so few pixels can show.
        area_px: Area inside the outline, in pixels, above 0.
        blur_px: Standard deviation of the detector's point spread in pixels, 0 or more.
        rng: The only source of chance.
        angle: Direction of the long axis in radians, from the column axis towards the row axis; None draws one.
    """
    shape = shape.at_area(area_px)
    depth, reach = _OUTLINES[shape](rng)
    scale = math.sqrt(area_px / _unit_area(depth, reach))
    angle = rng.uniform(0.0, math.pi) if angle is None else angle
    centre_row, centre_column = rng.uniform(-0.5, 0.5, 2)
    dome = rng.uniform(0.25, 0.5)
    mottle = _mottle(rng)

    pad = max(_PAD_PX, math.ceil(4.0 * blur_px))
    half = math.ceil(reach * scale + 0.5)
    size = 2 * half + 1
    samples = _SUBPIXELS if size <= _LARGE_PX else _SUBPIXELS_LARGE
    axis = (np.arange(size * samples, dtype=np.float32) + 0.5) / samples - 0.5 - half
    rows, columns = np.meshgrid((axis - centre_row) / scale, (axis - centre_column) / scale, indexing="ij")
    x = math.cos(angle) * columns + math.sin(angle) * rows
    y = math.cos(angle) * rows - math.sin(angle) * columns
    inside = depth(x, y)
    thickness = np.maximum(inside, 0.0) ** dome * mottle(x, y)

    coverage = np.pad(_average(inside > 0.0, samples), pad)
    signal = ndimage.gaussian_filter(np.pad(_average(thickness, samples), pad), blur_px, mode="constant")
    crop = _crop(coverage, pad)
    return Calcification(shape, coverage[crop], _mask(coverage)[crop], signal[crop] / signal.max())


def _average(samples: np.ndarray, factor: int) -> np.ndarray:
    """Averages factor x factor blocks; float32 [height / factor, width / factor]."""
    size = samples.shape[0] // factor
    return samples.reshape(size, factor, size, factor).mean(axis=(1, 3), dtype=np.float32)


def _crop(coverage: np.ndarray, pad: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(coverage.any(axis=1)), np.flatnonzero(coverage.any(axis=0))
    return slice(rows[0] - pad, rows[-1] + pad + 1), slice(columns[0] - pad, columns[-1] + pad + 1)


def _mask(coverage: np.ndarray) -> np.ndarray:
    """Returns the pixels at least half covered, as one component.

    A limb thinner than a pixel may fall below a half here and there: the threshold sinks until the pieces join. It ends
    at the latest where every touched pixel counts, and the outline is connected.
    """
    for threshold in (0.5, 0.4, 0.3, 0.2, 0.1):
        mask: np.ndarray = coverage >= min(threshold, float(coverage.max()))
        if ndimage.label(mask, _EIGHT_CONNECTED)[1] == 1:
            return mask
    labels, _ = ndimage.label(coverage > 0.0, _EIGHT_CONNECTED)
    return np.asarray(labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])))


def _unit_area(depth: _Depth, reach: float) -> float:
    """Measures the area of a shape in its own units on a 128 x 128 grid."""
    axis = (np.arange(128) + 0.5) / 64.0 - 1.0
    y, x = np.meshgrid(axis * reach, axis * reach, indexing="ij")
    return float((depth(x, y) > 0.0).mean()) * (2.0 * reach) ** 2


def _mottle(rng: np.random.Generator) -> _Depth:
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


def _round(rng: np.random.Generator) -> tuple[_Depth, float]:
    """A mild ellipse, axes 1 to 1.35, with a contour uneven by a few percent."""
    return _contour(rng, stretch=rng.uniform(1.0, 1.35), roughness=0.05)


def _irregular(rng: np.random.Generator) -> tuple[_Depth, float]:
    """A lobed and angular contour."""
    return _contour(rng, stretch=rng.uniform(1.0, 1.8), roughness=rng.uniform(0.15, 0.33))


def _contour(rng: np.random.Generator, stretch: float, roughness: float) -> tuple[_Depth, float]:
    """A star-shaped outline: log radius as a sum of harmonics 2 to 7 whose amplitudes fall as 1 / order."""
    orders = np.arange(2, 8)
    amplitudes = roughness * rng.standard_normal(orders.size) / orders
    phases = rng.uniform(0.0, 2.0 * math.pi, orders.size)

    def log_radius(theta: np.ndarray) -> np.ndarray:
        waves = sum(a * np.cos(k * theta + p) for a, k, p in zip(amplitudes, orders, phases, strict=True))
        return np.clip(waves, -0.8, 0.8)

    def depth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = x / math.sqrt(stretch), y * math.sqrt(stretch)
        return np.asarray(1.0 - (x * x + y * y) * np.exp(-2.0 * log_radius(np.arctan2(y, x))))

    furthest = math.exp(float(log_radius(np.linspace(0.0, 2.0 * math.pi, 256)).max()) + 0.02)
    return depth, furthest * math.sqrt(stretch)


def _elongated(rng: np.random.Generator) -> tuple[_Depth, float]:
    """A rod, bent and of uneven width, 2.5 to 5 times as long as wide."""
    length = 2.0 * (rng.uniform(2.5, 5.0) - 1.0)
    return _tree([_limb(rng, np.zeros(2), 0.0, length, 1.0)])


def _branching(rng: np.random.Generator) -> tuple[_Depth, float]:
    """A stem with one to three thinner limbs at 30 to 70 degrees."""
    length = rng.uniform(6.0, 11.0)
    stem = _limb(rng, np.zeros(2), 0.0, length, 1.0)
    limbs = [stem]
    # Each limb at a joint of its own: from one joint they would make a star.
    for joint in stem[rng.permutation(np.arange(1, len(stem) - 1))[: rng.integers(1, 4)], :2]:
        turn = math.copysign(math.radians(rng.uniform(30.0, 70.0)), rng.uniform(-1.0, 1.0))
        limbs.append(_limb(rng, joint, turn, length * rng.uniform(0.35, 0.7), rng.uniform(0.6, 0.9)))
    return _tree(limbs)


def _limb(rng: np.random.Generator, start: np.ndarray, heading: float, length: float, radius: float) -> np.ndarray:
    """Returns a limb as float64 [6, 3]: x, y and half-width of the points of its spine."""
    bends = np.cumsum(rng.normal(0.0, 0.16, 5)) + heading
    steps = length / 5.0 * np.stack([np.cos(bends), np.sin(bends)], axis=1)
    points = start + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    taper = np.array([0.8, 1.0, 1.0, 1.0, 0.95, 0.7])
    return np.column_stack([points, radius * taper * rng.uniform(0.75, 1.15, 6)])


def _tree(limbs: list[np.ndarray]) -> tuple[_Depth, float]:
    """Unites limbs, each a chain of segments whose half-width runs linearly from end to end."""
    everything = np.concatenate(limbs)
    middle = (everything[:, :2].min(axis=0) + everything[:, :2].max(axis=0)) / 2.0
    segments = [
        (limb[i] - [*middle, 0.0], limb[i + 1] - [*middle, 0.0]) for limb in limbs for i in range(len(limb) - 1)
    ]
    reach = float((np.hypot(*(everything[:, :2] - middle).T) + everything[:, 2]).max())

    def depth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        deepest = np.full(x.shape, -1.0, x.dtype)
        for start, end in segments:
            (dx, dy, widening), (x0, y0, radius) = end - start, start
            along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0.0, 1.0)
            distance2 = (x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2
            np.maximum(deepest, 1.0 - distance2 / (radius + along * widening) ** 2, out=deepest)
        return deepest

    return depth, reach


_OUTLINES = {
    Shape.ROUND: _round,
    Shape.IRREGULAR: _irregular,
    Shape.ELONGATED: _elongated,
    Shape.BRANCHING: _branching,
}
