"""Which predictions may find which objects under `hdogreg`, and how many objects are found, at every code.

A component of the prediction stays as it is between two codes at which it gains pixels; a pair is an object with such a
node of the component tree that is near enough or overlaps enough. An object none of whose nodes may find another one is
found wherever one of them lives. Objects that share nodes take turns, anew at each code where a node comes or goes.
"""

import bisect
import collections
import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from calcseg_tf.evaluation.component_tree import Basins, Forest, Nodes, merge, trace_nodes
from calcseg_tf.evaluation.components import AnnotatedObjects
from calcseg_tf.evaluation.froc import LOWEST_CODE
from calcseg_tf.probability_map import FULL_SCALE

__all__ = ["Pairs", "count_found", "find_pairs"]

_MOST_DISTANCE_PX = 5.0
_SQUARE_PX = 7  # from a centroid's pixel, 7 px back and 6 px on
_LEAST_IOU = 0.3


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Objects and the nodes that may find them; by object, the one that it prefers first.

    Attributes:
        owner: int64 [pairs], the object.
        node: int64 [pairs], the same number for the same node.
        high: int64 [pairs]; the node lives at the codes low to high, both inclusive.
        low: int64 [pairs].
    """

    owner: np.ndarray
    node: np.ndarray
    high: np.ndarray
    low: np.ndarray


def find_pairs(objects: AnnotatedObjects, basins: Basins) -> Pairs:
    """Finds the pairs: centroids within 5 px, or IoU of at least 0.3.

    Args:
        objects: The annotation's.
        basins: Of the filled prediction.
    """
    square_owner, square = _squares(objects.centroid, basins.shape)
    basins = basins.around(np.concatenate([square, objects.pixels]))
    forest = merge(basins)
    nodes = trace_nodes(basins, forest, LOWEST_CODE)
    own = np.repeat(np.arange(len(objects)), objects.area_px)
    found = [np.zeros((5, 0))]
    for owner, name, codes in _memberships(basins, forest, square_owner, square):
        found.append(_near(objects, nodes, owner, name, codes))
    for owner, name, codes in _memberships(basins, forest, own, objects.pixels):
        found.append(_overlapping(objects, nodes, owner, name, codes))
    owner, rule, badness, tie, node = np.concatenate(found, axis=1)
    order = np.lexsort((tie, badness, rule, owner))
    node = node[order].astype(np.int64)
    return Pairs(owner[order].astype(np.int64), node, nodes.high[node], nodes.low[node])


def _near(objects: AnnotatedObjects, nodes: Nodes, owner: int, name: int, codes: np.ndarray) -> np.ndarray:
    """Returns the nodes of a name whose centroid is near; float64 [5, nodes], as `_columns`."""
    where = nodes.of(name)
    area = nodes.area[where]
    row, column = objects.centroid[owner]
    distance = np.sqrt((row - nodes.rows[where] / area) ** 2 + (column - nodes.columns[where] / area) ** 2)
    # A pixel of the square comes to the name together with its node, so that no node is cut in two.
    good = (distance <= _MOST_DISTANCE_PX) & (nodes.high[where] <= codes[-1])
    node = where.start + np.flatnonzero(good)
    return _columns(owner, 0, distance[good], -nodes.top[node], node)  # among the nearest, the last label


def _overlapping(objects: AnnotatedObjects, nodes: Nodes, owner: int, name: int, codes: np.ndarray) -> np.ndarray:
    """Returns the nodes of a name that overlap enough; float64 [5, nodes], as `_columns`."""
    where = nodes.of(name)
    shared = len(codes) - np.searchsorted(codes, nodes.high[where])
    overlap = shared / (objects.area_px[owner] + nodes.area[where] - shared)
    good = overlap >= _LEAST_IOU
    node = where.start + np.flatnonzero(good)
    return _columns(owner, 1, -overlap[good], nodes.top[node], node)  # among the greatest, the first label


def _columns(owner: int, rule: int, badness: np.ndarray, tie: np.ndarray, node: np.ndarray) -> np.ndarray:
    """Stacks owner, rule (0 distance, 1 overlap), badness (lower is preferred), what breaks ties, and node."""
    return np.stack([np.full(len(node), owner), np.full(len(node), rule), badness, tie, node])


def _memberships(
    basins: Basins, forest: Forest, owner: np.ndarray, pixels: np.ndarray
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Tells with which components the pixels of owners are connected.

    Yields:
        An owner; a name of a component; int64 [n], ascending: for each of the owner's pixels that are ever part of a
        component of that name, the highest code at which it is.
    """
    index, present = basins.index_of(pixels)
    owner, index = owner[present], index[present]
    code = basins.values[index].astype(np.int64)
    name = forest.find(basins.basin[index], code)
    steps = []
    while len(name):
        steps.append(np.stack([owner, name, code]))
        joins = forest.joined[name] >= 0
        owner, name = owner[joins], name[joins]
        name, code = forest.parent[name], forest.joined[name]
    if not steps:
        return
    owner, name, code = np.concatenate(steps, axis=1)
    order = np.lexsort((code, name, owner))
    owner, name, code = owner[order], name[order], code[order]
    changes = np.flatnonzero((owner[1:] != owner[:-1]) | (name[1:] != name[:-1])) + 1
    for begin, codes in zip([0, *changes.tolist()], np.split(code, changes), strict=True):
        yield int(owner[begin]), int(name[begin]), codes


def _squares(centroid: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pixels around each centroid: whose they are, and row * width + column."""
    steps = np.arange(-_SQUARE_PX, _SQUARE_PX)
    middle = centroid.astype(np.int64)[:, :, None] + steps  # [objects, 2, 14]
    row, column = np.broadcast_arrays(middle[:, 0, :, None], middle[:, 1, None, :])
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    return np.nonzero(inside)[0], (row * shape[1] + column)[inside]


def count_found(pairs: Pairs, is_dot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts the objects found at every code of the sweep.

    Args:
        pairs: Of an image.
        is_dot: bool [objects].

    Returns:
        found: int64 [65536 - LOWEST_CODE].
        found_dots: int64 [65536 - LOWEST_CODE], the dots among them.
    """
    # What is gained from one code to the next higher one; by objects that are no dots, and by dots.
    steps = np.zeros((2, FULL_SCALE + 2 - LOWEST_CODE), np.int64)
    for group in _groups(pairs, len(is_dot)):
        first, last = pairs.owner[group[[0, -1]]]
        if first == last:
            steps[int(is_dot[first])] += _alone(pairs, group)
        else:
            _take_turns(pairs, group, is_dot, steps)
    regions, dots = steps.cumsum(axis=1)[:, :-1]
    return regions + dots, dots


def _groups(pairs: Pairs, objects: int) -> list[np.ndarray]:
    """Parts the pairs so that no two parts share an object or a node; int64 [n] each, ascending."""
    used, node = np.unique(pairs.node, return_inverse=True)
    count = objects + len(used)
    graph = coo_array((np.ones(len(node)), (pairs.owner, objects + node)), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    label = label[pairs.owner]
    order = np.argsort(label, kind="stable")
    return [part for part in np.split(order, np.flatnonzero(np.diff(label[order])) + 1) if len(part)]


def _alone(pairs: Pairs, group: np.ndarray) -> np.ndarray:
    """Returns +1 where an object that shares no node begins to be found, -1 where that ends, by ascending code."""
    change = np.zeros(FULL_SCALE + 2 - LOWEST_CODE, np.int64)
    np.add.at(change, pairs.low[group] - LOWEST_CODE, 1)
    np.add.at(change, pairs.high[group] + 1 - LOWEST_CODE, -1)
    return np.diff((change.cumsum() > 0).astype(np.int64), prepend=0)


def _take_turns(pairs: Pairs, group: np.ndarray, is_dot: np.ndarray, steps: np.ndarray) -> None:
    """Adds to `steps` what a group of objects that share nodes finds."""
    # Numbered within the group, which keeps the order of preference.
    owner, node = pairs.owner[group].tolist(), pairs.node[group].tolist()
    coming, going = collections.defaultdict(list), collections.defaultdict(list)
    for pair, (high, low) in enumerate(zip(pairs.high[group].tolist(), pairs.low[group].tolist(), strict=True)):
        coming[high].append(pair)
        going[low - 1].append(pair)
    living: dict[int, list[int]] = {each: [] for each in sorted(set(owner))}
    codes = sorted(coming.keys() | going.keys(), reverse=True)
    for code, following in itertools.pairwise(codes):
        for pair in going[code]:
            living[owner[pair]].remove(pair)
        for pair in coming[code]:
            bisect.insort(living[owner[pair]], pair)
        for each in _turns(living, node):
            kind = int(is_dot[each])
            steps[kind, following + 1 - LOWEST_CODE] += 1
            steps[kind, code + 1 - LOWEST_CODE] -= 1


def _turns(living: dict[int, list[int]], node: list[int]) -> list[int]:
    """Lets each object in turn use the first node of its preference that is not used yet; returns who found one."""
    used: set[int] = set()
    finders = []
    for owner, choices in living.items():
        for pair in choices:
            if node[pair] not in used:
                used.add(node[pair])
                finders.append(owner)
                break
    return finders
