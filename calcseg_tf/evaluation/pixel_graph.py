"""Who neighbours whom in a list of pixels: what is few is labelled and swept without touching the whole image again."""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["label_pixels", "look_around"]

_BAND_PX = 1 << 17


def look_around(
    pixels: np.ndarray, painted: np.ndarray, shape: tuple[int, ...], connectivity: int, later_only: bool = False
) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """Tells what is painted on the neighbours of pixels.

    The image is painted in bands of rows that stay in the processor's cache, three times as fast as all at once.

    Args:
        pixels: int64 [pixels], ascending; row * width + column.
        painted: Positive integers [pixels].
        shape: (height, width).
        connectivity: 8 or 4.
        later_only: Whether to look at those neighbours alone that come later, so that each pair is seen once.

    Yields:
        Which pixels, and for the neighbour on each side of them what is painted there: 0 where it is not in the list,
        -1 where it is beyond the image.
    """
    height, width = shape
    pitch = width + 1  # what lies beyond the end of one row lies before the beginning of the next
    steps = [1, pitch] if connectivity == 4 else [1, pitch - 1, pitch, pitch + 1]
    steps += [] if later_only else [-step for step in steps]
    rows = max(1, _BAND_PX // pitch)
    canvas = np.empty((rows + 2) * pitch + 1, painted.dtype)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        edges = np.array([top - 1, top, bottom, bottom + 1])
        above, begin, end, below = np.searchsorted(pixels, edges * width)
        if begin == end:
            continue
        canvas[:] = 0
        canvas[::pitch] = -1
        if top == 0:
            canvas[:pitch] = -1
        if bottom == height:
            canvas[(bottom - top + 1) * pitch :] = -1
        position = pixels[above:below] + (pixels[above:below] // width - (top - 1) * pitch + 1)
        canvas[position] = painted[above:below]
        position = position[begin - above : end - above] - (pitch + 1)
        yield slice(begin, end), [canvas[pitch + 1 + step :].take(position) for step in steps]


def label_pixels(pixels: np.ndarray, shape: tuple[int, ...], connectivity: int) -> tuple[np.ndarray, int]:
    """Labels the connected components of pixels, from 0 on in the order of their first pixel.

    Args:
        pixels: int64 [pixels], ascending; row * width + column.
        shape: (height, width).
        connectivity: 8 or 4.

    Returns:
        label: int64 [pixels].
        count: The number of components.
    """
    count = len(pixels)
    pairs = [np.zeros((2, 0), np.int64)]
    for band, around in look_around(
        pixels, np.arange(1, count + 1, dtype=np.int32), shape, connectivity, later_only=True
    ):
        own = np.arange(band.start, band.stop)
        pairs += [np.stack([own, other - 1])[:, other > 0] for other in around]
    one, two = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(one), bool), (one, two)), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    names, first, number = np.unique(label, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number], len(names)
