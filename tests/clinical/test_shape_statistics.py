import math

import numpy as np
import pytest

from calcseg_tf.clinical import Distances, Region, measure_region
from calcseg_tf.clinical.shape_statistics import describe_shapes
from tests.clinical.drawing import blocks, draw, measured

# Areas in px of 0.01 mm2. The paper prints neither areas nor which standard deviation its table has: n - 1 here. With n
# these masks would give 0.22 and 0.58.
EXAM_2017 = [28, 38, 44, 55, 62, 76, 96]
EXAM_2018 = [10, 13, 15, 20, 26, 36, 50, 61, 82, 130, 206]


def _fig7(statistics) -> tuple:
    return statistics.count, f"{statistics.mean_area_mm2:.2f}", f"{statistics.std_area_mm2:.2f}"


def test_the_table_of_the_papers_fig_7():
    prior, current = blocks(EXAM_2017), blocks(EXAM_2018)
    assert _fig7(measured(prior, (0.1, 0.1))) == (7, "0.57", "0.23")
    assert _fig7(measured(current, (0.1, 0.1))) == (11, "0.59", "0.61")
    # The same breast on detectors of other pixels.
    assert _fig7(measured(np.repeat(prior, 2, axis=0), (0.05, 0.1))) == (7, "0.57", "0.23")
    assert _fig7(measured(np.kron(current, np.ones((2, 4), np.float32)), (0.05, 0.025))) == (11, "0.59", "0.61")


def test_the_table_of_fig_7_in_a_crude_region():
    inside = blocks(EXAM_2018)
    image = np.zeros((inside.shape[0] + 60, inside.shape[1] + 40), np.float32)
    image[30 : 30 + inside.shape[0], 20 : 20 + inside.shape[1]] = inside
    image[3:9, 3:30] = image[-8:-2, :7] = 0.9  # strays
    statistics = measured(image, (0.1, 0.1))
    assert statistics.count == 13
    bottom, right = 30 + inside.shape[0], 20 + inside.shape[1]
    rectangle = Region.rectangle(25, 15, bottom, right)
    crude = Region.polygon([(24, 18), (30, right + 5), (bottom + 4, right), (bottom, 14), (60, 16)])
    for region in (rectangle, crude):
        found = measure_region(statistics, region)
        assert _fig7(found) == (11, "0.59", "0.61")
        assert found.calcification_ids == tuple(range(2, 13))


def test_every_figure_of_three_calcifications():
    drawn = draw(
        "##........",
        "##........",
        "..........",
        "....#.....",
        "..........",
        ".........#",
    )
    statistics = measured(drawn, (0.3, 0.4))
    assert (statistics.count, statistics.mean_area_px) == (3, 2.0)
    assert statistics.std_area_px == pytest.approx(math.sqrt(3))
    assert statistics.mean_area_mm2 == pytest.approx(0.24)
    assert statistics.std_area_mm2 == pytest.approx(0.12 * math.sqrt(3))
    # Equivalent diameters 0.78, 0.39, 0.39 mm.
    assert (statistics.micro_count, statistics.macro_count) == (2, 1)
    assert statistics.size_histogram.unit == "mm"
    assert statistics.size_histogram.edges == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0)
    assert statistics.size_histogram.counts == (0, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0)
    # Centroids (0.5, 0.5), (3, 4), (5, 9).
    assert statistics.extent_px == pytest.approx(math.hypot(4.5, 8.5))
    assert statistics.extent_mm == pytest.approx(math.hypot(4.5 * 0.3, 8.5 * 0.4))
    distances = [math.hypot(2.5 * 0.3, 3.5 * 0.4)] * 2 + [math.hypot(2 * 0.3, 5 * 0.4)]
    near = statistics.nearest_neighbour_mm
    assert near.mean == pytest.approx(np.mean(distances))
    assert near.std == pytest.approx(np.std(distances, ddof=1))
    assert (near.minimum, near.maximum) == (pytest.approx(distances[0]), pytest.approx(distances[2]))


def test_without_spacing_sizes_and_distances_are_in_pixels():
    statistics = measured(draw("#...##", "......"))
    assert (statistics.size_histogram.unit, statistics.size_histogram.counts[:2]) == ("px", (2, 0))
    assert statistics.extent_px == 4.5
    assert statistics.nearest_neighbour_px == Distances(4.5, 0.0, 4.5, 4.5)
    for name in ("micro_count", "macro_count", "mean_area_mm2", "std_area_mm2", "extent_mm", "nearest_neighbour_mm"):
        assert getattr(statistics, name) is None
    assert (statistics.reference_area_cm2, statistics.density_per_cm2) == (None, None)


def test_sets_of_none_and_of_one():
    none, one = (describe_shapes(np.zeros((n, 2)), [3] * n, (0.1, 0.1), 2.0) for n in (0, 1))
    assert (none.count, none.mean_area_mm2, none.extent_mm, none.density_per_cm2) == (0, None, None, 0.0)
    assert (none.micro_count, none.macro_count, sum(none.size_histogram.counts)) == (0, 0, 0)
    assert (one.count, one.std_area_mm2, one.extent_mm, one.density_per_cm2) == (1, None, 0.0, 0.5)
    assert one.mean_area_mm2 == pytest.approx(0.03)
    assert none.nearest_neighbour_mm is one.nearest_neighbour_mm is None


def test_the_largest_sizes_fall_into_the_open_class():
    assert describe_shapes(np.zeros((2, 2)), [400, 10**6], (0.1, 0.1), None).size_histogram.counts[-1] == 2


@pytest.mark.parametrize("shape", [(300, 200), (601, 530), (530, 601), (513, 1027)])
def test_the_density_refers_to_the_breast_and_is_the_same_for_a_turned_mammogram(shape):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    breast = np.hypot((rows - 0.4 * shape[0]) / shape[0], columns / shape[1]) < 0.45
    intensity = np.where(breast, 0.5, 0.01).astype(np.float32)
    intensity[breast] += np.random.default_rng(1).normal(0, 0.01, breast.sum()).astype(np.float32)
    codes = np.zeros(shape, np.float32)
    codes[shape[0] // 2, 20:30:3] = 0.9
    statistics = measured(codes, (0.2, 0.2), intensity)
    area = breast.sum() * 0.04 / 100
    assert statistics.reference_area_cm2 == pytest.approx(area, rel=0.02)
    assert statistics.density_per_cm2 == pytest.approx(4 / statistics.reference_area_cm2)
    for turns in range(4):
        for mirrored in (False, True):
            turned = [np.rot90(each[:, ::-1] if mirrored else each, turns) for each in (codes, intensity)]
            again = measured(turned[0], (0.2, 0.2), turned[1])
            assert again.reference_area_cm2 == pytest.approx(statistics.reference_area_cm2, rel=1e-9)


def test_an_image_without_a_breast_has_no_density():
    statistics = measured(draw("#..", "..."), (0.1, 0.1))
    assert (statistics.reference_area_cm2, statistics.density_per_cm2) == (None, None)
