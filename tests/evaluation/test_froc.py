import numpy as np

from calcseg_tf.evaluation.froc import (
    FALSE_ALARM_LIMITS,
    LOWEST_CODE,
    SWEEP_CODES,
    admissible,
    froc_curve,
    operating_point,
    partial_auc,
    pool,
)
from calcseg_tf.evaluation.protocols.zamir import count_zamir
from tests.evaluation.drawing import at, codes_of, mask_of


def test_the_curve_pools_images_and_breast_areas():
    one = count_zamir(codes_of("4...3"), mask_of("x...."))
    two = count_zamir(codes_of("1.2.3"), mask_of("x.x.."))
    curve = froc_curve(pool([one, two]), 2, 4.0)
    np.testing.assert_array_equal(curve.thresholds, SWEEP_CODES / 65535)
    assert at(curve.sensitivity) == [3 / 3, 2 / 3, 1 / 3, 1 / 3]
    assert at(curve.false_positives_per_image) == [2 / 2, 2 / 2, 2 / 2, 0 / 2]
    assert at(curve.false_positives_per_cm2) == [2 / 4, 2 / 4, 2 / 4, 0 / 4]
    assert froc_curve(pool([one, two]), 2, None).false_positives_per_cm2 is None


def test_the_operating_point_is_the_lowest_threshold_within_the_limit():
    counts = count_zamir(codes_of("4...3", ".....", "2.3.1"), mask_of("x....", ".....", "x...."))
    curve = froc_curve(counts, 1, None)
    assert at(curve.false_positives_per_image) == [3, 2, 2, 0]
    point = operating_point(curve, 2.0)
    assert (point.threshold, point.sensitivity, point.false_positives_per_image) == (1001 / 65535, 1.0, 2.0)
    point = operating_point(curve, 1.0)
    assert (point.threshold, point.sensitivity, point.false_positives_per_image) == (3001 / 65535, 0.5, 0.0)


def test_one_component_over_the_whole_breast_is_no_perfect_result():
    # At the lowest threshold all is one component that touches the calcification: no false alarm, all detected.
    counts = count_zamir(codes_of("1114114", "1111111", "3113113"), mask_of("x......", ".......", "......."))
    assert at(counts.detected) == [1, 0, 0, 0]
    assert at(counts.false_positives) == [0, 5, 5, 2]
    point = operating_point(froc_curve(counts, 1, None), 1.0)
    assert (point.threshold, point.sensitivity, point.false_positives_per_image) == (4001 / 65535, 0.0, 0.0)
    assert admissible(np.array([0.0, 5.0, 5.0, 2.0]), 2.0).tolist() == [False, False, False, True]


def test_without_calcifications_there_is_no_operating_point():
    counts = count_zamir(codes_of("4.."), mask_of("..."))
    curve = froc_curve(counts, 1, None)
    assert curve.sensitivity is None
    assert operating_point(curve, 20.0) is None


def test_a_limit_per_cm2_of_breast_is_another_than_one_per_image():
    counts = count_zamir(codes_of("4...3", ".....", "2.3.1"), mask_of("x....", ".....", "x...."))
    curve = froc_curve(counts, 1, 4.0)
    assert operating_point(curve, 1.0).threshold == 3001 / 65535
    point = operating_point(curve, 1.0, per_cm2=True)  # 3 / 4 from the floor on
    assert (point.threshold, point.sensitivity, point.false_positives_per_image) == (164 / 65535, 1.0, 3.0)
    assert operating_point(froc_curve(counts, 1, None), 1.0, per_cm2=True) is None


def test_each_row_of_several_curves_is_admissible_on_its_own():
    found = admissible(np.array([[0.0, 5.0, 1.0], [1.0, 2.0, 0.0]]), 2.0)
    assert found.tolist() == [[False, False, True], [True, True, True]]


def test_pooled_counts_are_whole_numbers():
    one = count_zamir(codes_of("4"), mask_of("x"))
    both = pool([one, one])
    assert (both.objects, both.detected.dtype, both.false_positives.dtype) == (2, np.int64, np.int64)


def test_every_code_from_the_floor_up_is_counted_at():
    assert LOWEST_CODE == 164  # the lowest with p >= 0.0025
    assert SWEEP_CODES.tolist() == list(range(164, 65536))


def test_partial_area_of_a_curve_drawn_by_hand():
    # Points (0, 0), (0.25, 0.5), (0.75, 1), then level to 1: 0.0625 + 0.375 + 0.25.
    alarms, sensitivity = np.array([3.0, 0.75, 0.25]), np.array([1.0, 1.0, 0.5])
    assert partial_auc(alarms, sensitivity, 1.0) == 0.0625 + 0.375 + 0.25
    assert partial_auc(np.array([0.0]), np.array([1.0]), 100.0) == 100.0
    assert partial_auc(np.array([2.0]), np.array([1.0]), 1.0) == 0.0


def test_partial_area_takes_the_highest_of_equal_false_alarms_last():
    # (0, 0), (0, 0.5), (0.5, 0.5), (0.5, 0.75), level to 1.
    alarms, sensitivity = np.array([0.5, 0.5, 0.0]), np.array([0.75, 0.5, 0.5])
    assert partial_auc(alarms, sensitivity, 1.0) == 0.5 * 0.5 + 0.75 * 0.5


def test_partial_area_leaves_out_what_lies_beyond_an_excess():
    # Below the excess everything is one component that finds all without a false alarm.
    assert partial_auc(np.array([0.0, 5.0, 0.5]), np.array([1.0, 0.6, 0.4]), 1.0) == 0.5 * 0.4 / 2 + 0.5 * 0.4


def test_sensitivities_are_quoted_where_the_documents_and_other_tables_quote_them():
    assert FALSE_ALARM_LIMITS == (0.5, 1, 2, 5, 10, 20)
