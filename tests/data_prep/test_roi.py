import math

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon

from data_prep.roi import count_outside, draw_roi, drawing_steps


def drawn(points, size=(6, 8), radius=0.0):
    mask = np.zeros(size, np.uint8)
    draw_roi(mask, np.array(points, np.float64).reshape(-1, 2), 1, radius)
    return ["".join(".#"[pixel] for pixel in row) for row in mask]


NOTHING = ["........"] * 6


def test_no_point_draws_nothing():
    assert drawn([]) == NOTHING


def test_a_point_is_the_pixel_that_holds_it():
    expected = [*NOTHING[:2], "...#....", *NOTHING[3:]]
    for point in [(2, 3), (2.5, 3.5), (2.999, 3.999)]:
        assert drawn([point]) == expected


def test_two_points_are_two_pixels_and_no_line():
    assert drawn([(1.2, 1.9), (1.2, 5.1)]) == [NOTHING[0], ".#...#..", *NOTHING[2:]]


def test_two_points_in_one_pixel_are_one_pixel():
    assert drawn([(1.2, 1.1), (1.9, 1.8)]) == [NOTHING[0], ".#......", *NOTHING[2:]]


@pytest.mark.parametrize(
    ("radius", "expected"),
    [
        (0.9, [*NOTHING[:2], "...#....", *NOTHING[3:]]),
        (1.0, ["........", "...#....", "..###...", "...#....", "........", "........"]),
        (1.5, ["........", "..###...", "..###...", "..###...", "........", "........"]),
        (2.0, ["...#....", "..###...", ".#####..", "..###...", "...#....", "........"]),
    ],
)
def test_a_radius_makes_a_spot_around_the_pixel(radius, expected):
    assert drawn([(2.7, 3.2)], radius=radius) == expected


def test_a_spot_is_cut_at_the_frame():
    assert drawn([(0, 0)], radius=1) == ["##......", "#.......", *NOTHING[2:]]
    assert drawn([(-1, 0)], radius=1) == ["#.......", *NOTHING[1:]]
    assert drawn([(-0.5, 3)]) == NOTHING
    assert drawn([(3, 8.0)]) == NOTHING


def test_a_rectangle_between_pixels_has_its_exact_area():
    assert drawn([(1, 2), (1, 5), (4, 5), (4, 2)]) == [
        "........",
        "..###...",
        "..###...",
        "..###...",
        "........",
        "........",
    ]


def test_a_pixel_is_inside_when_its_centre_is():
    # Centres of rows 1 to 3 are inside; of the columns 2.4 lies left of the centre 2.5, 5.6 right of 5.5.
    expected = [NOTHING[0], *["..####.."] * 3, *NOTHING[:2]]
    assert drawn([(1.4, 2.4), (1.4, 5.6), (3.6, 5.6), (3.6, 2.4)]) == expected
    expected = [*NOTHING[:2], "...##...", *NOTHING[3:]]
    assert drawn([(1.6, 2.6), (1.6, 5.4), (3.4, 5.4), (3.4, 2.6)]) == expected


def test_a_triangle_is_filled():
    # Row r holds the centres left of the hypotenuse x = 6 - y: columns below 5 - r; centres on it belong to the right.
    assert drawn([(0, 0), (6, 0), (0, 6)]) == ["#####...", "####....", "###.....", "##......", "#.......", "........"]


def test_a_hollow_of_the_outline_stays_empty():
    assert (
        drawn([(0, 0), (6, 0), (6, 3), (3, 3), (3, 5), (6, 5), (6, 8), (0, 8)]) == ["########"] * 3 + ["###..###"] * 3
    )


@pytest.mark.parametrize(
    "points",
    [
        [(2.1, 3.1), (2.1, 3.3), (2.3, 3.1)],  # within a pixel, off its centre
        [(2.0, 3.0)] * 3,  # no area, on a corner of pixels
        [(2.2, 3.2), (2.3, 3.3), (2.2, 3.2), (2.3, 3.3)],
    ],
)
def test_the_smallest_outline_is_one_pixel(points):
    assert drawn(points) == [*NOTHING[:2], "...#....", *NOTHING[3:]]


def test_an_outline_without_width_is_the_pixels_that_it_passes():
    assert drawn([(2.2, 1.5), (2.2, 6.5), (2.2, 3.0)]) == [*NOTHING[:2], ".######.", *NOTHING[3:]]
    assert drawn([(0.5, 0.2), (4.5, 4.2), (0.5, 0.2)]) == [
        "#.......",
        "##......",
        ".##.....",
        "..##....",
        "...##...",
        "........",
    ]


def test_two_parts_joined_by_a_thin_neck_stay_one_region():
    # Two squares of 9 pixels; the neck from row 2.6 to 2.7 holds no centre, so the outline's pixels are added: of the
    # squares they lie inside already.
    left, right = [(1.1, 0.1), (1.1, 2.9), (2.6, 2.9)], [(2.6, 5.1), (1.1, 5.1), (1.1, 7.9), (3.9, 7.9), (3.9, 5.1)]
    points = [*left, *right, (2.7, 5.1), (2.7, 2.9), (3.9, 2.9), (3.9, 0.1)]
    assert drawn(points) == [NOTHING[0], "###..###", "########", "###..###", *NOTHING[:2]]


def test_a_crossed_outline_is_filled_on_both_sides():
    # Two triangles whose tips meet at (3, 4): by their centres two pieces, which the pixels of the outline join.
    assert drawn([(0, 0), (6, 8), (0, 8), (6, 0)]) == [
        "##....##",
        "###..###",
        "########",
        "########",
        "###..###",
        "##....##",
    ]


def test_an_outline_is_cut_at_the_frame():
    assert drawn([(-3, -3), (-3, 2), (2, 2), (2, -3)]) == ["##......", "##......", *NOTHING[2:]]
    assert drawn([(-60000, -60000), (-60000, 60000), (60000, 60000), (60000, -60000)]) == ["########"] * 6
    assert drawn([(9, 0), (9, 3), (12, 3)]) == NOTHING
    assert drawn([(0, 8.0), (0, 9), (3, 9)]) == NOTHING


def test_points_outside_are_counted():
    points = np.array([(0, 0), (5.99, 7.99), (6, 0), (0, 8), (-0.01, 3)])
    assert count_outside(points, (6, 8)) == 3


def test_drawing_takes_steps_by_rows_columns_and_corners():
    assert drawing_steps(np.zeros((2, 2)), (6, 8)) == 0
    assert drawing_steps(np.array([(0.0, 0.0), (3.0, 0.0), (0.0, 1.5)]), (6, 8)) == (4 + 2) * 203
    assert drawing_steps(np.array([(-9.0, -9.0), (99.0, 0.0), (0.0, 99.0)]), (6, 8)) == (6 + 8) * 203


def fill(points, size):
    filled = np.zeros(size, np.uint8)
    filled[polygon(points[:, 0] - 0.5, points[:, 1] - 0.5, size)] = 1
    return filled


def pieces(mask):
    return cc3d.connected_components(np.ascontiguousarray(mask), connectivity=8, return_N=True)[1]


# No edge between such corners passes through the centre of a pixel, where our convention is not scikit-image's.
_COORDINATES = st.integers(0, 19_999).map(lambda number: number / 1000)
_CORNERS = st.lists(st.tuples(_COORDINATES, _COORDINATES), min_size=3, max_size=9).map(
    lambda corners: np.add(corners, (math.pi * 1e-6, math.sqrt(2) * 1e-6))
)


@settings(max_examples=200, deadline=None)
@given(_CORNERS)
def test_one_outline_is_one_component_that_holds_what_scikit_image_fills(points):
    mask, filled = np.zeros((20, 20), np.uint8), fill(points, (20, 20))
    draw_roi(mask, points, 1)
    assert pieces(mask) == 1
    if pieces(filled) == 1:
        np.testing.assert_array_equal(mask, filled)
    else:
        assert (mask >= filled).all()


@settings(max_examples=100, deadline=None)
@given(_CORNERS, st.integers(-15, 15), st.integers(-15, 15))
def test_a_frame_shows_of_a_region_what_lies_in_it(points, down, right):
    frame = np.zeros((20, 20), np.uint8)
    draw_roi(frame, np.add(points, (down, right)), 1)
    window = fill(np.add(points, (down + 20, right + 20)), (60, 60))[20:40, 20:40]
    if pieces(window) == 1:
        np.testing.assert_array_equal(frame, window)
    else:
        assert (frame >= window).all()
