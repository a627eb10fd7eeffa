"""Places what lies on or under the skin: pores, folds, moles, and a clip or a wire now and then."""

import math

import numpy as np

from data_prep.synthesis.curves import add_curve, wander
from data_prep.synthesis.hard_negative import HardNegative, Kind
from data_prep.synthesis.shape import BreastShape
from data_prep.synthesis.strands import add_dot

__all__ = ["draw_skin"]

_PORE_PATCHES = 1.2  # mean a picture
_FOLDS = 0.8
_MOLES = 0.5
_METAL_SHARE = 0.06  # pictures with a clip, and as many with a wire

_PORES = (40, 150)
_METAL_MM = 60.0  # of glandular tissue: white whatever lies behind


def draw_skin(shape: BreastShape, canvas: np.ndarray, rng: np.random.Generator) -> list[HardNegative]:
    """Draws them onto the canvas of `draw_strands`; returns what was placed where."""
    placed: list[HardNegative] = []
    edge = np.argwhere((shape.depth_mm > 0.5) & (shape.depth_mm < 12.0))
    deep = np.argwhere(shape.depth_mm > 12.0)
    if not len(edge) or not len(deep):
        return placed
    for _ in range(rng.poisson(_PORE_PATCHES)):
        placed.append(_add_pores(shape, canvas, _site(shape, edge, rng), rng))
    for _ in range(rng.poisson(_FOLDS)):
        placed.append(_add_fold(shape, canvas, _site(shape, edge, rng), rng))
    for _ in range(rng.poisson(_MOLES)):
        placed.append(_add_mole(shape, canvas, _site(shape, deep, rng), rng))
    if rng.uniform() < _METAL_SHARE:
        placed.append(_add_clip(shape, canvas, _site(shape, deep, rng), rng))
    if rng.uniform() < _METAL_SHARE:
        placed.append(_add_wire(shape, canvas, _site(shape, deep, rng), rng))
    return placed


def _site(shape: BreastShape, cells: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    row, column = (cells[rng.integers(len(cells))] + rng.uniform(0.0, 1.0, 2)) * shape.field.step
    return float(row), float(column)


def _add_pores(
    shape: BreastShape, canvas: np.ndarray, site: tuple[float, float], rng: np.random.Generator
) -> HardNegative:
    """A patch of tiny dark dots, air in the skin, with the raised rims of some between them."""
    spacing = shape.field.spacing_mm
    spread = rng.uniform(3.0, 9.0)
    for offset in rng.normal(0.0, spread / spacing / 2.0, (rng.integers(*_PORES), 2)):
        depth = -rng.uniform(0.2, 0.9) if rng.uniform() < 0.8 else rng.uniform(0.2, 0.6)
        add_dot(canvas, (site[0] + offset[0], site[1] + offset[1]), rng.uniform(0.08, 0.25) / spacing, depth)
    return HardNegative(Kind.PORES, *site, 2.0 * spread)


def _add_fold(
    shape: BreastShape, canvas: np.ndarray, site: tuple[float, float], rng: np.random.Generator
) -> HardNegative:
    """Skin lying double: a bright band, and the air that it holds dark beside it."""
    spacing, length = shape.field.spacing_mm, rng.uniform(10.0, 45.0)
    radius = rng.uniform(0.4, 1.2)
    points = wander(site, rng.uniform(0.0, 2.0 * math.pi), length / spacing, 0.5, rng)
    taper = np.sin(np.linspace(0.15, math.pi - 0.15, len(points)))
    add_curve(canvas, points, radius / spacing * taper, 1.2 * spacing)
    beside = points + radius / spacing * rng.choice((-1.6, 1.6), 2)
    add_curve(canvas, beside, 0.8 * radius / spacing * taper, -0.8 * spacing)
    return HardNegative(Kind.FOLD, *site, length)


def _add_mole(
    shape: BreastShape, canvas: np.ndarray, site: tuple[float, float], rng: np.random.Generator
) -> HardNegative:
    """A round wart: denser than fat, with air caught about it."""
    radius = rng.uniform(1.2, 3.0) / shape.field.spacing_mm
    height = rng.uniform(1.0, 3.0)
    add_dot(canvas, site, 0.75 * radius, -0.5 * height)
    add_dot(canvas, site, 0.5 * radius, 1.4 * height)
    return HardNegative(Kind.MOLE, *site, 2.0 * radius * shape.field.spacing_mm)


def _add_clip(
    shape: BreastShape, canvas: np.ndarray, site: tuple[float, float], rng: np.random.Generator
) -> HardNegative:
    """A biopsy marker: a bent bit of metal of 2 to 4 mm, edges as sharp as the detector shows them."""
    spacing, length = shape.field.spacing_mm, rng.uniform(2.0, 4.0)
    points = wander(site, rng.uniform(0.0, 2.0 * math.pi), length / spacing, rng.uniform(1.0, 5.0), rng)
    radius = rng.uniform(0.2, 0.35) / spacing
    add_curve(canvas, points, np.full(len(points), radius), _METAL_MM / (2.0 * radius))
    return HardNegative(Kind.CLIP, *site, length)


def _add_wire(
    shape: BreastShape, canvas: np.ndarray, site: tuple[float, float], rng: np.random.Generator
) -> HardNegative:
    """A wire taped over a scar."""
    spacing, length = shape.field.spacing_mm, rng.uniform(15.0, 50.0)
    points = wander(site, rng.uniform(0.0, 2.0 * math.pi), length / spacing, 0.4, rng)
    radius = rng.uniform(0.15, 0.4) / spacing
    add_curve(canvas, points, np.full(len(points), radius), _METAL_MM / (2.0 * radius))
    return HardNegative(Kind.WIRE, *site, length)
