import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import pdist
from skimage.measure import label, regionprops

from calcseg_tf.clinical.components import measure_components
from tests.clinical.drawing import draw, measured

_MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)))
_SMALL_MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 8)))


def _one(*rows: str, spacing=None, intensity=None):
    (found,) = measured(draw(*rows), spacing, intensity).calcifications
    return found


def _codes(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint16) * 65535


def _figures(found, *names):
    return tuple(getattr(found, name) for name in names)


def test_one_pixel_has_every_shape_that_a_square_has():
    found = _one("...", ".#.")
    assert (found.area_px, found.row, found.column) == (1, 1.0, 1.0)
    assert (found.top, found.left, found.bottom, found.right) == (1, 1, 2, 2)
    assert found.equivalent_diameter_px == pytest.approx(2 / math.sqrt(math.pi))
    assert found.longest_diameter_px == pytest.approx(math.sqrt(2))
    assert found.elongation == pytest.approx(1.0)
    assert found.circularity == pytest.approx(3 / math.pi)  # 1 / (2 pi (1/12 + 1/12))
    assert found.orientation_deg is None
    in_mm = _figures(found, "area_mm2", "equivalent_diameter_mm", "longest_diameter_mm", "size_class")
    assert in_mm == (None, None, None, None)


def test_one_pixel_that_is_wide_in_mm_is_a_lying_rectangle():
    found = _one("#", spacing=(0.1, 0.3))
    assert found.area_mm2 == pytest.approx(0.03)
    assert found.equivalent_diameter_mm == pytest.approx(2 * math.sqrt(0.03 / math.pi))
    assert found.longest_diameter_mm == pytest.approx(math.hypot(0.1, 0.3))
    assert found.longest_diameter_px == pytest.approx(math.sqrt(2))
    assert found.elongation == pytest.approx(3.0)
    assert found.orientation_deg == 0.0
    assert found.circularity == pytest.approx(0.03 * 12 / (2 * math.pi * (0.01 + 0.09)))


@pytest.mark.parametrize(
    ("rows", "area", "longest", "elongation", "orientation"),
    [
        (("####",), 4, math.hypot(1, 4), 4.0, 0.0),
        (("#", "#", "#"), 3, math.hypot(3, 1), 3.0, 90.0),
        # Variances 2/3 + 1/12, covariance 2/3: eigenvalues 17/12 and 1/12.
        (("#..", ".#.", "..#"), 3, 3 * math.sqrt(2), math.sqrt(17), 135.0),
        (("..#", ".#.", "#.."), 3, 3 * math.sqrt(2), math.sqrt(17), 45.0),
        (("##", "##"), 4, 2 * math.sqrt(2), 1.0, None),
        ((".#.", "###", ".#."), 5, math.sqrt(10), 1.0, None),
        # Centroid (1/3, 1/3); variances 2/9 + 1/12, covariance -1/9: eigenvalues 15/36 and 7/36.
        (("##", "#."), 3, 2 * math.sqrt(2), math.sqrt(15 / 7), 45.0),
    ],
)
def test_shapes_drawn_by_hand(rows, area, longest, elongation, orientation):
    found = _one(*rows)
    assert found.area_px == area
    assert found.longest_diameter_px == pytest.approx(longest)
    assert found.elongation == pytest.approx(elongation)
    assert found.orientation_deg == (None if orientation is None else pytest.approx(orientation))


def test_a_disc_is_nearly_1_circular_and_nothing_is_more():
    rows, columns = np.ogrid[:61, :61]
    disc = np.hypot(rows - 30, columns - 30) <= 28
    (found,) = measured(disc.astype(np.float32)).calcifications
    assert 0.998 < found.circularity <= 1.0
    assert found.elongation == pytest.approx(1.0)
    ring = disc & (np.hypot(rows - 30, columns - 30) > 20)
    (hollow,) = measured(ring.astype(np.float32)).calcifications
    assert hollow.circularity == pytest.approx((28**2 - 20**2) / (28**2 + 20**2), abs=0.01)


def test_grey_values_are_of_its_own_pixels_and_contrast_is_against_the_pixels_around():
    drawn = draw(
        "......",
        ".##...",
        "....#.",
        "......",
    )
    intensity = np.full(drawn.shape, 0.2, np.float32)
    intensity[1, 1:3] = 0.5, 0.75
    intensity[2, 4] = 1.0
    intensity[0, 0] = 0.6
    first, second = measured(drawn, (0.5, 0.5), intensity).calcifications  # 0.5 mm around is 1 px
    assert first.mean_intensity == pytest.approx(0.625)
    assert first.peak_intensity == 0.75
    # Rows 0 to 2, columns 0 to 3: ten pixels, of which one is 0.6.
    assert first.local_contrast == pytest.approx(0.625 - (9 * 0.2 + 0.6) / 10)
    assert second.local_contrast == pytest.approx(0.8)
    assert (first.mean_probability, first.max_probability) == (pytest.approx(0.9, abs=1e-5),) * 2


def test_a_neighbour_is_no_background_and_where_none_is_left_there_is_no_contrast():
    drawn = draw("#.#")
    intensity = np.array([[0.5, 0.1, 1.0]], np.float32)
    first, second = measured(drawn, None, intensity).calcifications
    assert (first.local_contrast, second.local_contrast) == (pytest.approx(0.4), pytest.approx(0.9))
    (all_of_it,) = measured(draw("###"), None, intensity).calcifications
    assert all_of_it.local_contrast is None


def test_micro_ends_at_half_a_millimetre_of_equivalent_diameter():
    # 19 px of 0.01 mm2 have a diameter of 0.492 mm, 20 px one of 0.505 mm.
    for area, name in ((19, "micro"), (20, "macro")):
        assert _one("#" * area, spacing=(0.1, 0.1)).size_class == name


@settings(max_examples=150, deadline=None)
@given(_MASKS)
def test_areas_and_moments_are_those_of_scikit_image(mask):
    found = measure_components(_codes(mask), mask.astype(np.float32), 0.5, None)
    expected = sorted(regionprops(label(mask, connectivity=2)), key=lambda each: each.centroid)
    assert len(found) == len(expected)
    for index, each in enumerate(expected):
        assert found.area_px[index] == each.area
        assert (found.row[index], found.column[index]) == pytest.approx(each.centroid)
        assert tuple(found.box[index]) == each.bbox
        central = each.moments_central
        rows, columns, both = central[2, 0] / each.area, central[0, 2] / each.area, central[1, 1] / each.area
        large, small = np.linalg.eigvalsh([[rows + 1 / 12, both], [both, columns + 1 / 12]])[::-1]
        assert found.elongation[index] == pytest.approx(math.sqrt(large / small))
        assert found.circularity[index] == pytest.approx(each.area / (2 * math.pi * (rows + columns + 1 / 6)))
        assert found.circularity[index] <= 1.0
        if large - small > 1e-6:
            # scikit-image counts from the column's direction, against the clock.
            expected_deg = math.degrees(each.orientation) + 90.0
            assert abs((found.orientation_deg[index] - expected_deg + 90.0) % 180.0 - 90.0) < 1e-4
        else:
            assert math.isnan(found.orientation_deg[index])


@settings(max_examples=40, deadline=None)
@given(_SMALL_MASKS, st.sampled_from([(1.0, 1.0), (0.1, 0.3), (2.0, 0.5)]))
def test_the_longest_diameter_is_that_of_all_pairs_of_corners(mask, spacing):
    found = measure_components(_codes(mask), mask.astype(np.float32), 0.5, spacing)
    expected = sorted(regionprops(label(mask, connectivity=2)), key=lambda each: each.centroid)
    for index, each in enumerate(expected):
        corners = [np.add(each.coords, (down, right)) for down in (0, 1) for right in (0, 1)]
        longest = pdist(np.concatenate(corners) * spacing).max()
        assert found.longest_mm[index] == pytest.approx(longest)


@settings(max_examples=60, deadline=None)
@given(_MASKS, st.integers(1, 3), st.integers(1, 3))
def test_wide_pixels_measure_as_the_square_ones_that_they_are_made_of(mask, down, right):
    spacing = (0.1 * down, 0.1 * right)
    fine = np.kron(mask, np.ones((down, right))).astype(bool)
    # Repeated rows and columns join nothing that was apart.
    coarse = measure_components(_codes(mask), mask.astype(np.float32), 0.5, spacing)
    same = measure_components(_codes(fine), fine.astype(np.float32), 0.5, (0.1, 0.1))
    assert len(coarse) == len(same)
    for name in ("longest_mm", "elongation", "circularity", "orientation_deg"):
        np.testing.assert_allclose(getattr(coarse, name), getattr(same, name), rtol=1e-6, err_msg=name)
    np.testing.assert_array_equal(coarse.area_px * down * right, same.area_px)


@settings(max_examples=80, deadline=None)
@given(
    hnp.arrays(np.uint16, (11, 16), elements=st.sampled_from([0, 0, 0, 30000, 40000, 65535])),
    st.integers(0, 3),
    st.booleans(),
)
def test_turning_and_mirroring_turn_the_orientation_and_change_nothing_else(codes, turns, mirror):
    spacing = (0.5, 2.0)
    intensity = (np.random.default_rng(0).random(codes.shape)).astype(np.float32)
    turned = [np.rot90(each[:, ::-1] if mirror else each, turns) for each in (codes, intensity)]
    one = measure_components(codes, intensity, 0.5, spacing)
    two = measure_components(*turned, 0.5, spacing if turns % 2 == 0 else spacing[::-1])
    names = ("area_px", "longest_px", "longest_mm", "elongation", "circularity", "mean_intensity", "peak_intensity")
    names += ("local_contrast", "max_code", "mean_code")

    # Random intensities tell which is which.
    first, second = np.argsort(one.mean_intensity), np.argsort(two.mean_intensity)
    assert len(one) == len(two)
    for name in names:
        before, after = getattr(one, name)[first], getattr(two, name)[second]
        np.testing.assert_allclose(before, after, rtol=1e-6, atol=1e-7, err_msg=name)
    expected = one.orientation_deg[first] * (-1 if mirror else 1) + 90 * turns
    off = (two.orientation_deg[second] - expected + 90) % 180 - 90
    np.testing.assert_array_equal(np.isnan(off), np.isnan(expected))
    assert (np.abs(off[~np.isnan(off)]) < 1e-4).all()


def test_nothing_found_gives_arrays_without_an_element():
    found = measure_components(np.zeros((4, 5), np.uint16), np.zeros((4, 5), np.float32), 0.5, (0.1, 0.1))
    assert len(found) == 0
    assert found.box.shape == (0, 4)


def test_an_image_that_is_one_calcification_is_measured():
    found = measure_components(np.full((300, 200), 65535, np.uint16), np.ones((300, 200), np.float32), 0.5, None)
    assert found.area_px.tolist() == [60_000]
    assert found.longest_px[0] == pytest.approx(math.hypot(300, 200))
    assert found.elongation[0] == pytest.approx(1.5)
    assert np.isnan(found.local_contrast[0])
