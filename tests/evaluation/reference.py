"""Slow, plain versions of what the room computes, written from the definitions, to compare with."""

import numpy as np

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


def zamir(codes: np.ndarray, mask: np.ndarray, code: int, connectivity: int) -> tuple[int, int, int]:
    """Returns calcifications, detected ones and false alarms at one threshold."""
    truth = components(mask == CALCIFICATION, connectivity)
    predicted = components((codes >= code) & (mask != IGNORE), connectivity)
    detected = sum(any(each & other for other in predicted) for each in truth)
    false = sum(not any(each & other for other in truth) for each in predicted)
    return len(truth), detected, false
