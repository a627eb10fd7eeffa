"""How a careful engineer cuts an image for a runtime that likes equal sizes; shared by all peers. NumPy alone."""

import dataclasses
from collections.abc import Callable

import numpy as np

__all__ = ["Span", "predict_in_windows", "spans"]


@dataclasses.dataclass(frozen=True)
class Span:
    """One window along one axis, in px; ends are exclusive.

    Attributes:
        start: Where it reads from.
        stop: Where it reads to.
        first: Where what is kept of its answer begins.
        last: Where that ends.
    """

    start: int
    stop: int
    first: int
    last: int


def spans(length: int, most: int, halo: int) -> list[Span]:
    """Cuts an axis into windows of one size, at most `most` px, as few as can be and no wider than they must.

    A window at the image's border begins there, so that the network's zero padding is the image's own; elsewhere what
    lies within `halo` px of a window's edge is thrown away.
    """
    if most <= 2 * halo:
        raise ValueError(f"a window must be wider than its halos of {2 * halo} px; found {most}")
    count = 1 if length <= most else -(-(length - 2 * halo) // (most - 2 * halo))
    size = length if count == 1 else -(-(length - 2 * halo) // count) + 2 * halo
    found: list[Span] = []
    for number in range(count):
        start = min(number * (size - 2 * halo), length - size)
        last = length if number == count - 1 else start + size - halo
        found.append(Span(start, start + size, found[-1].last if found else 0, last))
    return found


def predict_in_windows(
    network: Callable[[np.ndarray], np.ndarray], image: np.ndarray, most: int, halo: int
) -> np.ndarray:
    """Applies a network to an image in windows; equal to the whole image in one pass.

    Args:
        network: Maps [height, width] to an array of the same shape.
        image: [height, width].
        most: Widest window in px; 0 takes the whole image in one pass.
        halo: How far an output pixel sees, in px.
    """
    if not most:
        return network(image)
    result: np.ndarray | None = None
    for row in spans(image.shape[0], most, halo):
        for column in spans(image.shape[1], most, halo):
            window = np.ascontiguousarray(image[row.start : row.stop, column.start : column.stop])
            answer = network(window)
            if result is None:
                result = np.empty(image.shape, answer.dtype)
            result[row.first : row.last, column.first : column.last] = answer[
                row.first - row.start : row.last - row.start, column.first - column.start : column.last - column.start
            ]
    assert result is not None
    return result
