"""Who neighbours whom in a list of pixels: what is few is labelled and swept without touching the whole image again."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["label_pixels", "neighbours", "touching_others"]


def neighbours(pixels: np.ndarray, width: int, connectivity: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Finds the pairs of neighbouring pixels.

    Args:
        pixels: int64 [pixels], ascending; row * width + column.
        width: Of the image.
        connectivity: 8 or 4.

    Returns:
        The pairs of each direction: int32 [pairs], numbers in the list, of the earlier pixels and of the later ones.
        No number stands twice in either.
    """
    pitch = width + 1  # a gap at the end of each row: its last pixel is no neighbour of the next row's first
    position = np.append(pixels + pixels // width, np.iinfo(np.int64).max)
    own = position[:-1]
    beside = np.flatnonzero(position[1:] == own + 1).astype(np.int32)
    pairs = [(beside, beside + 1)]
    # Of the pixels below those that are there stand one behind the other in the list.
    steps = [0] if connectivity == 4 else [-1, 0, 1]
    below = np.searchsorted(position, own + (pitch + steps[0])).astype(np.int32)
    for step in steps:
        is_there = position[below] == own + (pitch + step)
        upper = np.flatnonzero(is_there).astype(np.int32)
        pairs.append((upper, below[upper]))
        below += is_there
    return pairs


def label_pixels(pixels: np.ndarray, width: int, connectivity: int) -> tuple[np.ndarray, int]:
    """Labels the connected components of pixels, from 0 on in the order of their first pixel.

    Args:
        pixels: int64 [pixels], ascending; row * width + column.
        width: Of the image.
        connectivity: 8 or 4.

    Returns:
        label: int64 [pixels].
        count: The number of components.
    """
    one, two = (np.concatenate(each) for each in zip(*neighbours(pixels, width, connectivity), strict=True))
    shape = (len(pixels), len(pixels))
    _, label = connected_components(coo_array((np.ones(len(one), bool), (one, two)), shape=shape), directed=False)
    names, first, number = np.unique(label, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number], len(names)


def touching_others(
    pixels: np.ndarray, shape: tuple[int, ...], pairs: list[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Tells which pixels have a neighbour in the image that is not in the list; bool [pixels].

    Args:
        pixels: int64 [pixels], ascending; row * width + column.
        shape: (height, width).
        pairs: Of `neighbours`.
    """
    row, column = np.divmod(pixels, shape[1])
    down = 1 + (row > 0) + (row < shape[0] - 1)
    across = 1 + (column > 0) + (column < shape[1] - 1)
    expected = down + across - 2 if len(pairs) == 2 else down * across - 1
    present = sum(np.bincount(each, minlength=len(pixels)) for pair in pairs for each in pair)
    return np.asarray(present < expected)
