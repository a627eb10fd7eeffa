"""Places vessels, ducts, Cooper's ligaments and fibres, those that cross among them."""

import dataclasses
import math

import numpy as np

from data_prep.synthesis.curves import add_curve, wander
from data_prep.synthesis.hard_negative import HardNegative, Kind
from data_prep.synthesis.shape import BreastShape

__all__ = ["add_dot", "draw_strands"]


@dataclasses.dataclass(frozen=True)
class _Tube:
    """How tubes of a kind are drawn; ranges of numbers whose logarithm is uniform.

    Attributes:
        kind: What it is.
        per_cm2: Number a square centimetre of breast.
        radius_mm: Of the axis' tube.
        length_mm: Along the axis.
        bend: Standard deviation in radians of the change of direction.
        stray: Standard deviation in radians about the direction of the place.
        weight: Depth along the beam over thickness across it: above 1 for a sheet seen from its edge.
    """

    kind: Kind
    per_cm2: float
    radius_mm: tuple[float, float]
    length_mm: tuple[float, float]
    bend: float
    stray: float
    weight: tuple[float, float]


_VESSEL = _Tube(Kind.VESSEL, 0.07, (0.3, 1.3), (20.0, 90.0), 0.8, 0.5, (0.6, 1.1))
_LIGAMENT = _Tube(Kind.LIGAMENT, 0.35, (0.1, 0.3), (5.0, 20.0), 0.4, 0.4, (1.5, 6.0))
_FIBRE = _Tube(Kind.FIBRE, 2.5, (0.04, 0.2), (3.0, 30.0), 0.5, 0.7, (1.0, 6.0))
_CROSSING = _Tube(Kind.CROSSING, 0.2, (0.07, 0.2), (3.0, 10.0), 0.2, 3.0, (2.0, 7.0))
_DUCT = _Tube(Kind.DUCT, 0.0, (0.2, 0.6), (15.0, 50.0), 0.6, 0.0, (0.6, 1.2))

_DUCTS = 10
_END_ON_PER_CM2 = 0.06
_LIGAMENT_DEPTH_MM = 20.0  # they hold the gland to the skin


def draw_strands(shape: BreastShape, rng: np.random.Generator) -> tuple[np.ndarray, list[HardNegative]]:
    """Draws everything long and thin.

    Returns:
        float32 [height, columns_px]: mm of glandular tissue in place of fat; and what was placed where.
    """
    return _Strands(shape, rng).draw()


def add_dot(canvas: np.ndarray, site: tuple[float, float], sigma_px: float, height: float) -> None:
    """Adds a Gaussian bump to float32 [height, width] at (row, column) in px; parts outside the canvas are left out."""
    reach = math.ceil(3.0 * sigma_px) + 1
    rows, columns = (
        np.arange(max(0, int(position) - reach), min(side, int(position) + reach + 1), dtype=np.float32)
        for position, side in zip(site, canvas.shape, strict=True)
    )
    if not rows.size or not columns.size:
        return
    square = (rows[:, None] - np.float32(site[0])) ** 2 + (columns[None, :] - np.float32(site[1])) ** 2
    window = canvas[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    window += np.float32(height) * np.exp(-square / np.float32(2.0 * sigma_px * sigma_px))


class _Strands:
    """The canvas, and where on it there is breast."""

    def __init__(self, shape: BreastShape, rng: np.random.Generator) -> None:
        self._shape = shape
        self._rng = rng
        self._canvas = np.zeros((shape.field.height, shape.columns_px), np.float32)
        self._placed: list[HardNegative] = []
        self._deep = np.argwhere(shape.depth_mm > 3.0)
        self._shallow = np.argwhere((shape.depth_mm > 2.0) & (shape.depth_mm < _LIGAMENT_DEPTH_MM))
        self._area_cm2 = len(self._deep) * (shape.field.cell_mm / 10.0) ** 2

    def draw(self) -> tuple[np.ndarray, list[HardNegative]]:
        if len(self._deep):
            for tube in (_VESSEL, _LIGAMENT, _FIBRE, _CROSSING):
                for _ in range(self._rng.poisson(tube.per_cm2 * self._area_cm2)):
                    self._add(tube)
            self._add_ducts()
            for _ in range(self._rng.poisson(_END_ON_PER_CM2 * self._area_cm2)):
                self._add_end_on()
        return self._canvas, self._placed

    def _add(self, tube: _Tube) -> None:
        sites = self._shallow if tube is _LIGAMENT and len(self._shallow) else self._deep
        cell = sites[self._rng.integers(len(sites))]
        site = tuple((cell + self._rng.uniform(0.0, 1.0, 2)) * self._shape.field.step)
        angle = self._direction(site) + self._rng.normal(0.0, tube.stray)
        if self._shape.muscle[tuple(cell)] > 0.5:
            angle = self._shape.muscle_angle + self._rng.normal(0.0, 0.15)
        if tube is not _CROSSING:
            self._trace(tube, site, angle)
            return
        # Two or three fibres over one place: their thicknesses add up to a bright point.
        for turn in range(int(self._rng.integers(2, 4))):
            self._trace(tube, site, angle + turn * self._rng.uniform(0.5, 1.2), record=turn == 0)

    def _add_ducts(self) -> None:
        spacing = self._shape.field.spacing_mm
        nipple = tuple(position / spacing for position in self._shape.nipple_mm)
        if not -20.0 / spacing < nipple[0] < self._shape.field.height + 20.0 / spacing:
            return
        for _ in range(_DUCTS):
            start = nipple[0] + self._rng.normal(0.0, 1.5) / spacing, nipple[1] - self._rng.uniform(2.0, 6.0) / spacing
            angle = math.pi + self._rng.normal(0.0, 0.6)
            self._trace(_DUCT, start, angle, forward=True)

    def _trace(
        self, tube: _Tube, site: tuple[float, ...], angle: float, record: bool = True, forward: bool = False
    ) -> None:
        """Draws one tube through a site, or from it on; vessels send out a branch."""
        spacing = self._shape.field.spacing_mm
        length, radius = self._between(tube.length_mm), self._between(tube.radius_mm) / spacing
        weight = self._between(tube.weight)
        points = wander((site[0], site[1]), angle, length / spacing, tube.bend, self._rng)
        if not forward:
            points -= points[len(points) // 2] - np.asarray(site)
        # Tapers to a third at its end, as vessels and ducts do.
        radii = radius * np.linspace(1.0, self._rng.uniform(0.35, 0.9), len(points))
        add_curve(self._canvas, points, radii, weight * spacing)
        if record:
            self._placed.append(HardNegative(tube.kind, float(site[0]), float(site[1]), length))
        if tube.kind is Kind.VESSEL and self._rng.uniform() < 0.6:
            index = int(self._rng.integers(len(points) // 4, max(len(points) // 4 + 1, 3 * len(points) // 4)))
            branch = wander(
                (points[index][0], points[index][1]),
                angle + self._rng.choice((-1.0, 1.0)) * self._rng.uniform(0.4, 0.9),
                0.5 * length / spacing, tube.bend, self._rng,
            )  # fmt: skip
            add_curve(self._canvas, branch, 0.65 * radii[index] * np.linspace(1.0, 0.4, len(branch)), weight * spacing)

    def _add_end_on(self) -> None:
        """A vessel along the beam: a soft round spot, larger and fainter than most calcifications."""
        rng, field = self._rng, self._shape.field
        site = (self._deep[rng.integers(len(self._deep))] + rng.uniform(0.0, 1.0, 2)) * field.step
        radius = self._between((0.4, 1.2))
        add_dot(self._canvas, (float(site[0]), float(site[1])), radius / field.spacing_mm, self._between((0.8, 3.0)))
        self._placed.append(HardNegative(Kind.VESSEL_END_ON, float(site[0]), float(site[1]), 2.0 * radius))

    def _direction(self, site: tuple[float, ...]) -> float:
        """Towards the nipple."""
        spacing = self._shape.field.spacing_mm
        return math.atan2(self._shape.nipple_mm[0] - site[0] * spacing, self._shape.nipple_mm[1] - site[1] * spacing)

    def _between(self, ends: tuple[float, float]) -> float:
        return math.exp(self._rng.uniform(math.log(ends[0]), math.log(ends[1])))
