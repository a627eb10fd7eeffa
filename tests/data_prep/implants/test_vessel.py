import itertools
import math

import numpy as np
import pytest

from data_prep.implants.vessel import draw_vessel


def vessel(seed, length=20.0, least_gap=0.15):
    return draw_vessel(length, least_gap, np.random.default_rng(seed))


def distances(points, others):
    """From each point to the nearest of the others."""
    return np.hypot(*(points[:, None, :2] - others[None, :, :2]).T).min(axis=0)


@pytest.mark.parametrize("seed", range(10))
def test_two_walls_run_one_to_three_mm_apart(seed):
    first, second = (np.concatenate(wall) for wall in vessel(seed))
    # It narrows by at most a quarter; within a bend, and where the other wall is bare, the nearest point lies askew.
    assert distances(first, second).min() > 0.7
    assert 0.7 < np.median(distances(first, second)) < 3.5


@pytest.mark.parametrize("seed", range(10))
def test_each_wall_is_a_chain_of_dashes_with_gaps(seed):
    for wall in vessel(seed, least_gap=0.2):
        assert len(wall) >= 4
        for dash, following in itertools.pairwise(wall):
            assert math.dist(dash[-1, :2], following[0, :2]) > 0.19  # a chord is a little shorter than its arc
        lengths = [np.hypot(*np.diff(dash[:, :2], axis=0).T).sum() for dash in wall]
        assert 0.2 < min(lengths) <= max(lengths) <= 4.0


def test_a_course_is_bent_and_as_long_as_asked():
    for seed in range(5):
        wall = np.concatenate(vessel(seed, length=30.0)[0])
        steps = np.diff(wall[:, :2], axis=0)
        assert 20.0 < np.hypot(*steps.T).sum() < 36.0
        headings = np.unwrap(np.arctan2(*steps.T))
        assert np.ptp(headings) > 0.15


def test_walls_are_beaded():
    widths = np.concatenate([np.concatenate(wall)[:, 2] for seed in range(5) for wall in vessel(seed)])
    assert widths.min() > 0.02
    assert widths.max() < 0.3
    assert widths.std() > 0.2 * widths.mean()


def test_same_generator_same_vessel():
    for wall, again in zip(vessel(3), vessel(3), strict=True):
        for dash, same in zip(wall, again, strict=True):
            np.testing.assert_array_equal(dash, same)
