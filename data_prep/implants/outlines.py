"""Outlines of single calcifications: implicit shapes in units of their own, drawn at random."""

import dataclasses
import enum
import math
from collections.abc import Callable

import numpy as np

__all__ = ["Outline", "PlaneFunction", "Shape", "draw_outline", "limbs_outline"]

# Thinner than this in pixels, a rod is a dot, a tree is a blot, and a wall has no room for what it encloses.
_MIN_AREA_PX_ELONGATED = 8.0
_MIN_AREA_PX_BRANCHING = 20.0
_MIN_AREA_PX_RIM = 40.0
_MIN_AREA_PX_TEACUP = 6.0

PlaneFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A value [n] at coordinates x, y [n] in a shape's own units."""


class Shape(enum.Enum):
    """Outline of a calcification, after the morphology terms of BI-RADS (5th edition, 2013, Mammography)."""

    ROUND = "round"  # "round" and "punctate"
    IRREGULAR = "irregular"  # "coarse heterogeneous" and "fine pleomorphic"
    ELONGATED = "elongated"  # "fine linear" and rod-like
    BRANCHING = "branching"  # "fine-linear branching"
    VASCULAR = "vascular"  # "vascular": one dash of a wall
    POPCORN = "popcorn"  # "coarse or popcorn-like"
    RIM = "rim"  # "rim", formerly eggshell and lucent-centered
    TEACUP = "milk_of_calcium_teacup"  # "milk of calcium" seen from the side
    SMUDGE = "milk_of_calcium_smudge"  # "milk of calcium" seen from above
    SHARD = "fine_pleomorphic"  # "fine pleomorphic", angular

    def at_area(self, area_px: float) -> "Shape":
        """Returns the shape that so few pixels can show: small rods, rims and cups are round, small trees irregular."""
        if self is Shape.BRANCHING and area_px < _MIN_AREA_PX_BRANCHING:
            return Shape.IRREGULAR
        least = {
            Shape.ELONGATED: _MIN_AREA_PX_ELONGATED,
            Shape.RIM: _MIN_AREA_PX_RIM,
            Shape.TEACUP: _MIN_AREA_PX_TEACUP,
        }
        return Shape.ROUND if area_px < least.get(self, 0.0) else self


@dataclasses.dataclass(frozen=True, eq=False)
class Outline:
    """A shape about the origin, in units of its own.

    Attributes:
        depth: 0 on the outline, above 0 inside, below 0 outside; at most 1.
        reach: Radius of a circle about the origin that holds the outline and all thickness.
        thickness: Thickness along the beam, 0 or more; None makes it a dome of the depth.
    """

    depth: PlaneFunction
    reach: float
    thickness: PlaneFunction | None = None


def draw_outline(shape: Shape, rng: np.random.Generator) -> Outline:
    """Draws an outline of a shape, any but `Shape.VASCULAR`, which follows its vessel (`limbs_outline`)."""
    return _OUTLINES[shape](rng)


def _round(rng: np.random.Generator) -> Outline:
    """A mild ellipse, axes 1 to 1.35, with a contour uneven by a few percent."""
    return _star(_Contour.draw(rng, stretch=rng.uniform(1.0, 1.35), roughness=0.05))


def _irregular(rng: np.random.Generator) -> Outline:
    """A lobed and angular contour."""
    return _star(_Contour.draw(rng, stretch=rng.uniform(1.0, 1.8), roughness=rng.uniform(0.15, 0.33)))


@dataclasses.dataclass(frozen=True, eq=False)
class _Contour:
    """A star-shaped contour: log radius as a sum of harmonics 2 to 7 whose amplitudes fall as 1 / order."""

    stretch: float
    amplitudes: np.ndarray
    phases: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, stretch: float, roughness: float) -> "_Contour":
        amplitudes = roughness * rng.standard_normal(_ORDERS.size) / _ORDERS
        return cls(stretch, amplitudes, rng.uniform(0.0, 2.0 * math.pi, _ORDERS.size))

    @property
    def reach(self) -> float:
        furthest = math.exp(float(self._log_radius(np.linspace(0.0, 2.0 * math.pi, 256)).max()) + 0.02)
        return furthest * math.sqrt(self.stretch)

    def radius2(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns the squared distance from the origin in units of the contour's: 1 on it, below 1 inside."""
        x, y = x / math.sqrt(self.stretch), y * math.sqrt(self.stretch)
        return np.asarray((x * x + y * y) * np.exp(-2.0 * self._log_radius(np.arctan2(y, x))))

    def _log_radius(self, theta: np.ndarray) -> np.ndarray:
        waves = sum(a * np.cos(k * theta + p) for a, k, p in zip(self.amplitudes, _ORDERS, self.phases, strict=True))
        return np.clip(waves, -0.8, 0.8)


_ORDERS = np.arange(2, 8)


def _star(contour: _Contour) -> Outline:
    return Outline(lambda x, y: 1.0 - contour.radius2(x, y), contour.reach)


def _elongated(rng: np.random.Generator) -> Outline:
    """A rod, bent and of uneven width, 2.5 to 5 times as long as wide."""
    length = 2.0 * (rng.uniform(2.5, 5.0) - 1.0)
    return limbs_outline([_limb(rng, np.zeros(2), 0.0, length, 1.0)])


def _branching(rng: np.random.Generator) -> Outline:
    """A stem with one to three thinner limbs at 30 to 70 degrees."""
    length = rng.uniform(6.0, 11.0)
    stem = _limb(rng, np.zeros(2), 0.0, length, 1.0)
    limbs = [stem]
    # Each limb at a joint of its own: from one joint they would make a star.
    for joint in stem[rng.permutation(np.arange(1, len(stem) - 1))[: rng.integers(1, 4)], :2]:
        turn = math.copysign(math.radians(rng.uniform(30.0, 70.0)), rng.uniform(-1.0, 1.0))
        limbs.append(_limb(rng, joint, turn, length * rng.uniform(0.35, 0.7), rng.uniform(0.6, 0.9)))
    return limbs_outline(limbs)


def _limb(rng: np.random.Generator, start: np.ndarray, heading: float, length: float, radius: float) -> np.ndarray:
    """Returns a limb as float64 [6, 3]: x, y and half-width of the points of its spine."""
    bends = np.cumsum(rng.normal(0.0, 0.16, 5)) + heading
    steps = length / 5.0 * np.stack([np.cos(bends), np.sin(bends)], axis=1)
    points = start + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    taper = np.array([0.8, 1.0, 1.0, 1.0, 0.95, 0.7])
    return np.column_stack([points, radius * taper * rng.uniform(0.75, 1.15, 6)])


def limbs_outline(limbs: list[np.ndarray]) -> Outline:
    """Unites limbs about the middle of their points.

    Args:
        limbs: float64 [points, 3] each, 2 points or more: x, y and half-width, which runs linearly from point to point.
    """
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

    return Outline(depth, reach)


def _popcorn(rng: np.random.Generator) -> Outline:
    """A lump of 7 to 12 rounded lobes of all sizes about a core; where two overlap along the beam, both count."""
    count = int(rng.integers(7, 13))
    turns = rng.uniform(0.0, 2.0 * math.pi, count)
    distances = rng.uniform(0.4, 1.1, count)
    radii = np.maximum(rng.uniform(0.2, 0.65, count), distances - 0.65)  # each reaches into the core
    lobes = [(0.0, 0.0, 0.8), *zip(distances * np.cos(turns), distances * np.sin(turns), radii, strict=True)]
    contour = _Contour.draw(rng, stretch=rng.uniform(1.0, 1.4), roughness=0.15)

    def depths(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        # Lobes are round only nearly: the plane is drawn out as the contour is.
        radius = np.sqrt(contour.radius2(x, y) / np.maximum(x * x + y * y, 1e-9))
        x, y = x * radius, y * radius
        return [1.0 - ((x - x0) ** 2 + (y - y0) ** 2) / radius**2 for x0, y0, radius in lobes]

    def depth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(np.max(depths(x, y), axis=0))

    def thickness(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        chords = [lobe[2] * np.sqrt(np.maximum(each, 0.0)) for lobe, each in zip(lobes, depths(x, y), strict=True)]
        return np.asarray(np.sqrt(np.sum(chords, axis=0)))

    return Outline(depth, float(np.max(distances + radii, initial=0.8)) * contour.reach, thickness)


def _rim(rng: np.random.Generator) -> Outline:
    """A shell: the outline is that of its wall, a ring; the thickness that of the shell, so that the centre is faint.

    Projected, a hollow sphere of radius 1 about one of q is brightest at q; its centre has sqrt((1 - q) / (1 + q)) of
    that.
    """
    contour = _Contour.draw(rng, stretch=rng.uniform(1.0, 1.3), roughness=rng.uniform(0.03, 0.12))
    hollow = rng.uniform(0.62, 0.9)
    turn = rng.uniform(0.0, 2.0 * math.pi)
    # The wall is never of one width: the hollow lies off the centre by up to a third of it.
    off = rng.uniform(0.0, 0.35) * (1.0 - hollow)
    gap_x, gap_y = off * math.cos(turn), off * math.sin(turn)

    def depth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        outer, inner = contour.radius2(x, y), contour.radius2(x - gap_x, y - gap_y) / hollow**2
        return np.asarray(np.minimum(1.0 - outer, inner - 1.0))

    def thickness(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        outer, inner = contour.radius2(x, y), contour.radius2(x - gap_x, y - gap_y) / hollow**2
        solid = np.sqrt(np.maximum(1.0 - outer, 0.0))
        return np.asarray(np.maximum(solid - hollow * np.sqrt(np.maximum(1.0 - inner, 0.0)), 0.0))

    return Outline(depth, contour.reach, thickness)


def _teacup(rng: np.random.Generator) -> Outline:
    """Sediment at the bottom of a round microcyst: round below, level or hollow above. Down is towards larger y."""
    level = rng.uniform(0.15, 0.7)
    hollow = rng.uniform(0.0, 0.5)
    middle = (level + 1.0) / 2.0

    def depth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        y = y + middle
        return np.asarray(np.minimum(1.0 - x * x - y * y, y - level + hollow * x * x))

    def thickness(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        chord = np.sqrt(np.maximum(1.0 - x * x - (y + middle) ** 2, 0.0))
        return np.asarray(np.where(depth(x, y) > 0.0, chord + 0.3, 0.0))

    return Outline(depth, 1.45, thickness)


def _smudge(rng: np.random.Generator) -> Outline:
    """Sediment seen from above: round, without an edge; the outline is where a third of the thickness is left."""
    contour = _Contour.draw(rng, stretch=rng.uniform(1.0, 1.3), roughness=0.1)
    spread2 = 1.4**2

    def thickness(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray(np.maximum(1.0 - contour.radius2(x, y) / spread2, 0.0) ** 1.5)

    return Outline(lambda x, y: 1.0 - contour.radius2(x, y), 1.4 * contour.reach, thickness)


def _shard(rng: np.random.Generator) -> Outline:
    """A chip with 4 to 7 corners, some drawn out to points."""
    count = int(rng.integers(4, 8))
    corners = np.sort((np.arange(count) + rng.uniform(-0.35, 0.35, count)) * 2.0 * math.pi / count)
    radii = np.exp(rng.normal(0.0, 0.35, count)).clip(0.5, 2.0)
    stretch = math.sqrt(rng.uniform(1.0, 2.2))

    def depth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = x / stretch, y * stretch
        radius = np.interp(np.arctan2(y, x), corners, radii, period=2.0 * math.pi)
        return np.asarray(1.0 - (x * x + y * y) / radius**2)

    return Outline(depth, float(radii.max()) * stretch)


_OUTLINES: dict[Shape, Callable[[np.random.Generator], Outline]] = {
    Shape.ROUND: _round,
    Shape.IRREGULAR: _irregular,
    Shape.ELONGATED: _elongated,
    Shape.BRANCHING: _branching,
    Shape.POPCORN: _popcorn,
    Shape.RIM: _rim,
    Shape.TEACUP: _teacup,
    Shape.SMUDGE: _smudge,
    Shape.SHARD: _shard,
}
