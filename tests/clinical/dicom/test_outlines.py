import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calcseg_tf.clinical.dicom.outlines import MOST_POINTS, outline_calcification, outline_cluster
from calcseg_tf.clinical.statistics import measure
from calcseg_tf.probability_map import to_codes
from data_prep.mammogram import SpacingSource
from tests.clinical.dicom.making import drawn


def _traced(probability):
    codes = to_codes(probability)
    statistics = measure(codes, np.zeros(codes.shape, np.float32), 0.5, None, SpacingSource.UNKNOWN)
    return statistics, {found.id: outline_calcification(codes, 0.5, found) for found in statistics.calcifications}


def _area(outline):
    column, row = outline[:-1].T
    return abs(float(np.sum(column * np.roll(row, -1) - np.roll(column, -1) * row))) / 2


def test_the_outline_of_one_pixel_is_a_diamond_about_its_centre():
    _, outlines = _traced(drawn(".....", "...9.", "....."))
    outline = outlines[1]
    np.testing.assert_array_equal(outline[0], outline[-1])
    assert {tuple(point) for point in outline} == {(3.0, 1.5), (4.0, 1.5), (3.5, 1.0), (3.5, 2.0)}


def test_a_rectangle_at_the_corner_of_the_image_is_traced_within_it():
    _, outlines = _traced(drawn("...99", "...99", "....."))
    assert outlines[1].min(axis=0).tolist() == [3.0, 0.0]
    assert outlines[1].max(axis=0).tolist() == [5.0, 2.0]
    assert _area(outlines[1]) == pytest.approx(3.5)  # four pixels less four cut corners of an eighth


def test_the_outline_of_a_ring_is_its_outer_border():
    _, outlines = _traced(drawn(".......", ".99999.", ".9...9.", ".9...9.", ".99999.", "......."))
    assert outlines[1].min(axis=0).tolist() == [1.0, 1.0]
    assert outlines[1].max(axis=0).tolist() == [6.0, 5.0]


def test_a_diagonal_is_one_outline():
    statistics, outlines = _traced(drawn("9....", ".9...", "..9..", "...9."))
    assert statistics.count == 1
    assert outlines[1].min(axis=0).tolist() == [0.0, 0.0]
    assert outlines[1].max(axis=0).tolist() == [4.0, 4.0]


def test_others_that_reach_into_the_box_are_not_taken_for_it():
    statistics, outlines = _traced(drawn("9.....", "9...9.", "9.....", "9.....", "999999"))
    assert [found.area_px for found in statistics.calcifications] == [1, 10]
    assert outlines[1].min(axis=0).tolist() == [4.0, 1.0]
    assert outlines[2].min(axis=0).tolist() == [0.0, 0.0]
    assert outlines[2].max(axis=0).tolist() == [6.0, 5.0]


def test_two_with_one_centroid_are_told_apart_by_area():
    ring = np.zeros((7, 7), np.float32)
    ring[1, 1:6] = ring[5, 1:6] = ring[1:6, 1] = ring[1:6, 5] = ring[3, 3] = 1
    statistics, outlines = _traced(ring)
    assert [found.area_px for found in statistics.calcifications] == [1, 16]
    assert _area(outlines[1]) < 1 < 16 < _area(outlines[2])


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 14), st.integers(1, 17)), elements=st.sampled_from([0, 0, 1])))
def test_every_outline_holds_the_centroid_s_box_and_no_other_pixel_of_the_image_s_rim(probability):
    statistics, outlines = _traced(probability)
    height, width = probability.shape
    for found in statistics.calcifications:
        outline = outlines[found.id]
        np.testing.assert_array_equal(outline[0], outline[-1])
        assert (outline.min(axis=0) >= 0).all()
        assert (outline.max(axis=0) <= (width, height)).all()
        low, high = outline.min(axis=0), outline.max(axis=0)
        assert low[0] <= found.column + 0.5 <= high[0]
        assert low[1] <= found.row + 0.5 <= high[1]
        assert found.area_px <= (high - low).prod()


def test_a_ragged_outline_is_shortened_and_keeps_its_extent_within_a_few_pixels():
    comb = np.zeros((300, 1401), np.float32)
    comb[0] = 1
    comb[:, ::2] = 1
    _, outlines = _traced(comb)
    assert len(outlines[1]) == MOST_POINTS
    np.testing.assert_array_equal(outlines[1][0], outlines[1][-1])
    assert outlines[1].max(axis=0) == pytest.approx([1401, 300], abs=9)


def test_the_hull_of_a_cluster_is_closed_and_in_corner_coordinates():
    probability = np.zeros((20, 20), np.float32)
    for row, column in ((2, 3), (2, 9), (8, 3), (8, 9), (5, 5)):
        probability[row, column] = 1
    statistics = measure(probability, probability, 0.5, (0.1, 0.1), SpacingSource.PIXEL_SPACING)
    (cluster,) = statistics.clusters
    outline = outline_cluster(cluster)
    np.testing.assert_array_equal(outline[0], outline[-1])
    assert {tuple(point) for point in outline} == {(3.0, 2.0), (10.0, 2.0), (10.0, 9.0), (3.0, 9.0)}
