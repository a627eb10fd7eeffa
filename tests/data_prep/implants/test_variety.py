import dataclasses
import functools
import math

import numpy as np
import pydicom
import pytest
from scipy import ndimage

from data_prep.implants.calcification import Shape, draw_calcification
from data_prep.implants.canvas import Canvas
from data_prep.implants.config import ImplantConfig, Variety
from data_prep.implants.dicom_file import neutral_names, write_dicom
from data_prep.implants.implanting import implant_folder
from data_prep.implants.placement import implant_mammogram
from data_prep.mammogram import View, read_mammogram
from tests.data_prep.implants.test_placement import breast

EIGHT = np.ones((3, 3), bool)
ONLY_VARIED = ImplantConfig(seed=5, isolated_per_mammogram=0, clusters_per_mammogram=0, variety=Variety.FULL)


@functools.cache
def implanted(view=View.MLO, seed=5):
    background, _ = breast(height=1000, width=800)
    background = dataclasses.replace(background, view=view)
    return background, implant_mammogram(background, dataclasses.replace(ONLY_VARIED, seed=seed))


def of_shape(result, shape):
    return [placed for placed in result.calcifications if placed.calcification.shape is shape]


def check_components(result):
    """One component a calcification, and two pixels of background at least between two of them."""
    labels, count = ndimage.label(result.mask, EIGHT)
    assert count == len(result.calcifications)
    assert sorted(np.bincount(labels.ravel())[1:]) == sorted(p.calcification.area_px for p in result.calcifications)
    np.testing.assert_array_equal(ndimage.maximum_filter(labels, 5)[result.mask], labels[result.mask])


@pytest.mark.parametrize("view", [View.MLO, View.CC])
def test_components_of_the_mask_are_the_calcifications_two_pixels_apart(view):
    check_components(implanted(view)[1])


def test_every_kind_is_there_in_its_number():
    _, result = implanted()
    assert result.left_out == 0
    assert len(of_shape(result, Shape.POPCORN)) == 1
    assert 1 <= len(of_shape(result, Shape.RIM)) <= 3
    groups = {
        shape: {placed.cluster for placed in of_shape(result, shape)}
        for shape in (Shape.VASCULAR, Shape.TEACUP, Shape.SHARD)
    }
    assert all(1 <= len(numbers) <= 2 for numbers in groups.values())
    assert sorted(number for numbers in groups.values() for number in numbers) == list(range(1, result.clusters + 1))


def test_dense_clusters_hold_20_to_60_within_a_cm():
    _, result = implanted()
    members = of_shape(result, Shape.SHARD)
    for number in {placed.cluster for placed in members}:
        centroids = [placed.centroid for placed in members if placed.cluster == number]
        assert 20 <= len(centroids) <= 60
        assert max(math.dist(a, b) for a in centroids for b in centroids) * 0.07 <= 10.0
    diameters = [2.0 * math.sqrt(placed.calcification.coverage.sum() / math.pi) * 0.07 for placed in members]
    assert 0.09 < min(diameters) <= max(diameters) < 0.55


def test_popcorn_and_rims_are_millimetres_wide():
    _, result = implanted()
    for shape, smallest, largest in ((Shape.POPCORN, 2.0, 8.0), (Shape.RIM, 0.9, 9.0)):
        for placed in of_shape(result, shape):
            extents = [np.ptp(places) * 0.07 for places in np.nonzero(placed.calcification.mask)]
            assert smallest * 0.8 < max(extents) < largest


def test_a_vessel_is_many_dashes_along_a_line_longer_than_wide():
    _, result = implanted()
    dashes = of_shape(result, Shape.VASCULAR)
    for number in {placed.cluster for placed in dashes}:
        pixels = np.concatenate([
            np.argwhere(placed.calcification.mask) + np.array([placed.top, placed.left])
            for placed in dashes if placed.cluster == number
        ])  # fmt: skip
        assert sum(placed.cluster == number for placed in dashes) >= 8
        variances = np.linalg.eigvalsh(np.cov(pixels.T))
        assert math.sqrt(variances[1] / variances[0]) > 2.0
        assert 5.0 < np.ptp(pixels, axis=0).max() * 0.07 < 36.0


@pytest.mark.parametrize(
    ("view", "shown"), [(View.MLO, Shape.TEACUP), (View.ML, Shape.TEACUP), (View.CC, Shape.SMUDGE)]
)
def test_milk_of_calcium_lies_in_layers_from_the_side_and_is_a_smudge_from_above(view, shown):
    _, result = implanted(view)
    shapes = {placed.calcification.shape for placed in result.calcifications}
    assert {Shape.TEACUP, Shape.SMUDGE} & shapes == {shown}


def test_the_inside_of_a_rim_is_to_be_ignored_and_holds_nothing_else():
    _, result = implanted()
    for placed in of_shape(result, Shape.RIM):
        inside = ndimage.binary_fill_holes(placed.calcification.mask) & ~placed.calcification.mask
        assert inside.any()
        assert result.rim[placed.window][inside].all()
        assert not result.mask[placed.window][inside].any()


def test_a_rim_keeps_others_out_of_its_inside():
    background, _ = breast(height=300, width=300)
    canvas = Canvas(background, 0.07, ONLY_VARIED, np.random.default_rng(0))
    rim = draw_calcification(Shape.RIM, 500.0, 0.5, np.random.default_rng(1))
    speck = draw_calcification(Shape.ROUND, 4.0, 0.5, np.random.default_rng(2))
    assert canvas.add(rim, 150.0, 100.0, 10.0, None)
    assert not canvas.add(speck, 150.0, 100.0, 10.0, None)
    canvas.take_back(0)
    assert canvas.add(speck, 150.0, 100.0, 10.0, None)


def test_in_noise_signals_are_weakened_to_what_there_is_room_for_and_not_left_out():
    background, _ = breast(height=600, width=500, noise=0.08)
    config = ImplantConfig(seed=1, isolated_per_mammogram=20, clusters_per_mammogram=0, variety=Variety.FULL)
    basic = dataclasses.replace(config, variety=Variety.BASIC)
    full, left_out = implant_mammogram(background, config), implant_mammogram(background, basic).left_out
    strongest = [placed for placed in full.calcifications if placed.contrast > 0.4999]
    assert strongest
    assert max(placed.contrast for placed in full.calcifications) <= 0.5
    assert min(placed.signal_to_noise for placed in full.calcifications) >= config.snr_min
    assert full.left_out < left_out


def test_signal_is_added_in_the_range_asked_and_the_rest_untouched():
    background, result = implanted()
    difference = result.pixels.astype(int) - background.pixels
    assert difference.min() >= 0
    patches = np.zeros(result.mask.shape, bool)
    for placed in result.calcifications:
        patches[placed.window] = True
        assert np.median(difference[placed.window][placed.calcification.mask]) > 0
        assert ONLY_VARIED.snr_min <= placed.signal_to_noise <= ONLY_VARIED.snr_max
    assert not difference[~patches].any()


def test_same_mammogram_and_seed_same_bits_another_seed_differs():
    background, first = implanted()
    again = implant_mammogram(background, ONLY_VARIED)
    np.testing.assert_array_equal(again.pixels, first.pixels)
    np.testing.assert_array_equal(again.mask, first.mask)
    assert not np.array_equal(implanted(seed=6)[1].mask, first.mask)


@pytest.mark.parametrize(("spacing", "bits_stored"), [(0.05, 10), (0.07, 14), (0.085, 13), (0.1, 12), (None, 16)])
def test_any_spacing_and_depth_of_a_small_mammogram_will_do(spacing, bits_stored):
    background, inside = breast(height=1000, width=800, spacing=spacing, bits_stored=bits_stored, noise=0.005)
    config = ImplantConfig(seed=2, isolated_per_mammogram=10, clusters_per_mammogram=2, variety=Variety.FULL)
    result = implant_mammogram(background, config)
    check_components(result)
    assert result.pixels.max() <= background.full_scale
    assert result.spacing_mm == (spacing or 0.05)
    assert not (result.mask & ~inside).any()
    assert len(result.calcifications) > 40
    assert {Shape.RIM, Shape.VASCULAR, Shape.SHARD} <= {p.calcification.shape for p in result.calcifications}


def test_where_the_breast_is_too_small_for_most_the_rest_is_placed_and_counted():
    background, _ = breast(height=300, width=300)
    result = implant_mammogram(background, dataclasses.replace(ONLY_VARIED, isolated_per_mammogram=3))
    assert result.left_out > 0
    assert result.calcifications
    check_components(result)


def test_a_monochrome1_file_is_implanted_brighter_and_the_table_names_the_kinds(tmp_path):
    (tmp_path / "in").mkdir()
    background, _ = breast(height=1000, width=800)
    path = tmp_path / "in" / "m.dcm"
    write_dicom(path, background.pixels, background, neutral_names(0, "p", "s", "i", 1))
    dataset = pydicom.dcmread(path)
    dataset.decompress()
    dataset.PhotometricInterpretation, dataset.PresentationLUTShape = "MONOCHROME1", "INVERSE"
    dataset.PixelData = (4095 - dataset.pixel_array).astype("<u2").tobytes()
    dataset.save_as(path)
    np.testing.assert_array_equal(read_mammogram(path).pixels, background.pixels)
    implant_folder(tmp_path / "in", tmp_path / "out", ONLY_VARIED)
    written = read_mammogram(tmp_path / "out" / "implant-0001.dcm")
    difference = written.pixels.astype(int) - background.pixels
    assert difference.min() == 0 < difference.max()
    rows = (tmp_path / "out" / "calcifications.csv").read_text().splitlines()[1:]
    shapes = {row.split(",")[3] for row in rows}
    assert {"popcorn", "rim", "vascular", "fine_pleomorphic"} <= shapes
    assert shapes & {"milk_of_calcium_teacup", "milk_of_calcium_smudge"}
    assert '"variety": "full"' in (tmp_path / "out" / "implant.json").read_text()
