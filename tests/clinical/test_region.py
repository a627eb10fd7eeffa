import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calcseg_tf.clinical import Region, measure_region
from data_prep.errors import InputError
from tests.clinical.drawing import draw, measured

_FOUR = draw(
    "#.....#",
    ".......",
    "..##...",
    "..##...",
    "......#",
)


def _ids(region: Region, spacing=None) -> tuple[int, ...]:
    return measure_region(measured(_FOUR, spacing), region).calcification_ids


def test_a_rectangle_takes_its_last_row_and_column():
    assert _ids(Region.rectangle(0, 0, 4, 6)) == (1, 2, 3, 4)
    assert _ids(Region.rectangle(0, 0, 3, 5)) == (1, 3)
    assert _ids(Region.rectangle(0, 6, 0, 6)) == (2,)


def test_a_centroid_decides_and_a_calcification_counts_whole():
    # Centroid (2.5, 2.5), on the outline of both.
    for region in (Region.rectangle(0, 1, 2, 2), Region.rectangle(3, 3, 4, 5)):
        found = measure_region(measured(_FOUR), region)
        assert (found.calcification_ids, found.mean_area_px) == ((3,), 4.0)
    assert _ids(Region.rectangle(0, 1, 1, 5)) == ()


def test_one_pixel_is_a_region_with_an_area():
    found = measure_region(measured(_FOUR, (0.1, 0.2)), Region.rectangle(4, 6, 4, 6))
    assert (found.count, found.leaves_image) == (1, False)
    assert found.reference_area_cm2 == pytest.approx(0.0002)
    assert found.density_per_cm2 == pytest.approx(5000.0)


def test_an_empty_part_of_the_image_is_a_result():
    found = measure_region(measured(_FOUR, (0.1, 0.1)), Region.rectangle(1, 3, 1, 5))
    assert (found.count, found.mean_area_mm2, found.density_per_cm2) == (0, None, 0.0)


def test_the_density_refers_to_the_part_within_the_image():
    found = measure_region(measured(_FOUR, (1.0, 1.0)), Region.rectangle(-10, -20, 4, 1))
    assert (found.leaves_image, found.count) == (True, 1)
    assert found.reference_area_cm2 == pytest.approx(5 * 2 / 100)


@pytest.mark.parametrize("rows", [(-9, -2), (5, 9)])
def test_a_region_outside_the_image_is_refused(rows):
    with pytest.raises(InputError, match="overlap its image of 5 rows and 7 columns; found rows"):
        _ids(Region.rectangle(rows[0], 0, rows[1], 6))


def test_what_is_no_region_is_refused():
    with pytest.raises(InputError, match="first row and column are not after its last"):
        Region.rectangle(4, 0, 3, 6)
    with pytest.raises(InputError, match="at least 3 corners; found 2"):
        Region.polygon([(0, 0), (4, 4)])
    with pytest.raises(InputError, match="has an area"):
        Region.polygon([(1, 0), (1, 4), (1, 2)])
    for bad in (float("nan"), float("inf"), 1e300):
        with pytest.raises(InputError, match="within 1000000 px"):
            Region.polygon([(0, 0), (4, 4), (bad, 2)])


def test_a_polygon_with_a_notch():
    notched = Region.polygon([(-1, -1), (-1, 8), (5, 8), (2, 3), (5, -1)])
    assert _ids(notched) == (1, 2)
    assert _ids(Region.polygon([(-1, -1), (-1, 8), (5, 8), (3, 3), (5, -1)])) == (1, 2, 3, 4)


def test_a_sliver_between_pixel_centres_has_an_area():
    found = measure_region(
        measured(_FOUR, (1.0, 1.0)), Region.polygon([(1.1, 0.1), (1.1, 3.9), (1.2, 3.9), (1.2, 0.1)])
    )
    assert found.reference_area_cm2 > 0


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-2, 8), st.integers(-2, 8)), min_size=3, max_size=7),
    st.integers(0, 3),
    st.booleans(),
)
def test_the_turned_region_of_a_turned_image_holds_the_same(corners, turns, mirror):
    if np.ptp(np.array(corners), axis=0).min() == 0:
        return
    grid = np.stack(np.meshgrid(np.arange(7), np.arange(7), indexing="ij"), axis=-1).reshape(-1, 2) * 1.0

    def turn(points):
        points = np.array(points, np.float64)
        if mirror:
            points[:, 1] = 6 - points[:, 1]
        for _ in range(turns):
            points = np.stack([6 - points[:, 1], points[:, 0]], axis=1)
        return points

    expected = Region.polygon(corners).contains(grid)
    np.testing.assert_array_equal(Region.polygon(turn(corners)).contains(turn(grid)), expected)
    # Started at another corner, or told backwards, it is the same region.
    np.testing.assert_array_equal(Region.polygon(corners[::-1]).contains(grid), expected)
    np.testing.assert_array_equal(Region.polygon(corners[1:] + corners[:1]).contains(grid), expected)
