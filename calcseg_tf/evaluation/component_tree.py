"""The connected components of {values >= c} at every c, from one pass over the pixels; nothing is labelled twice.

Let each pixel point at the highest of itself and its neighbours, by (value, position). The chains end in local maxima,
the peaks, and part the pixels into basins. A pixel is connected with its peak at its own value already, so that only
two kinds of events change how many components there are: a peak appears, one more; two components meet in a saddle, one
less. The saddles that count are the edges of a maximum spanning forest of the graph of basins, which is weighted by the
saddles between neighbours. It is NumPy over the pixels at or above a floor, and SciPy over the few basins.
"""

import dataclasses
import functools

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from calcseg_tf.evaluation.pixel_graph import look_around
from data_prep.errors import InputError

__all__ = ["Basins", "Forest", "Nodes", "at_or_above", "find_basins", "merge", "spanning_forest", "trace_nodes"]

_HIGHEST = 65535
_MOST_BASINS = (
    11_000_000  # two of their numbers and a value are packed into 63 bits; white noise has 200,000 a megapixel
)


@dataclasses.dataclass(frozen=True, eq=False)
class Basins:
    """Pixels of an image, each with the peak that it rises to, and the saddles between neighbouring basins.

    Attributes:
        shape: (height, width).
        pixels: int64 [pixels], ascending; row * width + column.
        values: uint16 [pixels].
        basin: int64 [pixels]; `len(peaks)` is the outside.
        peaks: uint16 [basins], the highest value of each.
        first: int64 [pairs]; with `second` each pair of neighbouring basins once, first < second.
        second: int64 [pairs]; `len(peaks)` is the outside.
        saddles: int64 [pairs]; the highest value at which the two are connected by a step from one to the other.
    """

    shape: tuple[int, ...]
    pixels: np.ndarray
    values: np.ndarray
    basin: np.ndarray
    peaks: np.ndarray
    first: np.ndarray
    second: np.ndarray
    saddles: np.ndarray

    def index_of(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Looks pixels up.

        Args:
            pixels: int64 [n], row * width + column.

        Returns:
            index: int64 [n], into `pixels`; meaningless where there is none.
            found: bool [n].
        """
        index = np.searchsorted(self.pixels, pixels)
        index[index == len(self.pixels)] = 0
        found = self.pixels[index] == pixels if len(self.pixels) else np.zeros(len(pixels), bool)
        return index, found

    def around(self, pixels: np.ndarray) -> "Basins":
        """Returns what is connected with some of the pixels, at the floor; without an outside.

        Args:
            pixels: int64 [n], row * width + column; one that is below the floor is connected with nothing.
        """
        count = len(self.peaks)
        graph = coo_array((np.ones(len(self.first)), (self.first, self.second)), shape=(count, count))
        _, group = connected_components(graph, directed=False)
        index, found = self.index_of(pixels)
        wanted = np.zeros(count, bool)
        wanted[group[self.basin[index[found]]]] = True
        kept = wanted[group]  # [basins]
        number = np.cumsum(kept) - 1
        pixel, pair = kept[self.basin], kept[self.first]
        return dataclasses.replace(
            self,
            pixels=self.pixels[pixel],
            values=self.values[pixel],
            basin=number[self.basin[pixel]],
            peaks=self.peaks[kept],
            first=number[self.first[pair]],
            second=number[self.second[pair]],
            saddles=self.saddles[pair],
        )


def find_basins(
    pixels: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, ...],
    connectivity: int = 8,
    with_outside: bool = False,
) -> Basins:
    """Parts pixels into basins; in some 130 bytes of memory a pixel of them where there is nothing but noise.

    Args:
        pixels: int64 [pixels], ascending; row * width + column. Others take no part.
        values: uint16 [pixels].
        shape: (height, width).
        connectivity: 8 or 4.
        with_outside: Whether the other pixels of the image take part after all, as one thing, the outside, which is
            connected within itself and nowhere lower than a neighbour.

    Raises:
        InputError: More than 11 million local maxima, as a map of 55 megapixels of noise may have.
    """
    count = len(pixels)
    rank = (values.astype(np.int64) << 32) | np.arange(1, count + 1)  # by value, then position
    highest, beside_outside = rank.copy(), np.zeros(count, bool)
    for band, around in look_around(pixels, rank, shape, connectivity):
        highest[band] = functools.reduce(np.maximum, around, highest[band])
        if with_outside:
            beside_outside[band] = functools.reduce(np.logical_or, (each == 0 for each in around))
    pointer = (highest & 0xFFFFFFFF) - 1
    pointer[beside_outside] = count
    pointer = np.append(pointer, count)  # the outside points at itself
    while True:
        onward = pointer[pointer]
        if np.array_equal(onward, pointer):
            break
        pointer = onward
    is_peak = pointer[:-1] == np.arange(count)
    outside = int(np.count_nonzero(is_peak))
    basin = np.append(np.cumsum(is_peak) - 1, outside)[pointer[:-1]]
    first, second, saddles = _saddles(pixels, values, basin, outside, shape, connectivity)
    return Basins(shape, pixels, values, basin, values[is_peak], first, second, saddles)


def _saddles(
    pixels: np.ndarray, values: np.ndarray, basin: np.ndarray, outside: int, shape: tuple[int, ...], connectivity: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns each pair of neighbouring basins once, first < second, with the highest saddle between them."""
    if outside >= _MOST_BASINS:
        raise InputError(f"a probability map may have {_MOST_BASINS} local maxima; found {outside}")
    steps = [1, shape[1]] if connectivity == 4 else [1, shape[1] - 1, shape[1], shape[1] + 1]
    name = (basin + 1).astype(np.int32)
    packed = [np.zeros(0, np.int64)]
    for band, around in look_around(pixels, name, shape, connectivity, later_only=True):
        across = [np.flatnonzero((other != name[band]) & (other > 0)) + band.start for other in around]
        one = np.concatenate(across)
        neighbours = [pixels[each] + step for each, step in zip(across, steps, strict=True)]
        two = np.searchsorted(pixels, np.concatenate(neighbours))
        low, high = np.minimum(basin[one], basin[two]), np.maximum(basin[one], basin[two])
        packed.append(((low * (outside + 1) + high) << 16) | np.minimum(values[one], values[two]))
    together = np.unique(np.concatenate(packed))
    pair = together >> 16
    last = np.flatnonzero(np.append(pair[1:] != pair[:-1], True)[: len(pair)])
    first, second = np.divmod(pair[last], outside + 1)
    return first, second, together[last] & _HIGHEST


def spanning_forest(count: int, first: np.ndarray, second: np.ndarray, saddles: np.ndarray) -> np.ndarray:
    """Finds a maximum spanning forest.

    Args:
        count: Nodes, numbered from 0.
        first: int64 [edges]; with `second` each pair at most once.
        second: int64 [edges].
        saddles: int64 [edges], 0 to 65535, their weights.

    Returns:
        int64 [edges of the forest, 3]: first, second, saddle.
    """
    # Kruskal's in C minimises, and takes 0 for no edge.
    graph = coo_array((_HIGHEST + 1.0 - saddles, (first, second)), shape=(count, count)).tocsr()
    forest = minimum_spanning_tree(graph).tocoo()
    return np.stack([forest.row, forest.col, _HIGHEST + 1 - forest.data], axis=1).astype(np.int64)


def at_or_above(values: np.ndarray, lowest: int) -> np.ndarray:
    """Returns how many values are at or above lowest, lowest + 1, ..., 65535; int64 [65536 - lowest].

    Args:
        values: Integers [n], up to 65535.
        lowest: The floor; a value below it counts nowhere.
    """
    counted = values[values >= lowest].astype(np.int64) - lowest
    histogram = np.bincount(counted, minlength=_HIGHEST + 1 - lowest)
    return np.asarray(histogram[::-1].cumsum()[::-1])


@dataclasses.dataclass(frozen=True, eq=False)
class Forest:
    """How basins merge as the threshold falls: the smaller group joins the larger, which keeps its name.

    At a code c the components are the basins with joined < c <= peak, each the name of those that lead to it. The
    larger group, by basins, keeps the name so that no way up has more than log2(basins) steps.

    Attributes:
        parent: int64 [basins], what each joined; itself where it joined none.
        joined: int64 [basins], the code at which it did; -1 where it joined none.
    """

    parent: np.ndarray
    joined: np.ndarray

    def find(self, basin: np.ndarray, code: np.ndarray) -> np.ndarray:
        """Returns the names of the components at codes, int64 [n].

        Args:
            basin: int [n].
            code: int [n], each at most the basin's peak.
        """
        name = basin.astype(np.int64)
        rising = np.flatnonzero(self.joined[name] >= code)
        while len(rising):
            name[rising] = self.parent[name[rising]]
            rising = rising[self.joined[name[rising]] >= code[rising]]
        return name


def merge(basins: Basins, with_outside: bool = False) -> Forest:
    """Merges basins from the highest saddle down.

    Args:
        basins: Of an image.
        with_outside: Whether the outside takes part; it keeps its name, `len(basins.peaks)`.
    """
    count = len(basins.peaks) + with_outside
    edges = spanning_forest(count, basins.first, basins.second, basins.saddles)
    edges = edges[np.argsort(-edges[:, 2], kind="stable")]
    parent, joined, size = list(range(count)), [-1] * count, [1] * count
    if with_outside:
        size[-1] = count
    for one, two, saddle in edges.tolist():
        while parent[one] != one:
            one = parent[one]
        while parent[two] != two:
            two = parent[two]
        if size[one] < size[two]:
            one, two = two, one
        parent[two] = one
        joined[two] = saddle
        size[one] += size[two]
    return Forest(np.array(parent, np.int64), np.array(joined, np.int64))


@dataclasses.dataclass(frozen=True, eq=False)
class Nodes:
    """Every component at every code: a component as it is between two codes at which it gains pixels.

    Sorted by name, then by descending code.

    Attributes:
        name: int64 [nodes], as in `Forest`.
        high: int64 [nodes]; it is so at the codes low to high, both inclusive.
        low: int64 [nodes].
        area: int64 [nodes], pixels.
        rows: int64 [nodes], the sum of its pixels' rows.
        columns: int64 [nodes].
        top: int64 [nodes], its first pixel, row * width + column.
    """

    name: np.ndarray
    high: np.ndarray
    low: np.ndarray
    area: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    top: np.ndarray

    def of(self, name: int) -> slice:
        """Returns where the nodes of a name stand."""
        return slice(*np.searchsorted(self.name, [name, name + 1]))


def trace_nodes(basins: Basins, forest: Forest, lowest: int) -> Nodes:
    """Measures every component at every code from `lowest` up.

    Args:
        basins: Of an image; none of its pixels may belong to the outside.
        forest: Their merging.
        lowest: The floor.
    """
    count = len(forest.parent)
    name = forest.find(basins.basin, basins.values)
    levels = _deepest_first(forest)
    # What each name gains, and at which code: its own pixels, and others that join it with all that they have.
    present = _totals(np.ones_like(name), name, forest, levels)
    joining = np.flatnonzero((forest.joined >= 0) & (present > 0))
    gaining = np.concatenate([name, forest.parent[joining]])
    code = np.concatenate([basins.values.astype(np.int64), forest.joined[joining]])
    order = np.argsort((gaining << 16) | (_HIGHEST - code), kind="stable")
    gaining, code = gaining[order], code[order]
    ends = np.append((gaining[1:] != gaining[:-1]) | (code[1:] != code[:-1]), True)[: len(gaining)]
    of, high = gaining[ends], code[ends]
    low = np.append(high[1:], 0) + 1
    final = np.append(of[1:] != of[:-1], True)[: len(of)]
    low[final] = np.maximum(forest.joined[of[final]] + 1, lowest)
    alive = low <= high
    begins = np.flatnonzero(np.append(True, gaining[1:] != gaining[:-1])[: len(gaining)])
    lengths = np.diff(np.append(begins, len(gaining)))

    def summed(own: np.ndarray) -> np.ndarray:
        gained = np.concatenate([own, _totals(own, name, forest, levels)[joining]])[order]
        running = gained.cumsum()
        running -= np.repeat(running[begins] - gained[begins], lengths)
        return np.asarray(running[ends][alive])

    first = np.full(count, np.iinfo(np.int32).max)
    np.minimum.at(first, name, basins.pixels)
    for level in levels:
        np.minimum.at(first, forest.parent[level], first[level])
    # One running minimum for all names: what a later name gains lies below what every earlier one does.
    top = np.concatenate([basins.pixels, first[joining]])[order] - (gaining << 32)
    top = np.minimum.accumulate(top) + (gaining << 32)
    return Nodes(
        name=of[alive],
        high=high[alive],
        low=low[alive],
        area=summed(np.ones_like(name)),
        rows=summed(basins.pixels // basins.shape[1]),
        columns=summed(basins.pixels % basins.shape[1]),
        top=top[ends][alive],
    )


def _totals(own: np.ndarray, name: np.ndarray, forest: Forest, levels: list[np.ndarray]) -> np.ndarray:
    """Sums the pixels' own values over all that ever is part of each name; int64 [basins]."""
    totals = np.bincount(name, own, len(forest.parent)).astype(np.int64)
    for level in levels:
        np.add.at(totals, forest.parent[level], totals[level])
    return totals


def _deepest_first(forest: Forest) -> list[np.ndarray]:
    """Returns the names that joined another by their steps to the last, those with most first; int64 [n] each."""
    name, above = np.arange(len(forest.parent)), forest.parent
    depth = np.zeros(len(name), np.int64)
    while (moved := above != name).any():
        depth += moved
        name, above = above, forest.parent[above]
    return [np.flatnonzero(depth == each) for each in range(depth.max(initial=0), 0, -1)]
