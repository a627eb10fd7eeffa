"""Matches the calcifications of two exams one to one, once both lie in one frame."""

import numpy as np

__all__ = [
    "GATE_MM",
    "GATE_PX",
    "MOST_MATCHED",
    "NEIGHBOUR_SHARE",
    "RESIDUAL_FACTOR",
    "SIZE_WEIGHT",
    "gate_for_density",
    "gate_for_residuals",
    "match",
    "pair_gains",
    "size_costs",
]

# How far apart one calcification may lie in two exams after alignment: compression is never twice the same. Where the
# spacing is unknown, the same at 50 um a pixel.
GATE_MM = 1.0
GATE_PX = 20.0

# In a dense cluster that holds several calcifications, and what is new lies within it of what has vanished. So it is at
# most this share of the median distance to the nearest neighbour, and, once they are aligned, at most so many times the
# median distance of the matched pairs, which of normal errors 0.2 % exceed.
NEIGHBOUR_SHARE = 0.7
RESIDUAL_FACTOR = 3.0
_LEAST_SHARE = 0.1  # of the gate, however dense: 2 px at 50 um
_LEAST_RESIDUAL_SHARE = 0.3  # however well they fit: what grows to one side moves its centroid

# A ratio of e in area costs as much as 0.45 of the gate: of two candidates the likelier in size wins, and yet a
# calcification may grow.
SIZE_WEIGHT = 0.2

# Of either exam: an assignment takes the memory of their product and the time of its power of 1.5.
MOST_MATCHED = 2000


def gate_for_density(prior: np.ndarray, current: np.ndarray, most: float) -> float:
    """Returns the gate for places as dense as these, float [places, 2] of each exam, at least two."""
    from scipy.spatial import cKDTree

    nearest = min(float(np.median(cKDTree(places).query(places, k=2)[0][:, 1])) for places in (prior, current))
    return min(most, max(_LEAST_SHARE * most, NEIGHBOUR_SHARE * nearest))


def gate_for_residuals(distances: np.ndarray, dense: float, most: float) -> float:
    """Returns the gate for aligned exams.

    Args:
        distances: Of the matched pairs after alignment, float [pairs], at least one.
        dense: Of `gate_for_density`.
        most: The gate that was asked for.
    """
    return min(dense, max(_LEAST_RESIDUAL_SHARE * most, RESIDUAL_FACTOR * float(np.median(distances))))


def pair_gains(prior: np.ndarray, current: np.ndarray, size_cost: np.ndarray, gate: float) -> np.ndarray:
    """Returns how well each prior calcification agrees with each current one, in [0, 1]; float [prior, current].

    1 - (distance / gate)^2 - `SIZE_WEIGHT` ln(area ratio)^2, and 0 where that is less: no match.

    Args:
        prior: float [prior, 2], places in the frame of the current exam.
        current: float [current, 2], places.
        size_cost: float [prior, current], of `size_costs`.
        gate: In the unit of the places.
    """
    squared = ((prior[:, None] - current[None]) ** 2).sum(axis=2)
    return np.maximum(0.0, 1.0 - squared / gate**2 - size_cost)


def size_costs(prior_area: np.ndarray, current_area: np.ndarray) -> np.ndarray:
    """Returns what a difference of size costs a pair, float [prior, current]: `SIZE_WEIGHT` ln(area ratio)^2.

    Args:
        prior_area: Positive, [prior], in any unit.
        current_area: [current], in the same unit.
    """
    return np.asarray(SIZE_WEIGHT * np.log(prior_area[:, None] / current_area[None]) ** 2)


def match(gains: np.ndarray) -> np.ndarray:
    """Returns the one-to-one pairs of the highest sum of gains, int64 [pairs, 2], by prior.

    Args:
        gains: float [prior, current]; pairs of gain 0 are none.
    """
    from scipy.optimize import linear_sum_assignment

    pairs = np.stack(linear_sum_assignment(gains, maximize=True), axis=1)
    return np.asarray(pairs[gains[pairs[:, 0], pairs[:, 1]] > 0.0], np.int64)
