import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from calcseg_tf.augment import AugmentConfig, augment
from data_prep.errors import InputError
from data_prep.schema import BACKGROUND, CALCIFICATION, IGNORE

NO_FLIP = AugmentConfig(max_rotation_degrees=45.0, horizontal_flip=False)
STILL = AugmentConfig(max_rotation_degrees=0.0, horizontal_flip=False)


def edges(share):
    """Edges alone."""
    return AugmentConfig(max_rotation_degrees=0.0, horizontal_flip=False, edge_share=share)


def fix_angles(monkeypatch, *degrees):
    """Lets the draw of angles return these; the rotation itself stays real."""
    monkeypatch.setattr(tf.random, "stateless_uniform", lambda *_, **__: tf.constant(np.radians(degrees), tf.float32))


def squares(row, column, side, crops=1):
    image = np.zeros((crops, side, side, 1), np.float32)
    image[:, row, column] = 1.0
    return tf.constant(image), tf.constant((image > 0).astype(np.uint8))


def seed_of(number):
    return tf.constant([number, 7], tf.int64)


@pytest.mark.parametrize(("degrees", "row", "column"), [(45, -7, 7), (-45, 7, 7), (0, 0, 10)])
def test_a_positive_angle_turns_counter_clockwise_about_the_middle(monkeypatch, degrees, row, column):
    # 10 px right of the middle of a crop of 31 px; 10 cos 45 degrees is 7.07.
    outer = NO_FLIP.outer_size(31)
    assert outer % 2 == 1
    image, mask = squares(outer // 2, outer // 2 + 10, outer)
    fix_angles(monkeypatch, degrees)
    turned, turned_mask = augment(image, mask, 31, seed_of(0), NO_FLIP)
    assert np.argwhere(turned_mask[0, :, :, 0]).tolist() == [[15 + row, 15 + column]]
    weights = turned.numpy()[0, :, :, 0]
    rows, columns = np.indices(weights.shape)
    centre = (np.sum(rows * weights) / weights.sum(), np.sum(columns * weights) / weights.sum())
    exact = (15 - 10 * math.sin(math.radians(degrees)), 15 + 10 * math.cos(math.radians(degrees)))
    np.testing.assert_allclose(centre, exact, atol=0.15)


def test_each_crop_turns_by_its_own_draw():
    outer = NO_FLIP.outer_size(41)
    image, mask = squares(outer // 2, outer // 2 + 15, outer, crops=6)
    _, turned = augment(image, mask, 41, seed_of(3), NO_FLIP)
    places = {tuple(np.argwhere(crop[:, :, 0])[0]) for crop in turned.numpy()}
    assert len(places) > 3


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 24), st.integers(0, 24))
def test_image_and_mask_move_together(number, row, column):
    config = AugmentConfig(35.0, True)
    outer = config.outer_size(24)
    image = np.zeros((4, outer, outer, 1), np.float32)
    top, left = (outer - 24) // 2 + np.clip([row, column], 4, 17)
    image[:, top : top + 3, left : left + 3] = 1.0
    mask = (image > 0.5).astype(np.uint8)
    turned, turned_mask = (each.numpy() for each in augment(image, mask, 24, seed_of(number), config))
    assert set(np.unique(turned_mask)) <= {0, 1, 255}
    for one, other in zip(turned, turned_mask, strict=True):
        if other.any():
            # Nearest and bilinear differ by less than a pixel: what the mask marks has some brightness.
            assert one[other == 1].min() > 0.2
            assert other[one > 0.8].all()


def test_about_half_of_the_crops_are_mirrored_and_the_others_are_not():
    image, mask = squares(2, 1, 9, crops=200)
    flipped, flipped_mask = augment(image, mask, 9, seed_of(1), AugmentConfig(0.0, True))
    columns = np.argwhere(flipped.numpy()[..., 0])
    assert set(map(tuple, columns[:, 1:])) == {(2, 1), (2, 7)}
    assert 70 < (columns[:, 2] == 7).sum() < 130
    np.testing.assert_array_equal(flipped_mask.numpy() == 1, flipped.numpy() == 1)


def test_without_rotation_and_flip_nothing_changes():
    image = tf.random.stateless_uniform([3, 10, 10, 1], [1, 2])
    mask = tf.cast(image > 0.5, tf.uint8)
    assert STILL.outer_size(10) == 10
    same, same_mask = augment(image, mask, 10, seed_of(5), STILL)
    np.testing.assert_array_equal(same, image)
    np.testing.assert_array_equal(same_mask, mask)


def test_a_rotation_by_0_degrees_is_the_identity(monkeypatch):
    outer = NO_FLIP.outer_size(10)
    image = tf.random.stateless_uniform([1, outer, outer, 1], [1, 2])
    margin = (outer - 10) // 2
    fix_angles(monkeypatch, 0.0)
    same, _ = augment(image, tf.cast(image > 0.5, tf.uint8), 10, seed_of(5), NO_FLIP)
    np.testing.assert_allclose(same, image[:, margin:-margin, margin:-margin], atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.floats(0.0, 45.0), st.integers(0, 10**6))
def test_the_outer_square_holds_the_crop_at_every_angle(crop_size, degrees, number):
    config = AugmentConfig(degrees, horizontal_flip=True)
    outer = config.outer_size(crop_size)
    assert (outer - crop_size) % 2 == 0
    # Nothing from outside, where the fill is 0 and IGNORE, may come into sight.
    image = tf.ones([8, outer, outer, 1])
    turned, mask = augment(image, tf.ones([8, outer, outer, 1], tf.uint8), crop_size, seed_of(number), config)
    assert turned.shape == mask.shape == (8, crop_size, crop_size, 1)
    np.testing.assert_allclose(turned, 1.0, atol=1e-5)
    np.testing.assert_array_equal(mask, 1)


def test_the_outer_square_holds_the_crop_at_the_widest_angle_itself(monkeypatch):
    for crop_size in (1, 2, 31, 64, 257):
        for degrees in (35.0, 45.0):
            config = AugmentConfig(degrees, horizontal_flip=False)
            outer = config.outer_size(crop_size)
            fix_angles(monkeypatch, -degrees, degrees)
            turned, mask = augment(
                tf.ones([2, outer, outer, 1]),
                tf.ones([2, outer, outer, 1], tf.uint8),
                crop_size,
                seed_of(0),
                config,
            )
            np.testing.assert_allclose(turned, 1.0, atol=1e-5)
            np.testing.assert_array_equal(mask, 1)


@pytest.mark.parametrize("config", [AugmentConfig(), AugmentConfig(max_contrast_factor=2.5, edge_share=0.5)])
def test_the_same_seed_gives_the_same_crops_eagerly_and_in_a_data_set(config):
    outer = config.outer_size(20)
    image = tf.random.stateless_uniform([5, outer, outer, 1], [3, 4])
    mask = tf.cast(image > 0.7, tf.uint8)
    eager = augment(image, mask, 20, seed_of(11), config)
    data = tf.data.Dataset.from_tensors(seed_of(11)).map(lambda seed: augment(image, mask, 20, seed, config))
    for one, other in zip(eager, next(iter(data)), strict=True):
        np.testing.assert_array_equal(one, other)
    another = augment(image, mask, 20, seed_of(12), config)
    assert not np.array_equal(eager[0], another[0])


@pytest.mark.parametrize("degrees", [-1.0, 45.1, math.nan, math.inf])
def test_an_angle_out_of_range_is_refused(degrees):
    with pytest.raises(InputError, match=f"--max_rotation_degrees must be 0 to 45; found {degrees}"):
        AugmentConfig(max_rotation_degrees=degrees)


def test_zoom_magnifies_and_reduces_about_the_middle_by_at_most_its_factor():
    config = AugmentConfig(max_rotation_degrees=0.0, horizontal_flip=False, max_zoom_factor=2.0)
    outer = config.outer_size(41)
    rows, columns = np.indices((outer, outer)) - (outer - 1) / 2
    disk = np.repeat((np.hypot(rows, columns) < 8)[None, ..., None], 40, axis=0)
    image, mask = augment(disk.astype(np.float32), disk.astype(np.uint8), 41, seed_of(5), config)
    factors = np.sqrt(image.numpy().sum(axis=(1, 2, 3)) / disk[0].sum())
    assert 0.49 < factors.min() < 0.7
    assert 1.4 < factors.max() < 2.01
    assert 0.35 < np.mean(factors > 1) < 0.65
    # The mask goes with it, and stays in the middle.
    np.testing.assert_allclose(np.sqrt((mask.numpy() == 1).sum(axis=(1, 2, 3)) / disk[0].sum()), factors, atol=0.1)
    for crop in image.numpy()[..., 0]:
        at = np.argwhere(crop > 0.5)
        np.testing.assert_allclose(at.mean(axis=0), (20, 20), atol=0.3)


@given(
    st.integers(1, 70), st.sampled_from([0.0, 10.0, 45.0]), st.sampled_from([1.0, 1.1, 1.5, 2.0]), st.integers(0, 2**31)
)
@settings(max_examples=25, deadline=None)
def test_the_outer_square_holds_the_crop_at_every_zoom(crop_size, degrees, zoom, number):
    config = AugmentConfig(degrees, horizontal_flip=False, max_zoom_factor=zoom)
    outer = config.outer_size(crop_size)
    image, mask = tf.ones([8, outer, outer, 1]), tf.zeros([8, outer, outer, 1], tf.uint8)
    image, mask = augment(image, mask, crop_size, seed_of(number), config)
    assert image.shape == (8, crop_size, crop_size, 1)
    assert set(np.unique(mask)) == {BACKGROUND}
    np.testing.assert_allclose(image, 1.0, atol=1e-5)


@pytest.mark.parametrize("factor", [0.5, 2.5, math.nan])
def test_a_zoom_out_of_range_is_refused(factor):
    with pytest.raises(InputError, match="--max_zoom_factor must be 1 to 2"):
        AugmentConfig(max_zoom_factor=factor)


def test_edges_are_added_to_their_share_of_the_crops_and_to_no_other():
    image = tf.fill([400, 16, 16, 1], 0.5)
    edged, mask = augment(image, tf.zeros([400, 16, 16, 1], tf.uint8), 16, seed_of(2), edges(0.25))
    changed = np.abs(edged.numpy() - 0.5).max(axis=(1, 2, 3)) > 1e-6
    assert 70 < changed.sum() < 130
    assert not mask.numpy().any()
    same, _ = augment(image, mask, 16, seed_of(2), edges(0.0))
    np.testing.assert_array_equal(same, image)


def test_an_edge_is_straight_and_rises_one_way_by_at_most_its_height():
    image = tf.fill([64, 33, 33, 1], 0.5)
    edged = augment(image, tf.zeros([64, 33, 33, 1], tf.uint8), 33, seed_of(4), edges(1.0))[0].numpy()
    whole = edged[(edged > 0).all(axis=(1, 2, 3)) & (edged < 1).all(axis=(1, 2, 3))]
    assert len(whole) > 20
    for crop in whole:
        step = crop[:, :, 0] - 0.5
        assert np.abs(step).max() <= 0.8
        for differences in (np.diff(step, axis=0), np.diff(step, axis=1)):
            assert (differences >= -1e-6).all() or (differences <= 1e-6).all()


def test_a_calcification_that_leaves_the_scale_is_ignored_and_background_is_not():
    image = np.full((300, 8, 8, 1), 0.5, np.float32)
    mask = np.full((300, 8, 8, 1), BACKGROUND, np.uint8)
    image[:, 4, 4], mask[:, 4, 4] = 0.95, CALCIFICATION
    edged, changed = (
        each.numpy() for each in augment(tf.constant(image), tf.constant(mask), 8, seed_of(6), edges(1.0))
    )
    assert edged.min() >= 0.0
    assert edged.max() <= 1.0
    cut_off = changed[:, 4, 4, 0] == IGNORE
    assert 20 < cut_off.sum() < 280
    assert set(edged[cut_off, 4, 4, 0].tolist()) <= {0.0, 1.0}
    assert (changed[~cut_off, 4, 4, 0] == CALCIFICATION).all()
    changed[:, 4, 4] = BACKGROUND
    assert not changed.any()


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_of_edges_out_of_range_is_refused(share):
    with pytest.raises(InputError, match=f"--edge_share must be 0 to 1; found {share}"):
        AugmentConfig(edge_share=share)
