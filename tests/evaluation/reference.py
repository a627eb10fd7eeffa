"""Slow, plain versions of what the room computes, written from the definitions, to compare with."""

from collections.abc import Callable, Iterator

import cc3d
import numpy as np
from scipy import ndimage
from skimage import measure
from skimage.morphology import remove_small_holes

from calcseg_tf.evaluation.froc import LOWEST_CODE
from data_prep.mask import CALCIFICATION, IGNORE

_STEPS = {
    4: [(-1, 0), (1, 0), (0, -1), (0, 1)],
    8: [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)],
}


def components(foreground: np.ndarray, connectivity: int) -> list[set[tuple[int, int]]]:
    """Flood fill."""
    left = {(int(row), int(column)) for row, column in np.argwhere(foreground)}
    found = []
    while left:
        component, edge = set(), [left.pop()]
        while edge:
            row, column = edge.pop()
            component.add((row, column))
            for down, right in _STEPS[connectivity]:
                neighbour = (row + down, column + right)
                if neighbour in left:
                    left.remove(neighbour)
                    edge.append(neighbour)
        found.append(component)
    return found


def zamir_by_flood_fill(codes: np.ndarray, mask: np.ndarray, code: int, connectivity: int) -> tuple[int, int, int]:
    """Returns calcifications, detected ones and false alarms at one threshold."""
    truth = components(mask == CALCIFICATION, connectivity)
    predicted = components((codes >= code) & (mask != IGNORE), connectivity)
    detected = sum(any(each & other for other in predicted) for each in truth)
    false = sum(not any(each & other for other in truth) for each in predicted)
    return len(truth), detected, false


def label_scipy(foreground: np.ndarray, connectivity: int) -> tuple[np.ndarray, int]:
    return ndimage.label(foreground, np.ones((3, 3)) if connectivity == 8 else None)


def label_cc3d(foreground: np.ndarray, connectivity: int) -> tuple[np.ndarray, int]:
    return cc3d.connected_components(foreground.astype(np.uint8), connectivity=connectivity, return_N=True)


def zamir(
    codes: np.ndarray, mask: np.ndarray, code: int, connectivity: int, label: Callable = label_scipy
) -> tuple[int, int]:
    """Returns found calcifications and false alarms at one threshold."""
    truth, _ = label(mask == CALCIFICATION, connectivity)
    predicted, count = label((codes >= code) & (mask != IGNORE), connectivity)
    both = (truth > 0) & (predicted > 0)
    return len(np.unique(truth[both])), count - len(np.unique(predicted[both]))


def sweep(codes: np.ndarray, mask: np.ndarray, count: Callable[[np.ndarray, np.ndarray, int], tuple]) -> np.ndarray:
    """Counts anew at each distinct code, and repeats that down to the next; int64 [counts, 65536 - LOWEST_CODE]."""
    steps = np.unique(np.append(codes[codes >= LOWEST_CODE], [LOWEST_CODE, 65535])).tolist()
    columns = [count(codes, mask, step) for step in steps]
    lengths = np.diff([LOWEST_CODE - 1, *steps])
    return np.repeat(np.array(columns, np.int64).T, lengths, axis=1)


def random_cases(seed: int, count: int, most: int = 14) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draws small maps and masks: smooth and rough ones, with ties, plateaus, ignored pixels, objects on borders."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        shape = random.integers(1, most + 1, 2)
        field = ndimage.gaussian_filter(random.standard_normal(shape), random.choice([0.0, 0.6, 1.5]))
        levels = int(random.choice([3, 6, 30, 5000]))
        ranks = field.ravel().argsort().argsort().reshape(shape) / max(field.size - 1, 1)
        codes = np.rint(ranks ** random.choice([0.5, 1.0, 4.0]) * levels) / levels * 65535
        mask = (random.random(shape) < random.choice([0.0, 0.1, 0.4])).astype(np.uint8)
        if random.random() < 0.5:
            mask = ndimage.binary_dilation(mask, iterations=1).astype(np.uint8)
        mask[random.random(shape) < random.choice([0.0, 0.0, 0.15])] = IGNORE
        yield codes.astype(np.uint16), mask


def hdogreg(codes: np.ndarray, mask: np.ndarray, code: int) -> tuple[int, int, int]:
    """Returns found objects, found dots and false alarms at one threshold, object by object, as the authors' code."""
    ignored = mask == IGNORE
    predicted = remove_small_holes((codes >= code) & ~ignored, max_size=63) & ~ignored
    truth_labels, _ = ndimage.label(mask == CALCIFICATION)
    labels, count = ndimage.label(predicted)
    regions = measure.regionprops(labels)
    unused, found, found_dots = set(range(1, count + 1)), 0, 0
    for truth in measure.regionprops(truth_labels):
        row, column = truth.centroid
        patch = labels[max(0, int(row) - 7) : int(row) + 7, max(0, int(column) - 7) : int(column) + 7]
        nearest, chosen = 5.0, None
        for label in sorted(unused & set(np.unique(patch).tolist())):
            there = regions[label - 1].centroid
            distance = np.sqrt((row - there[0]) ** 2 + (column - there[1]) ** 2)
            if distance <= nearest:
                nearest, chosen = distance, label
        if chosen is None:
            own = truth_labels == truth.label
            greatest = 0.0
            for label in sorted(unused & set(np.unique(labels[own]).tolist())):
                iou = (own & (labels == label)).sum() / (own | (labels == label)).sum()
                if iou > greatest:
                    greatest, best = iou, label
            if greatest >= 0.3:
                chosen = best
        if chosen is not None:
            unused.remove(chosen)
            found += 1
            found_dots += truth.area == 1
    return found, found_dots, count - found
