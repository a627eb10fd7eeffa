import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calcseg_tf.clinical import statistics as statistics_module
from calcseg_tf.clinical.statistics import measure, measure_again
from data_prep.errors import InputError
from data_prep.mammogram import SpacingSource

_SPACING = (0.1, 0.1), SpacingSource.PIXEL_SPACING
_NO_SPACING = None, SpacingSource.UNKNOWN


def _map(*rows: str) -> np.ndarray:
    """Digits are tenths of probability."""
    return np.array([[0.0 if cell == "." else int(cell) / 10 for cell in row] for row in rows], np.float32)


def _specks(*places_mm: tuple[float, float], spacing=(0.1, 0.1), shape=(400, 400)) -> np.ndarray:
    probability = np.zeros(shape, np.float32)
    for row, column in places_mm:
        probability[round(row / spacing[0]), round(column / spacing[1])] = 0.9
    return probability


def _measure(probability, spacing=_SPACING, threshold=0.5):
    return measure(probability, np.full(probability.shape, 0.25, np.float32), threshold, *spacing)


def test_every_figure_of_a_hand_drawn_map():
    probability = _map(
        ".....88",
        "64.....",
        "9.7....",
        ".9.....",
    )
    intensity = np.zeros(probability.shape, np.float32)
    intensity[0, 5:] = 0.5, 0.25
    statistics = measure(probability, intensity, 0.5, (0.2, 0.5), SpacingSource.IMAGER)
    first, second = statistics.calcifications
    assert (first.id, first.row, first.column, first.area_px) == (1, 0.0, 5.5, 2)
    assert first.area_mm2 == pytest.approx(0.2)
    assert first.equivalent_diameter_mm == pytest.approx(2 * math.sqrt(0.2 / math.pi))
    assert first.max_probability == pytest.approx(0.8, abs=1e-5)
    assert first.mean_intensity == pytest.approx(0.375)
    # The 0.4 is below the threshold; the diagonal joins 0.9 and 0.9 and 0.7.
    assert (second.id, second.row, second.column, second.area_px) == (2, 2.0, 0.75, 4)
    assert second.area_mm2 == pytest.approx(0.4)
    assert second.mean_probability == pytest.approx((0.6 + 0.9 + 0.7 + 0.9) / 4, abs=1e-5)
    assert statistics.count == 2
    assert statistics.mean_area_px == 3.0
    assert statistics.std_area_px == pytest.approx(math.sqrt(2))  # sample: ((2 - 3)^2 + (4 - 3)^2) / 1
    assert statistics.mean_area_mm2 == pytest.approx(0.3)
    assert statistics.std_area_mm2 == pytest.approx(math.sqrt(2) * 0.1)


def test_the_threshold_is_inclusive():
    assert _measure(_map("5...4"), threshold=0.5).count == 1
    assert _measure(np.array([[1, 0, 65535]], np.uint16), threshold=1 / 65535).count == 2


def test_without_spacing_areas_are_in_pixels_and_there_are_no_clusters():
    statistics = _measure(_specks((1, 1), (1, 2), (1, 3), (1, 4), (1, 5)), _NO_SPACING)
    assert statistics.count == 5
    assert statistics.mean_area_px == 1.0
    assert statistics.mean_area_mm2 is None
    assert statistics.std_area_mm2 is None
    assert statistics.clusters is None
    assert "spacing is unknown" in statistics.clusters_reason
    found = statistics.calcifications[0]
    assert (found.area_mm2, found.equivalent_diameter_mm, found.cluster_id) == (None, None, None)


def test_no_find_leaves_the_means_undefined():
    statistics = _measure(_map("...", "..4"))
    assert (statistics.count, statistics.mean_area_px, statistics.std_area_px) == (0, None, None)
    assert statistics.clusters == ()


def test_one_find_has_no_standard_deviation():
    statistics = _measure(_map("...", "..7"))
    assert (statistics.count, statistics.mean_area_px, statistics.std_area_px) == (1, 1.0, None)
    assert statistics.std_area_mm2 is None


def test_five_within_two_centimetres_are_a_cluster_and_four_are_none():
    four = [(10.0, 1.0), (10.0, 6.0), (10.0, 11.0), (10.0, 16.0)]
    assert _measure(_specks(*four)).clusters == ()
    (cluster,) = _measure(_specks(*four, (10.0, 20.0))).clusters
    assert (cluster.id, cluster.count) == (1, 5)
    assert cluster.extent_mm == pytest.approx(19.0)
    assert cluster.mean_area_mm2 == pytest.approx(0.01)
    assert cluster.std_area_mm2 == 0.0


def test_five_further_apart_are_no_cluster():
    far = [(1.0, 1.0), (1.0, 12.0), (12.0, 1.0), (12.0, 12.0), (23.0, 23.0)]
    statistics = _measure(_specks(*far))
    assert statistics.count == 5
    assert statistics.clusters == ()


def test_two_clusters_and_a_stray_are_told_apart():
    left = [(5.0 + step, 5.0) for step in range(5)]
    right = [(5.0 + step, 30.0) for step in range(6)]
    statistics = _measure(_specks(*left, *right, (35.0, 18.0)))
    assert [(cluster.count, cluster.extent_mm) for cluster in statistics.clusters] == [
        (5, pytest.approx(4.0)),
        (6, pytest.approx(5.0)),
    ]
    by_place = {(found.row, found.column): found.cluster_id for found in statistics.calcifications}
    assert by_place[(50.0, 50.0)] == 1
    assert by_place[(50.0, 300.0)] == 2
    assert by_place[(350.0, 180.0)] is None


def test_distances_are_in_mm_not_in_pixels():
    places = [(2.0, 2.0 + 4 * step) for step in range(5)]
    narrow = _measure(_specks(*places, spacing=(0.1, 0.2)), ((0.1, 0.2), SpacingSource.FLAG))
    assert [cluster.extent_mm for cluster in narrow.clusters] == [pytest.approx(16.0)]
    # The same pixels with columns three times as far apart: neighbours at 12 mm.
    wide = measure(
        _specks(*places, spacing=(0.1, 0.2)), np.zeros((400, 400), np.float32), 0.5, (0.1, 0.6), SpacingSource.FLAG
    )
    assert wide.clusters == ()


def test_a_find_between_two_clusters_goes_to_the_nearer_whichever_comes_first():
    left = [(10.0, 1.0 + step / 2) for step in range(6)]  # the last 9.7 mm from the stray find
    right = [(10.0, 22.5 + step / 2) for step in range(6)]  # the first two 9.3 and 9.8 mm from it
    probability = _specks(*left, *right, (10.0, 13.2))
    for turned in (probability, probability[::-1], probability[:, ::-1], probability.T):
        statistics = _measure(turned)
        finds = statistics.calcifications
        (stray,) = (found for found in finds if 132 in (found.row, found.column, 399 - found.column))
        others = [found for found in finds if found is not stray]
        nearest = min(others, key=lambda found: math.dist((found.row, found.column), (stray.row, stray.column)))
        assert stray.cluster_id == nearest.cluster_id
        assert [cluster.count for cluster in statistics.clusters if cluster.id == stray.cluster_id] == [7]


def test_too_many_finds_are_counted_and_not_clustered():
    probability = np.zeros((260, 260), np.float32)
    probability[::2, ::2] = 0.9
    statistics = _measure(probability)
    assert statistics.count == 130 * 130
    assert statistics.clusters is None
    assert "16900 calcifications lie closer than in any mammogram" in statistics.clusters_reason


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.uint16, (12, 17), elements=st.sampled_from([0, 0, 0, 30000, 40000, 65535])),
    st.integers(0, 3),
    st.booleans(),
)
def test_rotating_and_mirroring_change_no_statistic(codes, turns, mirror):
    spacing = (0.5, 2.0)
    intensity = (np.arange(codes.size).reshape(codes.shape) / codes.size).astype(np.float32)
    turned = [np.rot90(each[:, ::-1] if mirror else each, turns) for each in (codes, intensity)]
    one = measure(codes, intensity, 0.5, spacing, SpacingSource.FLAG)
    two = measure(*turned, 0.5, spacing if turns % 2 == 0 else spacing[::-1], SpacingSource.FLAG)
    assert one.count == two.count
    assert one.mean_area_mm2 == pytest.approx(two.mean_area_mm2)
    assert one.std_area_mm2 == pytest.approx(two.std_area_mm2)

    def figures(statistics):
        return sorted(
            (found.area_px, found.max_probability, round(found.mean_probability, 9), round(found.mean_intensity, 6))
            for found in statistics.calcifications
        )

    def clusters(statistics):
        return sorted(
            (each.count, round(each.extent_mm, 9), round(each.mean_area_mm2, 9)) for each in statistics.clusters
        )

    assert figures(one) == figures(two)
    assert clusters(one) == clusters(two)


def test_contradictory_input_is_refused():
    probability = _map("9..")
    with pytest.raises(InputError, match="needs its source"):
        measure(probability, probability, 0.5, (0.1, 0.1), SpacingSource.UNKNOWN)
    with pytest.raises(InputError, match="needs its source"):
        measure(probability, probability, 0.5, None, SpacingSource.FLAG)
    with pytest.raises(InputError, match="positive"):
        measure(probability, probability, 0.5, (0.1, 0.0), SpacingSource.FLAG)
    with pytest.raises(InputError, match="one size"):
        measure(probability, probability[:, :2], 0.5, None, SpacingSource.UNKNOWN)
    with pytest.raises(InputError, match="threshold"):
        measure(probability, probability, 0.0, None, SpacingSource.UNKNOWN)


@pytest.mark.slow
def test_fifty_thousand_calcifications_take_seconds():
    probability = np.zeros((2000, 2000), np.float32)
    rows, columns = np.meshgrid(np.arange(4, 1996, 8), np.arange(4, 1996, 8), indexing="ij")
    for step in range(3):
        probability[rows + step, columns + step // 2] = 0.9
    begin = time.process_time()
    statistics = _measure(probability)
    assert statistics.count == 249 * 249
    assert time.process_time() - begin < 20


def test_measured_again_at_another_threshold_is_as_measured_at_it():
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 65536, (40, 30)).astype(np.uint16)
    intensity = np.full((40, 30), 0.01)
    intensity[:30, :20] = 0.5 + 0.1 * rng.random((30, 20))
    low, high = (measure(codes, intensity, threshold, (0.5, 0.4), SpacingSource.FLAG) for threshold in (0.6, 0.9))
    assert low.count != high.count
    assert (low.threshold, high.threshold, low.height, low.width) == (0.6, 0.9, 40, 30)
    assert (low.pixel_spacing_mm, low.spacing_source) == ((0.5, 0.4), SpacingSource.FLAG)
    assert low.reference_area_cm2 is not None
    assert measure_again(codes, intensity, 0.9, low) == high


def test_an_infinite_spacing_is_refused():
    with pytest.raises(InputError, match="a pixel spacing is positive"):
        measure(_map("9"), np.zeros((1, 1)), 0.5, (0.1, math.inf), SpacingSource.FLAG)


def _sought_among(monkeypatch, intensity: np.ndarray) -> np.ndarray:
    """Returns the block means among which the breast of an image is sought; half of them are it."""
    given_blocks = []

    def half(blocks):
        given_blocks.append(blocks)
        return np.arange(blocks.size).reshape(blocks.shape) < blocks.size / 2

    monkeypatch.setattr(statistics_module, "breast_mask", half)
    found = measure(np.zeros(intensity.shape, np.uint16), intensity, 0.5, (0.5, 0.2), SpacingSource.FLAG)
    share = np.ceil(given_blocks[0].size / 2) / given_blocks[0].size
    assert found.reference_area_cm2 == pytest.approx(share * intensity.size * 0.1 / 100)
    return given_blocks[0]


@pytest.mark.parametrize(
    ("shape", "blocks"),
    [
        ((511, 600), (511, 600)),  # nothing is reduced
        ((512, 600), (256, 300)),  # by 2
        ((600, 1024), (300, 512)),  # the shorter side decides
        ((1024, 1030), (256, 258)),  # by 4: one more column on each side
        ((1536, 1540), (256, 257)),  # by 6
        ((513, 515), (257, 258)),  # the middle row and column twice
        ((1025, 1029), (257, 258)),
    ],
)
def test_the_breast_is_sought_among_blocks_that_lie_symmetrically(monkeypatch, shape, blocks):
    intensity = np.random.default_rng(5).random(shape)
    found = _sought_among(monkeypatch, intensity)
    assert found.shape == blocks
    np.testing.assert_allclose(_sought_among(monkeypatch, intensity[::-1, ::-1]), found[::-1, ::-1], rtol=1e-12)


def test_blocks_are_means_of_pixels_with_the_middle_and_the_edges_repeated(monkeypatch):
    intensity = np.zeros((513, 512))
    intensity[256] = 0.5  # the middle row: repeated, it fills a block's row and the other rows hold none of it
    found = _sought_among(monkeypatch, intensity)
    assert found[:, 0].nonzero()[0].tolist() == [128]
    assert found[128, 0] == 0.5
    intensity = np.zeros((1026, 1024))
    intensity[0] = 0.4  # 1026 = 4 x 256 + 2: a row more at each end, a copy of the outermost
    found = _sought_among(monkeypatch, intensity)
    assert found[:, 0].nonzero()[0].tolist() == [0]
    assert found[0, 0] == pytest.approx(0.2)
