"""The calcified walls of a vessel: two parallel, broken, beaded lines along a bent course."""

import math

import numpy as np

__all__ = ["draw_vessel"]

# All in mm.
_STEP = 0.1
_BEAD = 0.3
_WIDTH = (1.0, 3.0)  # between the lines
_HALF_WALL, _HALF_WALL_LIMITS = 0.07, (0.04, 0.15)
_DASH, _DASH_LIMITS = 0.9, (0.25, 4.0)
_GAP, _GAP_LIMITS = 0.3, (0.15, 1.5)
_BARE_SHARE, _BARE = 0.1, (1.5, 5.0)  # stretches where one wall has none


def draw_vessel(length: float, least_gap: float, rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draws the dashes of both walls, in mm from the vessel's middle.

    Args:
        length: Along the vessel, in mm.
        least_gap: Of background between two dashes of a wall, in mm.
        rng: The only source of chance.

    Returns:
        For each wall its dashes in order, float64 [points, 3], 2 points or more: row, column and half-width.
    """
    course, normal = _draw_course(length, rng)
    half = 0.5 * rng.uniform(*_WIDTH)
    # A vessel narrows a little along its course, and its two walls stay opposite each other.
    halves = half * np.linspace(1.0, rng.uniform(0.75, 1.0), len(course))[:, None]
    thickness = _HALF_WALL * rng.lognormal(0.0, 0.25)
    first, second = (_break(course + side * halves * normal, thickness, least_gap, rng) for side in (-1.0, 1.0))
    return first, second


def _draw_course(length: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws a course that meanders in long and short waves; points and normals, float64 [points, 2] as row, column."""
    along = np.arange(0.0, length, _STEP)
    heading = np.full(along.shape, rng.uniform(0.0, 2.0 * math.pi))
    for swing, wave in (
        (rng.uniform(0.1, 0.5), length * rng.uniform(0.7, 1.5)),
        (rng.uniform(0.05, 0.2), rng.uniform(5.0, 9.0)),
    ):
        heading += swing * np.sin(2.0 * math.pi * along / wave + rng.uniform(0.0, 2.0 * math.pi))
    steps = np.column_stack([np.sin(heading), np.cos(heading)])
    points = np.cumsum(_STEP * steps, axis=0)
    return points - points[len(points) // 2], np.column_stack([steps[:, 1], -steps[:, 0]])


def _break(wall: np.ndarray, thickness: float, least_gap: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Breaks a wall into dashes whose half-width is uneven, like beads on a string."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(wall, axis=0).T))])
    dashes = []
    at = rng.uniform(0.0, 1.0)
    while along[-1] - at >= _DASH_LIMITS[0]:
        end = min(at + float(np.clip(_DASH * rng.lognormal(0.0, 0.7), *_DASH_LIMITS)), along[-1])
        places = np.linspace(at, end, max(2, round((end - at) / _BEAD) + 1))
        own = np.clip(thickness * rng.lognormal(0.0, 0.25), *_HALF_WALL_LIMITS)
        widths = own * rng.uniform(0.6, 1.4, places.size)
        dashes.append(
            np.column_stack([np.interp(places, along, wall[:, 0]), np.interp(places, along, wall[:, 1]), widths])
        )
        gap = float(np.clip(_GAP * rng.lognormal(0.0, 0.6), *_GAP_LIMITS))
        if rng.uniform() < _BARE_SHARE:
            gap = rng.uniform(*_BARE)
        at = end + max(gap, least_gap) + 2.0 * thickness
    return dashes
