import math

import numpy as np
import pytest

from benchmarks.follow_up import count_right, draw_pair
from calcseg_tf.clinical.alignment import Motion, align
from calcseg_tf.clinical.matching import match, pair_gains

# Seven places in mm, of no symmetry.
_PLACES = np.array([(0, 0), (1, 7), (4, 2), (6, 9), (9, 1), (10, 6), (3, 5)], np.float64)
_AREAS = np.array([0.1, 0.3, 0.05, 0.2, 0.6, 0.15, 0.08])


def _turned(places, degrees, scale=1.0):
    """Against the clock as displayed: a row further down is a lower one."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rows, columns = places.T
    return scale * np.stack([rows * cosine - columns * sine, rows * sine + columns * cosine], axis=1)


@pytest.mark.parametrize(("motion", "scale"), [(Motion.RIGID, 1.0), (Motion.SIMILARITY, 0.9), (Motion.SIMILARITY, 1.1)])
def test_an_exact_motion_is_found_exactly(motion, scale):
    current = _turned(_PLACES, 20, scale) + np.array([31.0, -12.0])
    found = align(_PLACES, current[::-1], _AREAS, _AREAS[::-1], 1.0, motion)
    np.testing.assert_array_equal(found.pairs, [(each, 6 - each) for each in range(7)])
    assert found.transform.rotation_deg == pytest.approx(20)
    assert found.transform.scale == pytest.approx(scale)
    np.testing.assert_allclose(found.transform.apply(_PLACES), current, atol=1e-9)
    np.testing.assert_allclose(found.transform.invert(current), _PLACES, atol=1e-9)


def test_a_quarter_turn_against_the_clock_brings_the_right_to_the_top():
    np.testing.assert_allclose(_turned(np.array([(0.0, 1.0)]), 90), [(-1.0, 0.0)], atol=1e-12)


@pytest.mark.parametrize("count", [(6, 9), (10, 16)])
def test_known_motions_are_found_though_a_fifth_is_new_and_a_fifth_has_vanished(count):
    random = np.random.default_rng(11)
    persisted = matched = right = 0
    for _ in range(40):
        pair = draw_pair(random, count, 0.2, 0.2)
        found = align(pair.prior, pair.current, pair.prior_area, pair.current_area, 1.0)
        persisted += len(pair.same)
        matched += len(found.pairs)
        right += count_right(found, pair)
    assert right >= 0.95 * persisted
    assert right >= 0.95 * matched


def test_in_a_dense_cluster_what_is_new_is_not_taken_for_what_has_vanished():
    random = np.random.default_rng(14)
    aligned = persisted = matched = right = 0
    for _ in range(25):
        # A cluster of 2 to 4 mm: several calcifications lie within the gate of each.
        pair = draw_pair(random, (10, 16), 0.2, 0.2)
        found = align(pair.prior / 5, pair.current / 5, pair.prior_area, pair.current_area, 1.0)
        aligned += found.transform is not None
        persisted += len(pair.same)
        matched += len(found.pairs)
        right += count_right(found, pair)
        assert 0.1 <= found.gate < 1.0
    assert aligned >= 23
    assert right >= 0.95 * matched
    assert right >= 0.9 * persisted


def test_what_grew_to_one_side_is_matched_among_those_that_fit_exactly():
    moved = _PLACES + 5
    moved[3] += 0.2
    found = align(_PLACES, moved, _AREAS, _AREAS * [1, 1, 1, 4, 1, 1, 1], 1.0)
    np.testing.assert_array_equal(found.pairs, [(each, each) for each in range(7)])


def test_what_does_not_correspond_is_seldom_aligned():
    random = np.random.default_rng(12)
    aligned = 0
    for _ in range(60):
        pair = draw_pair(random, (8, 14), 0.2, 1.0)
        found = align(pair.prior, pair.current, pair.prior_area, pair.current_area, 1.0)
        aligned += found.transform is not None
        assert (found.reason == "") == (found.transform is not None)
    assert aligned <= 9


def test_another_breast_is_not_aligned():
    mirrored = align(_PLACES, _PLACES * (1, -1), _AREAS, _AREAS, 1.0)
    assert (mirrored.transform, len(mirrored.pairs)) == (None, 0)
    assert "no motion explains clearly more" in mirrored.reason


def test_three_are_too_few_and_thousands_too_many():
    few = align(_PLACES[:3], _PLACES, _AREAS[:3], _AREAS, 1.0)
    assert few.transform is None
    assert "needs 4 calcifications in either exam; found 3" in few.reason
    many = np.random.default_rng(0).uniform(0, 100, (2001, 2))
    assert "at most 2000" in align(_PLACES, many, _AREAS, np.ones(2001), 1.0).reason
    assert align(np.zeros((0, 2)), _PLACES, np.zeros(0), _AREAS, 1.0).transform is None


def test_places_that_coincide_are_no_motion():
    same = np.ones((6, 2))
    assert align(same, same, np.ones(6), np.ones(6), 1.0).transform is None


def test_an_affine_motion_is_found_and_needs_eight():
    random = np.random.default_rng(5)
    prior = random.uniform(0, 16, (20, 2))
    area = random.uniform(0.05, 0.5, 20)
    matrix = np.array([[1.08, 0.06], [-0.02, 0.93]])
    found = align(prior, prior @ matrix.T + (3, 4), area, area, 1.0, Motion.AFFINE)
    assert found.transform.motion is Motion.AFFINE
    np.testing.assert_allclose(found.transform.matrix, matrix, atol=1e-9)
    np.testing.assert_array_equal(found.pairs[:, 0], found.pairs[:, 1])
    few = align(_PLACES, _PLACES + 5, _AREAS, _AREAS, 1.0, Motion.AFFINE)
    assert few.transform.motion is Motion.SIMILARITY
    assert "needs 8 matched" in few.reason


def test_the_same_exams_give_the_same_alignment():
    pair = draw_pair(np.random.default_rng(3), (30, 30), 0.2, 0.2)
    first, second = (align(pair.prior, pair.current, pair.prior_area, pair.current_area, 1.0) for _ in range(2))
    assert first.transform == second.transform
    np.testing.assert_array_equal(first.pairs, second.pairs)


def test_matching_is_one_to_one_and_takes_the_best_sum():
    # The first is nearest to the only one that the second can have.
    gains = pair_gains(np.array([(0.0, 0.0), (0.0, 1.3)]), np.array([(0.0, 0.5), (0.0, -0.6)]), np.zeros((2, 2)), 1.0)
    np.testing.assert_allclose(gains, [(0.75, 0.64), (0.36, 0.0)])
    np.testing.assert_array_equal(match(gains), [(0, 1), (1, 0)])
    assert len(match(np.zeros((2, 3)))) == 0
