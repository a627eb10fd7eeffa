import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calcseg_tf.evaluation.froc import LOWEST_CODE, SweepCounts
from calcseg_tf.evaluation.protocols.zamir import count_zamir
from data_prep import mask as mask_values
from tests.evaluation import reference
from tests.evaluation.drawing import at, codes_of, mask_of


def test_hand_drawn_counts_at_every_threshold():
    # Two calcifications: upper left (best 4), upper right (best 2). Three false alarms: 1, 3 and 2.
    mask = mask_of(
        "xx....x",
        "x......",
        ".......",
        ".......",
    )
    codes = codes_of(
        ".4....2",
        ".......",
        "1..3...",
        "......2",
    )
    counts = count_zamir(codes, mask)
    assert counts.objects == 2
    assert at(counts.detected) == [2, 2, 1, 1]
    assert at(counts.false_positives) == [3, 2, 1, 0]


def test_one_shared_pixel_detects_and_clears_and_a_neighbour_does_not():
    mask = mask_of("..x..", ".....", "x....")
    codes = codes_of("..444", ".....", ".4...")
    counts = count_zamir(codes, mask)
    assert at(counts.detected) == [1, 1, 1, 1]
    assert at(counts.false_positives) == [1, 1, 1, 1]


def test_one_predicted_component_may_detect_several_calcifications():
    counts = count_zamir(codes_of("44444"), mask_of("x.x.x"))
    assert counts.objects == 3
    assert at(counts.detected) == [3, 3, 3, 3]
    assert at(counts.false_positives) == [0, 0, 0, 0]


def test_false_alarms_merge_as_the_threshold_falls():
    counts = count_zamir(codes_of("41414", ".....", "2.3.."), mask_of(".....", ".....", "....."))
    assert at(counts.false_positives) == [3, 5, 4, 3]


def test_what_lies_on_ignored_pixels_alone_is_neither():
    mask = mask_of("?????..", "?????..", "......x")
    codes = codes_of("444....", ".......", "......4")
    counts = count_zamir(codes, mask)
    assert at(counts.detected) == [1, 1, 1, 1]
    assert at(counts.false_positives) == [0, 0, 0, 0]


def test_what_reaches_beyond_ignored_pixels_is_a_false_alarm():
    counts = count_zamir(codes_of("4444..."), mask_of("???...."))
    assert at(counts.false_positives) == [1, 1, 1, 1]


def test_nothing_predicted_gives_nothing():
    counts = count_zamir(np.zeros((3, 3), np.uint16), mask_of("x..", "...", "..x"))
    assert (counts.objects, at(counts.detected), at(counts.false_positives)) == (2, [0] * 4, [0] * 4)


def test_an_object_is_found_from_its_highest_pixel_down_and_never_below_the_floor():
    codes = np.array([[5000, 65535, 0, LOWEST_CODE, 0, LOWEST_CODE - 1]], np.uint16)
    counts = count_zamir(codes, mask_of("xx.x.x"))
    assert counts.objects == 3
    assert at(counts.detected, (LOWEST_CODE, LOWEST_CODE + 1, 5001, 65535)) == [2, 1, 1, 1]


def test_a_plateau_is_one_component_however_it_winds():
    codes = codes_of("3333333", "......3", "33333.3", "3...3.3", "3.3.3.3", "333.333")
    assert at(count_zamir(codes, np.zeros(codes.shape, np.uint8)).false_positives) == [1, 1, 1, 0]
    assert at(count_zamir(codes, np.zeros(codes.shape, np.uint8), 4).false_positives) == [1, 1, 1, 0]


def test_a_false_alarm_ends_where_it_merges_with_what_touches_a_calcification():
    counts = count_zamir(codes_of("3.2213.3"), mask_of("x......."))
    assert at(counts.false_positives) == [2, 3, 2, 0]
    counts = count_zamir(codes_of("31221313"), mask_of("x......."))
    assert at(counts.false_positives) == [0, 3, 2, 0]


@pytest.mark.parametrize("connectivity", [4, 8])
def test_the_sweep_agrees_with_labelling_anew_at_every_code(connectivity):
    for codes, mask in reference.random_cases(seed=connectivity, count=500):
        counts = count_zamir(codes, mask, connectivity)
        found = np.stack([counts.detected, counts.false_positives])
        for label in (reference.label_scipy, reference.label_cc3d):
            expected = reference.sweep(codes, mask, lambda *case, by=label: reference.zamir(*case, connectivity, by))
            assert (found == expected).all()


_SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
_IMAGES = _SHAPES.flatmap(
    lambda shape: st.tuples(
        hnp.arrays(np.uint16, shape, elements=st.sampled_from([0, 163, 164, 165, 1000, 2000, 3500, 4000, 65535])),
        hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 1, 255])),
    )
)


@settings(max_examples=50, deadline=None)
@given(_IMAGES, st.sampled_from([4, 8]))
def test_the_sweep_agrees_with_flood_fill(image, connectivity):
    codes, mask = image
    counts = count_zamir(codes, mask, connectivity)
    for code in [164, 165, 166, 1000, 1500, 2000, 3501, 4000, 65535]:
        expected = reference.zamir_by_flood_fill(codes, mask, code, connectivity)
        index = code - LOWEST_CODE
        assert (counts.objects, counts.detected[index], counts.false_positives[index]) == expected


@settings(max_examples=30, deadline=None)
@given(_IMAGES, st.integers(0, 65535))
def test_the_probability_on_ignored_pixels_changes_nothing(image, other):
    codes, mask = image
    changed = np.where(mask == mask_values.IGNORE, np.uint16(other), codes)
    _assert_same(count_zamir(codes, mask), count_zamir(changed, mask))


@settings(max_examples=30, deadline=None)
@given(_IMAGES, st.integers(0, 3), st.booleans())
def test_rotating_and_mirroring_change_no_count(image, turns, mirror):
    turned = [np.rot90(each[:, ::-1] if mirror else each, turns) for each in image]
    _assert_same(count_zamir(*image), count_zamir(*turned))


def _assert_same(one: SweepCounts, two: SweepCounts) -> None:
    assert one.objects == two.objects
    np.testing.assert_array_equal(one.detected, two.detected)
    np.testing.assert_array_equal(one.false_positives, two.false_positives)
