import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calcseg_tf.evaluation.froc import admissible, count_zamir, froc_curve, operating_point, threshold_grid
from data_prep import mask as mask_values
from data_prep.components import check_mask, label_components
from data_prep.errors import InputError
from tests.evaluation import reference

_LEVELS = {".": 0, "1": 100, "2": 200, "3": 300, "4": 400}
_MASK = {".": 0, "x": 1, "?": 255}


def _codes(*rows: str) -> np.ndarray:
    return np.array([[_LEVELS[cell] for cell in row] for row in rows], np.uint16)


def _mask(*rows: str) -> np.ndarray:
    return np.array([[_MASK[cell] for cell in row] for row in rows], np.uint8)


_THRESHOLDS = np.array([100, 200, 300, 400])


def test_diagonal_neighbours_are_one_component_of_eight_and_two_of_four():
    image = np.eye(2, dtype=bool)
    assert label_components(image)[1] == 1
    labels, count = label_components(image, connectivity=4)
    assert count == 2
    assert labels.tolist() == [[1, 0], [0, 2]]


def test_background_carries_no_label():
    assert label_components(np.array([[1, 0, 0, 1]], bool))[0].tolist() == [[1, 0, 0, 2]]


@settings(max_examples=200, deadline=None)
@given(
    hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)),
    st.sampled_from([4, 8]),
)
def test_labels_are_the_flood_filled_components(foreground, connectivity):
    labels, count = label_components(foreground, connectivity)
    found = [{(int(row), int(column)) for row, column in np.argwhere(labels == each)} for each in range(1, count + 1)]
    expected = reference.components(foreground, connectivity)
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))
    assert ((labels > 0) == foreground).all()


def test_hand_drawn_counts_at_every_threshold():
    # Two calcifications: upper left (best 4), upper right (best 2). Three false alarms: 1, 3 and 2.
    mask = _mask(
        "xx....x",
        "x......",
        ".......",
        ".......",
    )
    codes = _codes(
        ".4....2",
        ".......",
        "1..3...",
        "......2",
    )
    counts = count_zamir(codes, mask, _THRESHOLDS)
    assert counts.calcifications == 2
    assert counts.detected.tolist() == [2, 2, 1, 1]
    assert counts.false_positives.tolist() == [3, 2, 1, 0]


def test_one_shared_pixel_detects_and_clears_and_a_neighbour_does_not():
    mask = _mask("..x..", ".....", "x....")
    codes = _codes("..444", ".....", ".4...")
    counts = count_zamir(codes, mask, _THRESHOLDS)
    assert counts.detected.tolist() == [1, 1, 1, 1]
    assert counts.false_positives.tolist() == [1, 1, 1, 1]


def test_one_predicted_component_may_detect_several_calcifications():
    counts = count_zamir(_codes("44444"), _mask("x.x.x"), _THRESHOLDS)
    assert counts.calcifications == 3
    assert counts.detected.tolist() == [3, 3, 3, 3]
    assert counts.false_positives.tolist() == [0, 0, 0, 0]


def test_false_alarms_merge_as_the_threshold_falls():
    counts = count_zamir(_codes("41414", ".....", "2.3.."), _mask(".....", ".....", "....."), _THRESHOLDS)
    assert counts.false_positives.tolist() == [3, 5, 4, 3]


def test_what_lies_on_ignored_pixels_alone_is_neither():
    mask = _mask("?????..", "?????..", "......x")
    codes = _codes("444....", ".......", "......4")
    counts = count_zamir(codes, mask, _THRESHOLDS)
    assert counts.detected.tolist() == [1, 1, 1, 1]
    assert counts.false_positives.tolist() == [0, 0, 0, 0]


def test_what_reaches_beyond_ignored_pixels_is_a_false_alarm():
    counts = count_zamir(_codes("4444..."), _mask("???...."), _THRESHOLDS)
    assert counts.false_positives.tolist() == [1, 1, 1, 1]


def test_nothing_predicted_gives_nothing():
    counts = count_zamir(np.zeros((3, 3), np.uint16), _mask("x..", "...", "..x"), _THRESHOLDS)
    assert (counts.calcifications, counts.detected.tolist(), counts.false_positives.tolist()) == (2, [0] * 4, [0] * 4)


_SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
_IMAGES = _SHAPES.flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.uint16, shape, elements=st.sampled_from([0, 99, 100, 150, 200, 350, 400, 65535])),
        hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 1, 255])),
    )
)


@settings(max_examples=150, deadline=None)
@given(_IMAGES, st.sampled_from([4, 8]))
def test_the_sweep_agrees_with_flood_fill_at_every_threshold(image, connectivity):
    codes, mask = image
    thresholds = np.array([1, 99, 100, 101, 150, 200, 351, 400, 65535])
    counts = count_zamir(codes, mask, thresholds, connectivity)
    for step, code in enumerate(thresholds):
        expected = reference.zamir(codes, mask, code, connectivity)
        assert (counts.calcifications, counts.detected[step], counts.false_positives[step]) == expected


@settings(max_examples=60, deadline=None)
@given(_IMAGES, st.integers(0, 65535))
def test_the_probability_on_ignored_pixels_changes_nothing(image, other):
    codes, mask = image
    changed = np.where(mask == mask_values.IGNORE, np.uint16(other), codes)
    one, two = count_zamir(codes, mask, _THRESHOLDS), count_zamir(changed, mask, _THRESHOLDS)
    assert one.calcifications == two.calcifications
    np.testing.assert_array_equal(one.detected, two.detected)
    np.testing.assert_array_equal(one.false_positives, two.false_positives)


@settings(max_examples=60, deadline=None)
@given(_IMAGES, st.integers(0, 3), st.booleans())
def test_rotating_and_mirroring_change_no_count(image, turns, mirror):
    codes, mask = image
    turned = [np.rot90(each[:, ::-1] if mirror else each, turns) for each in image]
    one, two = count_zamir(codes, mask, _THRESHOLDS), count_zamir(*turned, _THRESHOLDS)
    assert one.calcifications == two.calcifications
    np.testing.assert_array_equal(one.detected, two.detected)
    np.testing.assert_array_equal(one.false_positives, two.false_positives)


def test_more_than_255_thresholds_are_counted_too():
    thresholds = np.arange(1, 601)
    codes = np.array([[600, 0, 300, 0, 1]], np.uint16)
    counts = count_zamir(codes, np.zeros((1, 5), np.uint8), thresholds)
    assert counts.false_positives[[0, 1, 299, 300, 599]].tolist() == [3, 2, 2, 1, 1]


def test_the_grid_is_even_in_logit():
    grid = threshold_grid() / 65535
    assert len(grid) == 99
    logit = np.log(grid / (1 - grid))
    assert abs(logit[0] + 6) < 0.01
    assert logit[-1] > 9.5
    np.testing.assert_allclose(np.diff(logit)[:60], 16 / 99, atol=0.01)


def test_the_curve_pools_images_and_breast_areas():
    one = count_zamir(_codes("4...3"), _mask("x...."), _THRESHOLDS)
    two = count_zamir(_codes("1.2.3"), _mask("x.x.."), _THRESHOLDS)
    curve = froc_curve(_THRESHOLDS, [one, two], [150.0, 250.0])
    np.testing.assert_allclose(curve.thresholds, _THRESHOLDS / 65535)
    np.testing.assert_allclose(curve.sensitivity, [3 / 3, 2 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(curve.false_positives_per_image, [2 / 2, 2 / 2, 2 / 2, 0 / 2])
    np.testing.assert_allclose(curve.false_positives_per_cm2, [2 / 4, 2 / 4, 2 / 4, 0 / 4])
    assert froc_curve(_THRESHOLDS, [one, two], [150.0, None]).false_positives_per_cm2 is None


def test_the_operating_point_is_the_lowest_threshold_within_the_limit():
    counts = count_zamir(_codes("4...3", ".....", "2.3.1"), _mask("x....", ".....", "x...."), _THRESHOLDS)
    curve = froc_curve(_THRESHOLDS, [counts], [None])
    assert curve.false_positives_per_image.tolist() == [3, 2, 2, 0]
    point = operating_point(curve, 2.0)
    assert (point.threshold, point.sensitivity, point.false_positives_per_image) == (200 / 65535, 1.0, 2.0)
    point = operating_point(curve, 1.0)
    assert (point.threshold, point.sensitivity, point.false_positives_per_image) == (400 / 65535, 0.5, 0.0)


def test_one_component_over_the_whole_breast_is_no_perfect_result():
    # At the lowest threshold all is one component that touches the calcification: no false alarm, all detected.
    counts = count_zamir(_codes("1114114", "1111111", "3113113"), _mask("x......", ".......", "......."), _THRESHOLDS)
    assert counts.detected.tolist() == [1, 0, 0, 0]
    assert counts.false_positives.tolist() == [0, 5, 5, 2]
    assert operating_point(froc_curve(_THRESHOLDS, [counts], [None]), 1.0) is None
    assert admissible(np.array([0.0, 5.0, 5.0, 2.0]), 2.0).tolist() == [False, False, False, True]


def test_without_calcifications_there_is_no_operating_point():
    counts = count_zamir(_codes("4.."), _mask("..."), _THRESHOLDS)
    curve = froc_curve(_THRESHOLDS, [counts], [None])
    assert curve.sensitivity is None
    assert operating_point(curve, 20.0) is None


def test_a_mask_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"uint8 \[2, 3\]"):
        check_mask(np.zeros((3, 2), np.uint8), (2, 3))
    with pytest.raises(InputError, match="uint8"):
        check_mask(np.zeros((2, 3), bool), (2, 3))
    with pytest.raises(InputError, match=r"found \[0, 2\]"):
        check_mask(np.array([[0, 2, 0]], np.uint8), (1, 3))


def test_an_unknown_connectivity_is_refused():
    with pytest.raises(InputError, match="4 or 8"):
        label_components(np.ones((2, 2), bool), connectivity=6)
