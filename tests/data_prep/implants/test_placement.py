import dataclasses
import functools
import math

import numpy as np
import pytest
from scipy import ndimage

from data_prep.errors import InputError
from data_prep.implants.config import ImplantConfig
from data_prep.implants.placement import implant_mammogram
from data_prep.implants.site import local_noise
from data_prep.mammogram import Mammogram, SpacingSource

EIGHT = np.ones((3, 3), bool)
FEW = ImplantConfig(seed=7, isolated_per_mammogram=8, clusters_per_mammogram=2)


def breast(height=640, width=560, level=0.4, noise=0.01, seed=0, bits_stored=12, spacing=0.07):
    """A half ellipse of noise at the left edge of a dark film."""
    rows, columns = np.mgrid[:height, :width]
    inside = ((rows - height / 2) / (0.47 * height)) ** 2 + (columns / (0.8 * width)) ** 2 < 1.0
    intensity = np.where(inside, level, 0.01) + np.random.default_rng(seed).normal(0.0, noise, (height, width))
    pixels = np.rint(np.clip(intensity, 0.0, 1.0) * ((1 << bits_stored) - 1)).astype(np.uint16)
    source = SpacingSource.PIXEL_SPACING if spacing else SpacingSource.UNKNOWN
    return Mammogram(pixels, bits_stored, (spacing, spacing) if spacing else None, source), inside


@functools.cache
def implanted(config=FEW):
    background, inside = breast()
    return background, inside, implant_mammogram(background, config)


def test_basic_is_what_it_has_always_been():
    # Data sets and the figures on them rest on it: (shape, top, left, area in px, contrast).
    _, _, result = implanted()
    isolated = [placed for placed in result.calcifications if placed.cluster is None]
    assert [
        (placed.calcification.shape.value, placed.top, placed.left, placed.calcification.area_px) for placed in isolated
    ] == [
        ("irregular", 423, 33, 7), ("round", 366, 358, 3), ("irregular", 449, 93, 3), ("round", 395, 214, 13),
        ("round", 67, 56, 58), ("elongated", 411, 134, 28), ("irregular", 412, 386, 3), ("round", 482, 240, 13),
    ]  # fmt: skip
    contrasts = [0.0782, 0.1450, 0.1732, 0.1295, 0.0412, 0.0788, 0.0902, 0.1169]
    assert [placed.contrast for placed in isolated] == pytest.approx(contrasts, abs=6e-5)
    assert [sum(placed.cluster == number for placed in result.calcifications) for number in (1, 2)] == [22, 18]
    assert (result.mask.sum(), result.rim.sum()) == (439, 359)


def test_components_of_the_mask_are_the_calcifications_one_to_one():
    _, _, result = implanted()
    labels, count = ndimage.label(result.mask, EIGHT)
    assert count == len(result.calcifications) > 8
    areas = [placed.calcification.area_px for placed in result.calcifications]
    assert sorted(np.bincount(labels.ravel())[1:]) == sorted(areas)


def test_at_least_two_background_pixels_part_neighbours():
    _, _, result = implanted()
    labels, _ = ndimage.label(result.mask, EIGHT)
    # Within two pixels of a calcification's pixel lies no pixel of one with a higher number.
    np.testing.assert_array_equal(ndimage.maximum_filter(labels, 5)[result.mask], labels[result.mask])


def test_all_lie_in_the_breast_away_from_skin_and_border():
    _, inside, result = implanted()
    rows, columns = np.nonzero(result.mask)
    assert columns.min() >= 25
    # The outline is known to a cell of 8 px; the skin's margin is 1.5 mm, 21 px.
    assert ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1][rows, columns].min() > 21 - 8


def test_isolated_ones_are_three_mm_from_all_others():
    _, _, result = implanted()
    isolated = [placed.centroid for placed in result.calcifications if placed.cluster is None]
    everyone = [placed.centroid for placed in result.calcifications]
    assert len(isolated) == 8
    for centroid in isolated:
        distances = sorted(math.dist(centroid, other) * 0.07 for other in everyone)
        assert distances[0] == 0.0
        assert distances[1] > 2.9


def test_clusters_have_five_or_more_within_two_cm():
    _, _, result = implanted()
    assert result.clusters == 2
    for number in (1, 2):
        members = [placed.centroid for placed in result.calcifications if placed.cluster == number]
        assert len(members) >= 5
        assert max(math.dist(a, b) for a in members for b in members) * 0.07 <= 20.0


def test_signal_is_added_and_the_rest_untouched():
    background, _, result = implanted()
    difference = result.pixels.astype(int) - background.pixels
    assert difference.min() >= 0
    near = ndimage.binary_dilation(result.mask, EIGHT, iterations=4)
    assert not difference[~near].any()
    for placed in result.calcifications:
        assert np.median(difference[placed.window][placed.calcification.mask]) > 0
        if placed.cluster is None:  # neighbours' blur adds up
            peak = difference[placed.window].max()
            assert peak == pytest.approx(placed.contrast * background.full_scale, rel=0.06, abs=1.0)


def test_noise_of_the_background_lies_over_the_signal():
    background, _, result = implanted()
    largest = max(result.calcifications, key=lambda placed: placed.calcification.area_px)
    signal = largest.contrast * background.full_scale * largest.calcification.signal
    left = result.pixels[largest.window] - signal
    mask = largest.calcification.mask
    np.testing.assert_allclose(left[mask], background.pixels[largest.window][mask], atol=1.0)


def test_signal_to_noise_is_mean_signal_over_local_noise():
    background, _, result = implanted()
    for placed in (placed for placed in result.calcifications if placed.cluster is None):
        patch = placed.calcification
        # The site is drawn within the patch's middle pixel.
        site = (placed.top + patch.mask.shape[0] // 2, placed.left + patch.mask.shape[1] // 2)
        noise = local_noise(background.intensity(), site, math.sqrt(patch.area_px / math.pi))
        mean = placed.contrast * patch.signal[patch.mask].mean()
        assert mean / noise == pytest.approx(placed.signal_to_noise, rel=1e-4)


def test_signal_to_noise_stays_in_the_range_asked():
    _, _, result = implanted()
    ratios = [placed.signal_to_noise for placed in result.calcifications]
    assert FEW.snr_min <= min(ratios) < max(ratios) <= FEW.snr_max


def test_same_mammogram_and_seed_same_bits_another_seed_differs():
    background, _, first = implanted()
    again = implant_mammogram(background, FEW)
    np.testing.assert_array_equal(again.pixels, first.pixels)
    np.testing.assert_array_equal(again.mask, first.mask)
    other = implant_mammogram(background, dataclasses.replace(FEW, seed=8))
    assert not np.array_equal(other.mask, first.mask)


def test_sizes_scale_with_the_stated_spacing_and_else_with_the_assumed_one():
    config = ImplantConfig(seed=1, isolated_per_mammogram=0, clusters_per_mammogram=3, pixel_spacing_mm=0.1)
    stated = implant_mammogram(breast(spacing=0.05)[0], config)
    assumed = implant_mammogram(breast(spacing=None)[0], config)
    assert (stated.spacing_mm, assumed.spacing_mm) == (0.05, 0.1)
    areas = [np.mean([placed.calcification.area_px for placed in r.calcifications]) for r in (stated, assumed)]
    assert 2.0 < areas[0] / areas[1] < 7.0  # 4 on average


def test_sizes_are_those_of_figure_3():
    background = Mammogram(
        np.random.default_rng(0).normal(20000, 500, (2400, 2400)).astype(np.uint16),
        16, (0.05, 0.05), SpacingSource.PIXEL_SPACING,
    )  # fmt: skip
    rows, columns = np.mgrid[:2400, :2400]
    background.pixels[np.hypot(rows - 1200, columns - 1200) > 1150] = 100
    result = implant_mammogram(background, ImplantConfig(seed=2, isolated_per_mammogram=140, clusters_per_mammogram=12))
    areas = np.array([placed.calcification.area_px for placed in result.calcifications])
    assert len(areas) > 250
    assert 0.3 < (areas < 10).mean() < 0.5
    assert (areas < 50).mean() > 0.85
    assert 0.01 < (areas > 100).mean() < 0.06
    assert areas.min() >= 1
    assert 2.0 * math.sqrt(areas.max() / math.pi) * 0.05 < 3.1
    assert {placed.calcification.shape.value for placed in result.calcifications} == {
        "round", "irregular", "elongated", "branching",
    }  # fmt: skip


def test_what_finds_no_room_is_counted():
    background, _ = breast(height=300, width=300)
    result = implant_mammogram(background, ImplantConfig(seed=1, isolated_per_mammogram=200, clusters_per_mammogram=0))
    isolated = len(result.calcifications)
    assert 0 < isolated < 200
    assert isolated + result.left_out == 200


def test_a_picture_without_breast_is_refused():
    black = Mammogram(np.zeros((600, 600), np.uint16), 12)
    with pytest.raises(InputError, match="no breast found"):
        implant_mammogram(black, FEW)


def test_saturated_tissue_is_refused():
    background, _ = breast(level=1.0, noise=0.0)
    with pytest.raises(InputError, match="no calcification could be placed"):
        implant_mammogram(background, dataclasses.replace(FEW, clusters_per_mammogram=1, isolated_per_mammogram=2))


def test_a_flat_breast_gets_signals_of_at_least_some_stored_values():
    background, _ = breast(noise=0.0)
    result = implant_mammogram(background, dataclasses.replace(FEW, clusters_per_mammogram=0))
    difference = result.pixels.astype(int) - background.pixels
    assert all(difference[placed.window].max() >= 2 for placed in result.calcifications)


@pytest.mark.parametrize(
    ("field", "value", "names"),
    [
        ("seed", -1, "--seed"),
        ("pixel_spacing_mm", 0.0, "--pixel_spacing_mm"),
        ("pixel_spacing_mm", math.nan, "--pixel_spacing_mm"),
        ("isolated_per_mammogram", -1, "--isolated_per_mammogram"),
        ("clusters_per_mammogram", -1, "--clusters_per_mammogram"),
        ("snr_min", 0.0, "--snr_min"),
        ("snr_min", 31.0, "--snr_max"),
        ("snr_max", math.inf, "--snr_max"),
        ("blur_mm", -0.1, "--blur_mm"),
    ],
)
def test_settings_out_of_range_are_refused_by_their_flag(field, value, names):
    with pytest.raises(InputError, match=names):
        dataclasses.replace(ImplantConfig(), **{field: value})


def test_asking_for_nothing_is_refused():
    with pytest.raises(InputError, match="must not both be 0"):
        ImplantConfig(isolated_per_mammogram=0, clusters_per_mammogram=0)
