import math

import numpy as np
import pytest

from calcseg_tf.clinical import Distribution
from calcseg_tf.clinical.clusters import cluster_calcifications
from calcseg_tf.clinical.components import measure_components
from tests.clinical.drawing import measured

_SPACING = 0.2, 0.2


def _specks(*places_mm, spacing=_SPACING, shape_mm=(100.0, 100.0)) -> np.ndarray:
    probability = np.zeros([round(side / each) for side, each in zip(shape_mm, spacing, strict=True)], np.float32)
    for row, column in places_mm:
        probability[round(row / spacing[0]), round(column / spacing[1])] = 0.9
    return probability


def _cluster(*places_mm, spacing=_SPACING, breast=False):
    probability = _specks(*places_mm, spacing=spacing)
    intensity = np.full(probability.shape, 0.01, np.float32)
    if breast:
        intensity[: len(intensity) * 3 // 4, : intensity.shape[1] // 2] = 0.5
    (cluster,) = measured(probability, spacing, intensity).clusters
    return cluster


def _line(length: float, turned_deg: float, count: int = 9) -> list[tuple[float, float]]:
    angle = math.radians(turned_deg)
    steps = np.linspace(-length / 2, length / 2, count)
    return [(50 - step * math.sin(angle), 50 + step * math.cos(angle)) for step in steps]


def _grid(height: float, width: float, step: float) -> list[tuple[float, float]]:
    rows, columns = np.arange(0, height + 1e-9, step), np.arange(0, width + 1e-9, step)
    return [(20 + row, 10 + column) for row in rows for column in columns]


def test_every_figure_of_a_cluster_of_five():
    cluster = _cluster((10, 10), (10, 14), (12, 12), (14, 10), (14, 14))
    assert (cluster.id, cluster.count, cluster.calcification_ids) == (1, 5, (1, 2, 3, 4, 5))
    assert (cluster.row, cluster.column) == (pytest.approx(60.0), pytest.approx(60.0))
    assert cluster.extent_mm == pytest.approx(4 * math.sqrt(2))
    assert cluster.extent_px == pytest.approx(20 * math.sqrt(2))
    near = cluster.nearest_neighbour_mm
    assert (near.minimum, near.maximum, near.std) == (pytest.approx(2 * math.sqrt(2)),) * 2 + (pytest.approx(0.0),)
    # From the outer edge of pixel 50 to that of pixel 70.
    corners = [(49.5, 49.5), (70.5, 49.5), (70.5, 70.5), (49.5, 70.5)]  # against the clock, from any of them
    first = corners.index(cluster.hull[0])
    assert list(cluster.hull) == corners[first:] + corners[:first]
    assert cluster.reference_area_cm2 == pytest.approx((21 * 0.02) ** 2)
    assert cluster.density_per_cm2 == pytest.approx(5 / (21 * 0.02) ** 2)
    assert (cluster.mean_area_mm2, cluster.std_area_mm2) == (pytest.approx(0.04), 0.0)
    assert cluster.elongation == pytest.approx(1.0)
    assert cluster.distribution is Distribution.GROUPED


@pytest.mark.parametrize("turned_deg", [0, 20, 45, 90, 130])
@pytest.mark.parametrize("length", [12, 40])
def test_a_line_is_linear_however_it_lies_and_however_long(turned_deg, length):
    cluster = _cluster(*_line(length, turned_deg))
    assert cluster.distribution is Distribution.LINEAR
    assert cluster.elongation is None or cluster.elongation > 5


def test_a_line_along_the_columns_has_no_shorter_axis_and_still_a_hull():
    cluster = _cluster(*_line(16, 90))
    assert cluster.elongation is None
    assert cluster.reference_area_cm2 == pytest.approx(81 * 0.02 * 0.02)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (12, 12, Distribution.GROUPED),
        (15, 12, Distribution.GROUPED),  # 19.2 mm across
        (18, 12, Distribution.REGIONAL),  # 21.6 mm
        (39, 12, Distribution.SEGMENTAL),
        (12, 39, Distribution.SEGMENTAL),
        (39, 36, Distribution.REGIONAL),
    ],
)
def test_descriptors_by_extent_and_elongation(height, width, expected):
    cluster = _cluster(*_grid(height, width, 3.0))
    assert cluster.distribution is expected


def test_over_half_of_the_breast_is_diffuse():
    # The breast: rows to 75 mm, columns to 50 mm.
    assert _cluster(*_grid(50, 39, 3.0), breast=True).distribution is Distribution.DIFFUSE
    assert _cluster(*_grid(39, 30, 3.0), breast=True).distribution is Distribution.REGIONAL
    assert _cluster(*_grid(50, 39, 3.0)).distribution is Distribution.REGIONAL  # no breast is found


def test_elongation_is_in_mm_not_in_pixels():
    square = [(row, column) for row in (10, 13, 16) for column in (10, 13, 16)]
    cluster = _cluster(*square, spacing=(0.1, 0.5))
    assert cluster.elongation == pytest.approx(1.0)
    assert cluster.extent_mm == pytest.approx(6 * math.sqrt(2))


def test_turning_and_mirroring_change_no_figure_of_a_cluster():
    rng = np.random.default_rng(3)
    probability = np.zeros((150, 220), np.float32)
    for row, column in np.concatenate([rng.normal((40, 60), 12, (12, 2)), rng.normal((100, 170), (5, 22), (14, 2))]):
        probability[int(row) : int(row) + 2, int(column)] = 0.9
    spacing = 0.2, 0.3

    def figures(statistics):
        names = ("count", "mean_area_mm2", "std_area_mm2", "extent_mm", "density_per_cm2", "elongation")
        told = []
        for cluster in statistics.clusters:
            near = cluster.nearest_neighbour_mm
            values = [getattr(cluster, name) for name in names] + [near.mean, near.std, near.minimum, near.maximum]
            told.append([round(value, 8) for value in values] + [len(cluster.hull), cluster.distribution])
        return sorted(told)

    expected = figures(measured(probability, spacing))
    assert len(expected) == 2
    for turns in range(4):
        for mirrored in (False, True):
            turned = np.rot90(probability[:, ::-1] if mirrored else probability, turns)
            assert figures(measured(turned, spacing if turns % 2 == 0 else spacing[::-1])) == expected


def test_ids_in_a_cluster_are_those_of_its_calcifications():
    rng = np.random.default_rng(5)
    probability = _specks(*rng.uniform(2, 98, (60, 2)))
    statistics = measured(probability, _SPACING)
    assert len(statistics.clusters) > 0
    for cluster in statistics.clusters:
        ids = tuple(each.id for each in statistics.calcifications if each.cluster_id == cluster.id)
        assert (cluster.calcification_ids, cluster.count) == (ids, len(ids))
        rows = [statistics.calcifications[number - 1].row for number in ids]
        assert cluster.row == pytest.approx(np.mean(rows))


@pytest.mark.parametrize(
    ("places_mm", "elongation", "extent_mm", "distribution"),
    [
        # Second moments of rows and columns: 8 and 200; 50 and 200; 72 and 450.
        ([(0, 0), (2, 0), (-2, 0), (0, 10), (0, -10)], 5.0, 20.0, Distribution.LINEAR),
        ([(0, 0), (5, 0), (-5, 0), (0, 10), (0, -10)], 2.0, 20.0, Distribution.GROUPED),
        ([(0, 0), (6, 0), (-6, 0), *((0, side * far) for side in (1, -1) for far in (2, 10, 11))],
         2.5, 22.0, Distribution.SEGMENTAL),
    ],
)  # fmt: skip
def test_a_cluster_on_a_limit_is_what_the_limit_says(places_mm, elongation, extent_mm, distribution):
    cluster = _cluster(*((50 + row, 50 + column) for row, column in places_mm), spacing=(0.25, 0.25))
    assert cluster.count == len(places_mm)
    assert (cluster.elongation, cluster.extent_mm) == (elongation, extent_mm)
    assert cluster.distribution is distribution


def test_thousands_of_calcifications_far_apart_are_no_cluster_and_no_reason():
    probability = np.zeros((200, 200), np.float32)
    probability[::2, ::2] = 0.9  # 40 mm apart: 10,000 pairs within 10 mm, each with itself, of 100 million
    statistics = measured(probability, (20.0, 20.0))
    assert (statistics.count, statistics.clusters, statistics.clusters_reason) == (10_000, (), "")


@pytest.mark.parametrize("count", [1, 5])
def test_ids_of_clusters_are_whole_numbers(count):
    probability = _specks(*((10, 10 + 2 * number) for number in range(count)))
    found = measure_components(np.round(probability * 65535).astype(np.uint16), probability, 0.5, _SPACING)
    ids, reason = cluster_calcifications(found, _SPACING)
    assert (ids.dtype, ids.tolist(), reason) == (np.int64, [count // 5] * count, "")
