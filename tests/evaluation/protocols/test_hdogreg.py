import numpy as np
import pytest

from calcseg_tf.evaluation.froc import LOWEST_CODE
from calcseg_tf.evaluation.protocols.hdogreg import MOST_PER_CM2, MOST_PER_IMAGE, HdogregCounts, count_hdogreg
from tests.evaluation import reference
from tests.evaluation.drawing import at, codes_of, mask_of

_FRAME_PX = 9  # what surrounds a drawing must not be a small hole itself


def _count(codes: np.ndarray, mask: np.ndarray) -> HdogregCounts:
    return count_hdogreg(np.pad(codes, _FRAME_PX), np.pad(mask, _FRAME_PX))


def test_a_dot_and_a_region_are_counted_apart():
    codes = codes_of("4........", "......33.", ".........")
    mask = mask_of("x........", ".....xxx.", ".........")
    counts = _count(codes, mask)
    assert (counts.all.objects, counts.dots, counts.regions.objects) == (2, 1, 1)
    assert at(counts.all.detected) == [2, 2, 2, 1]
    assert at(counts.detected_dots) == [1, 1, 1, 1]
    assert at(counts.regions.detected) == [1, 1, 1, 0]
    assert at(counts.all.false_positives) == [0, 0, 0, 0]
    assert at(counts.regions.false_positives) == [0, 0, 0, 0]
    assert (counts.only_dots.objects, at(counts.only_dots.detected)) == (1, [1, 1, 1, 1])
    assert at(counts.only_dots.false_positives) == [0, 0, 0, 0]


def test_five_pixels_away_is_near_enough_and_six_are_not():
    assert at(_count(codes_of(".....4"), mask_of("x.....")).all.detected) == [1] * 4
    assert at(_count(codes_of("......4"), mask_of("x......")).all.detected) == [0] * 4


def test_an_overlap_without_near_centroids_needs_an_iou_of_three_tenths():
    # 6 of 6 + 20 - 6: exactly 0.3; the centroids are 7 px apart. One pixel less is too little.
    mask = mask_of("x" * 20)
    assert at(_count(codes_of("4" * 6 + "." * 14), mask).all.detected) == [1] * 4
    counts = _count(codes_of("4" * 5 + "." * 15), mask)
    assert at(counts.all.detected) == [0] * 4
    assert at(counts.all.false_positives) == [1] * 4


def test_a_prediction_that_grows_comes_near_or_overlaps_enough_at_a_lower_code():
    # Below the dot that is always found; 6 px away at 4000, 5 at 3000, where two more pixels join.
    blank = ["......."] * 9
    counts = _count(codes_of("4......", *blank, "....334"), mask_of("x......", *blank, "x......"))
    assert at(counts.all.detected) == [2, 2, 2, 1]
    assert at(counts.all.false_positives) == [0, 0, 0, 1]
    # An IoU of 5 / 20 at 4000, of 6 / 20 at 3000.
    blank = ["." * 20] * 9
    mask = mask_of("x" + "." * 19, *blank, "x" * 20)
    counts = _count(codes_of("4" + "." * 19, *blank, "444443" + "." * 14), mask)
    assert at(counts.all.detected) == [2, 2, 2, 1]
    assert at(counts.all.false_positives) == [0, 0, 0, 1]


def test_a_prediction_serves_one_object():
    # Both objects are near the one prediction; the first takes it.
    counts = _count(codes_of("..4.."), mask_of("x...x"))
    assert at(counts.all.detected) == [1] * 4
    assert at(counts.all.false_positives) == [0] * 4
    # With a second one below, both are served.
    counts = _count(codes_of("..4..", ".....", "..3.."), mask_of("x...x", ".....", "....."))
    assert at(counts.all.detected) == [2, 2, 2, 1]
    assert at(counts.all.false_positives) == [0] * 4


def test_two_predictions_that_merge_serve_one_object():
    counts = _count(codes_of("4.3.4", "33333"), mask_of("x...x", "....."))
    assert at(counts.all.detected) == [1, 1, 1, 2]
    assert at(counts.all.false_positives) == [0] * 4


def test_the_nearest_is_taken_which_may_cost_the_next_object_its_own():
    # The upper object takes the prediction beside it, the lower one's only one.
    counts = _count(codes_of("4......", "......4", "......."), mask_of(".......", "...x...", "......."))
    assert at(counts.all.detected) == [1] * 4
    assert at(counts.all.false_positives) == [1] * 4


def test_a_near_centroid_comes_before_a_great_overlap():
    # The row of 20 px overlaps the left prediction by 0.3 and is near the right one; so is the dot below, left without.
    mask = mask_of("x" * 20, "." * 20, "." * 20, "." * 20, "..........x.........")
    codes = codes_of("444444..............", "." * 20, "..........4.........", "." * 20, "." * 20)
    counts = _count(codes, mask)
    assert at(counts.all.detected) == [1] * 4
    assert at(counts.all.false_positives) == [1] * 4


def test_of_equal_overlaps_the_first_prediction_is_taken_and_of_equal_distances_the_last():
    row, blank = "444444........444444", "." * 20
    left, right = "..x.................", ".................x.."
    for dots, found in ((left, 1), (right, 2)):
        counts = _count(codes_of(row, blank, blank), mask_of("x" * 20, blank, dots))
        assert at(counts.all.detected) == [found] * 4
    # The upper dot has one prediction on each side, 3 px away; only one of them is near the lower dot.
    for dots, found in (("x......", 2), ("......x", 1)):
        counts = _count(codes_of("4.....4", ".......", "......."), mask_of("...x...", ".......", dots))
        assert at(counts.all.detected) == [found] * 4


def test_predictions_join_across_edges_and_not_across_corners():
    counts = _count(codes_of("4.", ".4"), mask_of("..", ".."))
    assert at(counts.all.false_positives) == [2] * 4


def test_small_holes_are_filled_before_all_else():
    # The frame's hole of 5 x 5 is filled: 49 px, all of them annotated.
    ring = np.pad(np.zeros((5, 5), np.uint16), 1, constant_values=4000)
    counts = _count(ring, np.ones((7, 7), np.uint8))
    assert at(counts.all.detected) == [1] * 4
    # A dot inside the hole makes no second prediction.
    ring[3, 3] = 3000
    assert at(_count(ring, np.ones((7, 7), np.uint8)).all.false_positives) == [0] * 4


@pytest.mark.parametrize(("rows", "columns", "predictions"), [(8, 8, 1), (5, 13, 2)])
def test_a_hole_of_63_px_is_small_and_one_of_64_is_not(rows, columns, predictions):
    # A dot stands in the hole, of 64 - 1 and of 65 - 1 px: filled, the hole joins it to the ring.
    ring = np.pad(np.zeros((rows, columns), np.uint16), 1, constant_values=4000)
    ring[3, 3] = 4000
    assert at(_count(ring, np.zeros(ring.shape, np.uint8)).all.false_positives) == [predictions] * 4


def test_the_partial_areas_end_where_the_authors_let_them():
    assert (MOST_PER_CM2, MOST_PER_IMAGE) == (1.0, 100.0)  # false alarms a cm2 and an image


def test_a_hole_over_ignored_pixels_is_not_filled():
    codes, mask = codes_of("444", "4.4", "444"), mask_of("...", ".?.", "...")
    counts = _count(codes, mask)
    assert at(counts.all.false_positives) == [1] * 4
    codes[1, 1] = 65535
    assert (_count(codes, mask).all.false_positives == counts.all.false_positives).all()


def test_an_ignored_pixel_closes_no_ring():
    codes = codes_of("44444", "4...4", "4.4.4", "4...4", "44444")
    for gap, predictions in ((".", 1), ("?", 2)):  # filled, the hole joins its dot to the ring
        counts = _count(codes, mask_of(".....", ".....", ".....", ".....", f"..{gap}.."))
        assert at(counts.all.false_positives) == [predictions] * 4


def test_only_predictions_with_a_pixel_in_the_square_are_asked():
    # A ring of radius 8 around a dot: its centroid is the dot, none of its pixels is in the square. Too large a hole.
    rows, columns = np.indices((25, 25)) - 12
    ring = np.where(np.maximum(abs(rows), abs(columns)) == 8, 4000, 0).astype(np.uint16)
    mask = np.zeros((25, 25), np.uint8)
    mask[12, 12] = 1
    assert at(_count(ring, mask).all.detected) == [0] * 4
    # At 7 px it has: the square goes 7 px back, and 6 on.
    # With a spoke from 3000 down, one of its pixels is.
    ring[5, 12] = 3000
    assert at(_count(ring, mask).all.detected) == [1, 1, 1, 0]
    ring = np.where(np.maximum(abs(rows), abs(columns)) == 7, 4000, 0).astype(np.uint16)
    assert at(_count(ring, mask).all.detected) == [1] * 4


def test_without_objects_every_prediction_is_a_false_alarm():
    counts = _count(codes_of("4.3"), mask_of("..."))
    assert (counts.all.objects, at(counts.all.detected), at(counts.all.false_positives)) == (0, [0] * 4, [2, 2, 2, 1])
    counts = _count(np.zeros((3, 3), np.uint16), mask_of("x..", "...", "..x"))
    assert (counts.all.objects, at(counts.all.detected), at(counts.all.false_positives)) == (2, [0] * 4, [0] * 4)


def _assert_agrees(codes: np.ndarray, mask: np.ndarray) -> None:
    counts = count_hdogreg(codes, mask)
    found = np.stack([counts.all.detected, counts.detected_dots, counts.all.false_positives])
    assert (found == reference.sweep(codes, mask, reference.hdogreg)).all()


@pytest.mark.parametrize(("seed", "count", "most", "frame_px"), [(41, 150, 12, 0), (42, 150, 12, 9), (43, 25, 26, 0)])
def test_the_sweep_agrees_with_matching_anew_at_every_code(seed, count, most, frame_px):
    for codes, mask in reference.random_cases(seed, count, most):
        _assert_agrees(np.pad(codes, frame_px), np.pad(mask, frame_px))


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "count", "most", "frame_px"), [(44, 1000, 12, 9), (45, 300, 26, 0), (46, 10, 60, 9)])
def test_the_sweep_agrees_with_matching_anew_at_every_code_many_times(seed, count, most, frame_px):
    for codes, mask in reference.random_cases(seed, count, most):
        _assert_agrees(np.pad(codes, frame_px), np.pad(mask, frame_px))


def test_nothing_below_the_floor_is_predicted():
    counts = _count(np.full((1, 1), LOWEST_CODE - 1, np.uint16), mask_of("x"))
    assert counts.all.detected.max() == 0
    assert _count(np.full((1, 1), LOWEST_CODE, np.uint16), mask_of("x")).all.detected.tolist()[:2] == [1, 0]
