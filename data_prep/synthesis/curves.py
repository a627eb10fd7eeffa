"""Draws what is long and thin - vessels, ducts, ligaments, fibres - as paths through a cylinder."""

import math

import numpy as np

__all__ = ["add_curve", "wander"]

_SEGMENT_PX = 6.0  # shorter than any bend
_LEAST_RADIUS_PX = 0.6  # thinner ones are as wide as this, and fainter


def wander(
    start: tuple[float, float], angle: float, length: float, bend: float, rng: np.random.Generator
) -> np.ndarray:
    """Draws a smoothly bending path.

    Args:
        start: (row, column) in pixels.
        angle: First direction in radians, from the columns' axis towards the rows'.
        length: In pixels.
        bend: Standard deviation in radians of the direction's change over the whole length.
        rng: Source of chance.

    Returns:
        float64 [points, 2] (row, column), about 6 pixels apart.
    """
    count = max(2, math.ceil(length / _SEGMENT_PX))
    turns = np.convolve(rng.standard_normal(count + 8), np.ones(9) / 3.0, "valid")
    headings = angle + np.cumsum(turns) * bend / (3.0 * math.sqrt(count))
    steps = (length / count) * np.stack([np.sin(headings), np.cos(headings)], 1)
    return np.asarray(np.cumsum(np.vstack([np.asarray(start)[None], steps]), 0))


def add_curve(canvas: np.ndarray, points: np.ndarray, radii_px: np.ndarray, weight: float) -> None:
    """Adds the thickness of a tube in pixels, times a weight: 2 sqrt(r^2 - d^2) at distance d from its axis.

    A tube does not add to itself, two tubes that cross do. Parts outside the canvas are left out.

    Args:
        canvas: float32 [height, width]; changed in place.
        points: float [points, 2]; its axis (row, column) in pixels, points at most some 10 pixels apart.
        radii_px: float [points].
        weight: Factor.
    """
    radii = np.maximum(radii_px, _LEAST_RADIUS_PX)
    # The same cross-section, spread over more pixels.
    fainter = (radii_px / radii) ** 2
    reach = math.ceil(float(radii.max())) + 1
    top, left = (max(0, math.floor(float(points[:, axis].min())) - reach) for axis in (0, 1))
    bottom, right = (
        min(side, math.ceil(float(points[:, axis].max())) + reach + 1) for axis, side in enumerate(canvas.shape)
    )
    if top >= bottom or left >= right:
        return
    tube = np.zeros((bottom - top, right - left), np.float32)
    for first, second, radius, factor in zip(points[:-1], points[1:], radii[:-1], fainter[:-1], strict=True):
        _add_segment(tube, first - (top, left), second - (top, left), float(radius), float(factor))
    canvas[top:bottom, left:right] += np.float32(weight) * tube


def _add_segment(tube: np.ndarray, first: np.ndarray, second: np.ndarray, radius: float, factor: float) -> None:
    reach = math.ceil(radius) + 1
    top, left = (max(0, math.floor(min(first[axis], second[axis])) - reach) for axis in (0, 1))
    bottom, right = (
        min(side, math.ceil(max(first[axis], second[axis])) + reach + 1) for axis, side in enumerate(tube.shape)
    )
    if top >= bottom or left >= right:
        return
    rows = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(first[0])
    columns = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(first[1])
    along = second - first
    square = max(float(along @ along), 1e-9)
    share = np.clip((rows * np.float32(along[0]) + columns * np.float32(along[1])) / np.float32(square), 0.0, 1.0)
    distance2 = (rows - share * np.float32(along[0])) ** 2 + (columns - share * np.float32(along[1])) ** 2
    thickness = np.sqrt(np.maximum(np.float32(radius * radius) - distance2, 0.0)) * np.float32(2.0 * factor)
    window = tube[top:bottom, left:right]
    np.maximum(window, thickness, out=window)
