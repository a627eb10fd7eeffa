import dataclasses

import numpy as np
import pytest

from data_prep.breast import breast_mask
from data_prep.dicom.terms import Laterality, SpacingSource, View
from data_prep.synthesis.artifacts import add_artifacts
from data_prep.synthesis.detector import Air, Look, Technique, Tone, develop
from data_prep.synthesis.hard_negative import Kind
from data_prep.synthesis.picture import VIEWS, SynthesisConfig, draw_patient, synthesize_mammogram
from data_prep.synthesis.shape import Field, draw_shape
from data_prep.synthesis.tissue import FAT_PER_MM, attenuate
from tests.data_prep.synthesis.spectrum import exponent

SMALL = SynthesisConfig(seed=5, field_height_mm=40.0, field_width_mm=35.0)
TECHNIQUE = Technique(
    look=Look.DIGITAL, spacing_mm=0.1, bits_stored=12, monochrome1=False, tone=Tone.LINEAR, contrast=1.0, low=0.2,
    high=0.8, ceiling=1.0, equalise=0.0, sharpen=0.0, air=Air.ZERO, blur_mm=0.04, quanta_per_mm2=1e5, grain=0.0,
    grain_mm=0.0,
)  # fmt: skip


def pictures(count, config=SMALL):
    return [synthesize_mammogram(config, 1 + index // 4, index % 4) for index in range(count)]


@pytest.fixture(scope="module")
def drawn():
    return pictures(12)


def shape_of(seed, view=View.CC, spacing=0.1, size=(600, 500)):
    return draw_shape(Field(*size, spacing), view, 0.3, 50.0, 1.5, np.random.default_rng(seed))


def test_the_same_arguments_give_the_same_picture_and_others_another():
    first, again = (synthesize_mammogram(SMALL, 2, 1) for _ in range(2))
    np.testing.assert_array_equal(first.mammogram.pixels, again.mammogram.pixels)
    assert first.hard_negatives == again.hard_negatives
    other = synthesize_mammogram(dataclasses.replace(SMALL, seed=6), 2, 1)
    assert other.mammogram.pixels.shape != first.mammogram.pixels.shape or not np.array_equal(
        other.mammogram.pixels, first.mammogram.pixels
    )


def test_a_patient_has_both_breasts_in_both_views_by_one_machine(drawn):
    for patient in range(3):
        four = drawn[4 * patient : 4 * patient + 4]
        assert {(one.mammogram.view, one.mammogram.laterality) for one in four} == set(VIEWS)
        assert len({one.technique for one in four}) == 1


def test_size_and_spacing_are_those_of_the_field(drawn):
    for one in drawn:
        spacing = one.technique.spacing_mm
        assert one.mammogram.pixel_spacing_mm == (spacing, spacing)
        assert one.mammogram.pixels.shape == (round(40.0 / spacing), round(35.0 / spacing))
        film = one.technique.look is Look.FILM
        assert one.mammogram.spacing_source is (SpacingSource.SCANNED if film else SpacingSource.IMAGER)


def test_stored_values_use_their_bits_and_the_breast_is_found(drawn):
    for one in drawn:
        intensity = one.mammogram.intensity()
        share = breast_mask(intensity).mean()
        assert 0.1 < share < 0.98
        # No part of it is flat: there is noise everywhere.
        assert intensity[breast_mask(intensity)].std() > 0.01
        # Cut off neither below nor above.
        assert (intensity == 1.0).mean() < 0.2


def test_every_hard_negative_lies_in_the_picture_and_each_kind_occurs(drawn):
    for one in drawn:
        assert one.hard_negatives
        for thing in one.hard_negatives:
            assert 0 <= thing.row < one.mammogram.pixels.shape[0]
            assert 0 <= thing.column < one.mammogram.pixels.shape[1]
            assert thing.size_mm > 0.0
    film = pictures(4, dataclasses.replace(SMALL, film_share=1.0))
    digital = pictures(8, dataclasses.replace(SMALL, film_share=0.0))
    kinds = {thing.kind for one in [*film, *digital] for thing in one.hard_negatives}
    rare = {Kind.CLIP, Kind.WIRE, Kind.MOLE, Kind.DEAD_LINE, Kind.FOLD, Kind.VESSEL_END_ON}
    assert kinds | rare == set(Kind)
    assert not {Kind.DUST, Kind.SCRATCH, Kind.HAIR} & {thing.kind for one in digital for thing in one.hard_negatives}


def test_a_share_of_patients_is_film():
    looks = [draw_patient(dataclasses.replace(SMALL, film_share=0.3), number).technique.look for number in range(300)]
    assert 0.2 < np.mean([look is Look.FILM for look in looks]) < 0.4
    assert {draw_patient(dataclasses.replace(SMALL, film_share=0.0), n).technique.look for n in range(50)} == {
        Look.DIGITAL
    }


def test_machines_differ_as_they_are_said_to():
    techniques = [draw_patient(dataclasses.replace(SMALL, film_share=0.1), n).technique for n in range(400)]
    assert {one.spacing_mm for one in techniques} == {0.05, 0.07, 0.085, 0.1}
    assert {one.bits_stored for one in techniques} == {10, 12, 13, 14, 16}
    assert {one.tone for one in techniques} == set(Tone)
    assert {one.air for one in techniques} == set(Air)
    assert {one.monochrome1 for one in techniques} == {False, True}
    quanta = [one.quanta_per_mm2 for one in techniques if one.look is Look.DIGITAL]
    assert 5e4 <= min(quanta) < 6e4
    assert 3e5 < max(quanta) <= 3.5e5


def test_tissue_has_the_spectrum_of_mammograms():
    found = []
    for number in range(1, 6):
        one = synthesize_mammogram(SynthesisConfig(3, 45.0, 50.0, film_share=0.25), number, 0)
        intensity, spacing = one.mammogram.intensity(), one.technique.spacing_mm
        side = round(25.0 / spacing)
        top = (intensity.shape[0] - side) // 2
        # By the chest wall, away from what lies on the border.
        left = round(5.0 / spacing)
        columns = [slice(left, left + side), slice(-left - side, -left)]
        patch = max((intensity[top : top + side, part] for part in columns), key=np.mean)
        found.append(exponent(patch, spacing, 0.15, 1.0))
    # Real ones by the same measure: 2.6 to 3.3 (eight films, one digital).
    assert 2.4 < np.median(found) < 3.4
    assert min(found) > 1.8
    assert max(found) < 4.2


def test_the_shape_is_thick_behind_its_edge_and_has_a_skin():
    shape = shape_of(1)
    assert shape.thickness_mm[shape.depth_mm < -0.5].max() == 0.0
    inside = shape.depth_mm > 20.0
    assert 40.0 < shape.thickness_mm[inside].min() <= shape.thickness_mm[inside].max() < 60.0
    assert np.all(shape.skin_mm[inside] < 5.0)
    assert shape.skin_mm.max() > 6.0  # seen from its edge
    assert not shape.muscle.any()


def test_only_the_oblique_view_shows_muscle_at_the_top_by_the_chest_wall():
    shape = shape_of(2, View.MLO, 0.2, (900, 700))
    assert shape.muscle[0, 0] > 0.9
    assert shape.muscle[:, -1].max() < 0.1
    assert shape.muscle[-1].max() < 0.1


def test_fat_attenuates_as_fat_and_air_not_at_all():
    shape = shape_of(3)
    logarithm = attenuate(shape, np.zeros_like(shape.depth_mm))
    deep = np.unravel_index(int(np.argmax(shape.depth_mm)), shape.depth_mm.shape)
    path = shape.thickness_mm[deep] - shape.skin_mm[deep]
    assert logarithm[deep] == pytest.approx(path * FAT_PER_MM + shape.skin_mm[deep] * 0.0802, rel=1e-5)
    assert not logarithm[shape.depth_mm < -0.5].any()


def test_a_label_lies_beside_the_breast_and_dust_on_it_too():
    technique = dataclasses.replace(TECHNIQUE, look=Look.FILM)
    breast = np.zeros((1200, 1000), bool)
    breast[:, :250] = True
    placed, lettered = [], 0
    for seed in range(12):
        picture = np.where(breast, np.float32(0.3), np.float32(0.0))
        own = add_artifacts(picture, breast, technique, Laterality.LEFT, View.CC, np.random.default_rng(seed))
        label = [thing for thing in own if thing.kind is Kind.LABEL]
        # Nothing else is bright over so large an area away from the borders.
        bright = (picture[60:-60, 260:-60] > 0.5).sum() > 2000
        lettered += int(bright)
        assert not bright or label
        # On the breast only what is small: specks, hairs, scratches.
        assert (picture[60:-60, 60:240] > 0.8).mean() < 0.01
        placed += own
    assert lettered >= 6
    assert all(thing.column > 250 for thing in placed if thing.kind is Kind.LABEL)
    dust = [breast[int(thing.row), int(thing.column)] for thing in placed if thing.kind is Kind.DUST]
    assert 0.5 < np.mean(dust) < 0.95


@pytest.mark.parametrize("size", [(40, 36), (37, 61), (45, 52)])
@pytest.mark.parametrize("look", list(Look))
def test_artifacts_stay_within_a_picture_of_any_size(size, look):
    technique = dataclasses.replace(TECHNIQUE, look=look, air=Air.WHITE_MARGIN)
    for seed in range(40):
        picture = np.full(size, 0.3, np.float32)
        breast = np.ones(size, bool)
        for thing in add_artifacts(picture, breast, technique, Laterality.RIGHT, View.MLO, np.random.default_rng(seed)):
            assert 0 <= thing.row < size[0]
            assert 0 <= thing.column < size[1]
        assert 0.0 <= picture.min() <= picture.max() <= 1.0


def test_a_hot_pixel_has_no_blur():
    picture, breast = np.full((300, 300), 0.3, np.float32), np.ones((300, 300), bool)
    placed = add_artifacts(picture, breast, TECHNIQUE, Laterality.LEFT, View.CC, np.random.default_rng(0))
    hot = [thing for thing in placed if thing.kind is Kind.HOT_PIXEL]
    assert hot
    for thing in hot:
        row, column = int(thing.row), int(thing.column)
        assert picture[row, column] != np.float32(0.3)
        assert (picture[row - 1 : row + 2 : 2, column - 1 : column + 2] == np.float32(0.3)).all()


def uniform(technique, seed=0):
    shape = shape_of(1)
    logarithm = np.full((600, shape.columns_px), 2.0, np.float32)
    logarithm[:, : shape.columns_px // 8] += 1.0  # something for the grey values to span
    picture = develop(shape, logarithm, technique, np.random.default_rng(seed))
    return picture, picture[200:400, shape.columns_px // 4 : shape.columns_px // 2]


def test_four_times_the_dose_halves_the_noise():
    low, high = (uniform(dataclasses.replace(TECHNIQUE, quanta_per_mm2=quanta))[1].std() for quanta in (1e5, 4e5))
    assert low / high == pytest.approx(2.0, rel=0.05)
    # 1 / sqrt(1e5 quanta / mm2 x 0.01 mm2) = 0.032 of a logarithm, which spans 0.6 of full scale.
    assert low == pytest.approx(0.6 * 0.0316, rel=0.15)


def test_air_is_zero_where_it_is_cut_and_noisy_where_not():
    cut, _ = uniform(TECHNIQUE)
    assert not cut[:, -20:].any()
    left, _ = uniform(dataclasses.replace(TECHNIQUE, air=Air.NOISY))
    assert left[:, -20:].any()


@pytest.mark.parametrize("tone", list(Tone))
def test_denser_is_brighter_whatever_the_curve(tone):
    shape = shape_of(1)
    ramp = np.broadcast_to(np.linspace(1.5, 4.0, 600, dtype=np.float32)[:, None], (600, shape.columns_px)).copy()
    technique = dataclasses.replace(TECHNIQUE, tone=tone, quanta_per_mm2=1e9)
    column = develop(shape, ramp, technique, np.random.default_rng(0))[150:450, 20]
    assert (np.diff(column[::10]) > 0.0).all()
    assert 0.0 <= column.min() < column.max() <= 1.0


def test_the_breast_lies_on_the_side_that_its_laterality_says_but_for_a_few():
    right = {Laterality.LEFT: 0, Laterality.RIGHT: 0}
    config = SynthesisConfig(seed=9, field_height_mm=20.0, field_width_mm=30.0, film_share=0.0)
    for number in range(1, 13):
        for picture in (0, 1):
            one = synthesize_mammogram(config, number, picture)
            halves = np.array_split(one.mammogram.pixels[::4, ::4].astype(float), 2, axis=1)
            right[one.mammogram.laterality] += int(halves[1].mean() > halves[0].mean())
    assert right[Laterality.LEFT] <= 4
    assert right[Laterality.RIGHT] >= 8
