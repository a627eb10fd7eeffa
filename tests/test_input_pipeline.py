import collections

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.python.eager import context

from calcseg_tf.augment import AugmentConfig
from calcseg_tf.input_pipeline import InputConfig, crops_of, training_batch_ids, training_batches
from data_prep.errors import InputError
from tests.fakes.records import fake_record, write_fake_records

STILL = AugmentConfig(max_rotation_degrees=0.0, horizontal_flip=False)


def seed_of(number):
    return tf.constant([number, 0], tf.int64)


def numbered(height, width):
    """An image in which every pixel is its own number, so that a crop tells where it was cut."""
    return (np.arange(1, height * width + 1, dtype=np.float32) / (height * width)).reshape(height, width, 1)


def place_of(crop, width, pixels):
    number = int(np.rint(crop[0, 0, 0] * pixels)) - 1
    return divmod(number, width)


def config_of(**values):
    return InputConfig(**{"crop_size": 8, "crops_per_image": 40, "augment": STILL, **values})


@settings(max_examples=25, deadline=None)
@given(st.integers(8, 30), st.integers(8, 30), st.floats(0, 1), st.integers(0, 10**6), st.data())
def test_crops_lie_inside_the_mammogram(height, width, share, number, data):
    image, mask = numbered(height, width), np.zeros((height, width, 1), np.uint8)
    mask[data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))] = 1
    config = config_of(calcification_share=share)
    crops, masks = (each.numpy() for each in crops_of(image, mask, seed_of(number), config))
    for crop, crop_mask in zip(crops, masks, strict=True):
        row, column = place_of(crop, width, height * width)
        np.testing.assert_array_equal(crop, image[row : row + 8, column : column + 8])
        np.testing.assert_array_equal(crop_mask, mask[row : row + 8, column : column + 8])


def test_crops_reach_every_corner():
    crops, _ = crops_of(numbered(10, 9), np.zeros((10, 9, 1), np.uint8), seed_of(0), config_of(crops_per_image=200))
    places = collections.Counter(place_of(crop, 9, 90) for crop in crops.numpy())
    assert set(places) == {(row, column) for row in range(3) for column in range(2)}


def test_crops_are_not_drawn_on_air():
    image = np.zeros((96, 96, 1), np.float32)
    image[48:80, 16:32] = 0.5
    crops, _ = crops_of(image, np.zeros(image.shape, np.uint8), seed_of(0), config_of(crops_per_image=100))
    assert (crops.numpy() > 0).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("size", [(5, 20), (20, 3), (1, 1)])
def test_a_small_mammogram_is_padded_with_what_is_ignored(size):
    image, mask = numbered(*size), np.zeros((*size, 1), np.uint8)
    mask[0, 0] = 1
    crops, masks = (each.numpy() for each in crops_of(image, mask, seed_of(0), config_of()))
    height, width = min(size[0], 8), min(size[1], 8)
    assert np.all(crops[:, :height, :width] > 0)
    assert np.all(masks[:, :height, :width] <= 1)
    outside = np.ones((8, 8), bool)
    outside[:height, :width] = False
    assert np.all(crops[:, outside] == 0)
    assert np.all(masks[:, outside] == 255)


def test_rotation_brings_in_the_mammogram_around_the_crop_and_ignores_what_is_outside():
    image, mask = np.ones((40, 40, 1), np.float32), np.zeros((40, 40, 1), np.uint8)
    config = config_of(crop_size=12, augment=AugmentConfig(45.0, True), crops_per_image=60)
    crops, masks = (each.numpy() for each in crops_of(image, mask, seed_of(2), config))
    assert set(np.unique(masks)) == {0, 255}
    assert np.all(crops[masks == 255] < 1 - 1e-3)
    assert np.all(crops[:, 5:7, 5:7] > 1 - 1e-5)


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 6), (0.5, 15, 50), (1.0, 60, 60)])
def test_the_share_of_crops_around_a_calcification_is_the_one_asked_for(share, least, most):
    mask = np.zeros((100, 100, 1), np.uint8)
    mask[50, 50] = 1  # a uniform crop holds it once in 135
    config = config_of(calcification_share=share, crops_per_image=60)
    _, masks = crops_of(numbered(100, 100), mask, seed_of(4), config)
    with_calcification = (masks.numpy() == 1).any(axis=(1, 2, 3)).sum()
    assert least <= with_calcification <= most


@settings(max_examples=10, deadline=None)
@given(st.integers(64, 96), st.integers(64, 96), st.integers(0, 10**6))
def test_no_rotation_turns_the_calcification_out_of_its_crop(row, column, number):
    mask = np.zeros((160, 160, 1), np.uint8)
    mask[row : row + 2, column : column + 2] = 1  # nearest-neighbour rotation can step over a single pixel
    config = config_of(crop_size=64, calcification_share=1.0, augment=AugmentConfig(45.0))
    _, masks = crops_of(numbered(160, 160), mask, seed_of(number), config)
    assert (masks.numpy() == 1).any(axis=(1, 2, 3)).all()


def test_without_a_calcification_crops_lie_anywhere_whatever_the_share():
    mask = np.full((12, 12, 1), 255, np.uint8)
    one = crops_of(numbered(12, 12), mask, seed_of(1), config_of(calcification_share=1.0))
    other = crops_of(numbered(12, 12), mask, seed_of(1), config_of(calcification_share=0.0))
    np.testing.assert_array_equal(one[0], other[0])
    assert len({place_of(crop, 12, 144) for crop in one[0].numpy()}) > 10


def test_a_small_calcification_is_drawn_as_often_as_a_coarse_one():
    mask = np.zeros((100, 200, 1), np.uint8)
    mask[20:60, 10:60] = 1  # 2,000 px
    mask[50, 150] = 1
    config = config_of(calcification_share=1.0, crops_per_image=200, crop_size=6)
    _, masks = crops_of(np.zeros((100, 200, 1), np.float32), mask, seed_of(9), config)
    alone = ((masks.numpy() == 1).sum(axis=(1, 2, 3)) == 1).sum()
    assert 75 < alone < 130  # 100 expected; drawn by pixel it would be 0


def test_calcifications_that_touch_the_border_or_each_other_by_a_corner_are_found():
    mask = np.zeros((40, 40, 1), np.uint8)
    mask[0, 0] = mask[0, 39] = mask[39, 0] = mask[39, 39] = 1
    config = config_of(calcification_share=1.0, crops_per_image=120, crop_size=10)
    crops, masks = crops_of(numbered(40, 40), mask, seed_of(0), config)
    assert (masks.numpy() == 1).any(axis=(1, 2, 3)).all()
    assert {place_of(crop, 40, 1600) for crop in crops.numpy()} == {(0, 0), (0, 30), (30, 0), (30, 30)}


def test_eager_and_a_data_set_give_the_same_crops():
    image, mask = numbered(40, 30), np.zeros((40, 30, 1), np.uint8)
    mask[10:12, 10:12] = 1
    config = config_of(augment=AugmentConfig(), crops_per_image=6)
    data = tf.data.Dataset.from_tensors(seed_of(3)).map(lambda seed: crops_of(image, mask, seed, config))
    for one, other in zip(crops_of(image, mask, seed_of(3), config), next(iter(data)), strict=True):
        np.testing.assert_array_equal(one, other)


def tinted(count, size=16):
    """Records whose every pixel is the record's own number (1, 2, ...), each with a calcification."""
    mask = np.zeros((size, size), np.uint8)
    mask[4:6, 4:6] = 1
    return [fake_record(np.full((size, size), n, np.uint16), mask, name=f"image-{n}") for n in range(1, count + 1)]


HELD_OUT = frozenset({"image-2", "image-7", "image-9"})


def numbers_of(batch):
    return np.rint(batch[0].numpy().max(axis=(1, 2, 3)) * 4095).astype(int).tolist()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_fake_records(tmp_path_factory.mktemp("records"), {"train": tinted(10), "test": tinted(2)}, shards=3)


def small(**values):
    given = {"crop_size": 6, "global_batch_size": 4, "steps_per_epoch": 3, "crops_per_image": 2, "seed": 5}
    return InputConfig(**{**given, **values})


def take(data, count):
    return [tuple(each.numpy() for each in batch) for batch in data.take(count)]


def test_batches_have_the_promised_shapes_and_ranges(manifest):
    image, mask = take(training_batches(manifest, small()), 1)[0]
    assert (image.shape, image.dtype, mask.shape, mask.dtype) == ((4, 6, 6, 1), np.float32, (4, 6, 6, 1), np.uint8)
    assert 0 <= image.min() <= image.max() <= 10 / 4095 + 1e-9
    assert set(np.unique(mask)) <= {0, 1, 255}


def test_a_run_resumed_at_an_epoch_sees_what_it_would_have_seen(manifest):
    undisturbed = take(training_batches(manifest, small()), 12)
    resumed = take(training_batches(manifest, small(), first_epoch=2), 6)
    for one, other in zip(undisturbed[6:], resumed, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    again = take(training_batches(manifest, small()), 3)
    for one, other in zip(undisturbed, again, strict=False):
        np.testing.assert_array_equal(one[0], other[0])


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("place", [(0, 1), (1, 2), (2, 0)])
def test_a_run_resumed_inside_an_epoch_sees_what_it_would_have_seen(manifest, accumulate, place):
    config = small(accumulate_steps=accumulate)
    undisturbed = take(training_batches(manifest, config), 9)
    resumed = take(training_batches(manifest, config, *place), 9 - 3 * place[0] - place[1])
    for one, other in zip(undisturbed[3 * place[0] + place[1] :], resumed, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_ids_of_a_batch_are_those_of_the_mammograms_it_was_cut_from(manifest, accumulate):
    config = small(accumulate_steps=accumulate)
    for number, (image, _) in enumerate(take(training_batches(manifest, config, held_out=HELD_OUT), 6)):
        ids = training_batch_ids(manifest, config, number // 3, number % 3, HELD_OUT)
        highest = image.reshape(4 * accumulate, -1).max(axis=1)
        assert ids == [f"image-{n}" for n in np.rint(highest * 4095).astype(int)]


def test_whole_mammograms_come_one_a_batch_each_in_its_own_size(tmp_path):
    records = [*tinted(3, size=16), *tinted(2, size=9)[1:]]
    config = small(crop_size=0, global_batch_size=1, augment=AugmentConfig(0.0, False))
    written = write_fake_records(tmp_path, {"train": records, "test": tinted(1)})
    data = training_batches(written, config)
    assert data.element_spec[0].shape.as_list() == [1, None, None, 1]
    batches = take(data, 6)
    assert {(image.shape, mask.shape) for image, mask in batches} == {((1, s, s, 1),) * 2 for s in (16, 9)}
    for number, (image, mask) in enumerate(batches):
        assert np.ptp(image) == 0
        np.testing.assert_array_equal(np.argwhere(mask[0, ..., 0] == 1), [[4, 4], [4, 5], [5, 4], [5, 5]])
        drawn = training_batch_ids(written, config, number // 3, number % 3)
        assert drawn == [f"image-{round(float(image.max()) * 4095)}"]


def test_a_turned_mammogram_keeps_its_size_and_ignores_what_comes_from_outside():
    image, mask = np.ones((40, 60, 1), np.float32), np.zeros((40, 60, 1), np.uint8)
    config = config_of(crop_size=0, global_batch_size=1, augment=AugmentConfig(35.0, True, 1.2, 1.0))
    turned, labels = (each.numpy() for each in crops_of(image, mask, seed_of(2), config))
    assert turned.shape == labels.shape == (1, 40, 60, 1)
    assert set(np.unique(labels)) == {0, 255}
    assert labels[0, 20, 30, 0] == 0


def test_mammograms_that_are_held_out_are_never_seen_and_all_others_are(manifest):
    batches = training_batches(manifest, small(steps_per_epoch=20), held_out=HELD_OUT).take(40)
    seen = {f"image-{number}" for batch in batches for number in numbers_of(batch)}
    assert seen == {f"image-{number}" for number in range(1, 11)} - HELD_OUT


@pytest.fixture
def restored_seed():
    """Puts the seed of the process back."""
    before = context.global_seed()
    yield
    tf.random.set_seed(before)


@pytest.mark.parametrize("process_seed", [0, 1, 7])
def test_the_seed_of_the_process_changes_nothing_and_is_left_alone(manifest, restored_seed, process_seed):
    config = config_of(global_batch_size=2, steps_per_epoch=6, crops_per_image=2)
    tf.random.set_seed(5)
    expected = [images.numpy() for images, _ in training_batches(manifest, config).take(6)]
    tf.random.set_seed(process_seed)
    found = [images.numpy() for images, _ in training_batches(manifest, config).take(6)]
    np.testing.assert_array_equal(found, expected)
    assert context.global_seed() == process_seed


def test_epochs_and_seeds_differ(manifest):
    batches = take(training_batches(manifest, small()), 6)
    assert not np.array_equal(batches[0][0], batches[3][0])
    assert not np.array_equal(batches[0][0], take(training_batches(manifest, small(seed=6)), 1)[0][0])


def test_a_long_epoch_sees_every_mammogram(manifest):
    batches = training_batches(manifest, small(steps_per_epoch=20)).take(20)
    seen = collections.Counter(number for batch in batches for number in numbers_of(batch))
    assert set(seen) == set(range(1, 11))


def test_the_last_records_of_a_long_shard_are_seen_however_short_the_epochs(tmp_path):
    manifest = write_fake_records(tmp_path, {"train": tinted(120, size=8), "test": tinted(1)})
    config = small(steps_per_epoch=2, crops_per_image=4)  # 2 mammograms an epoch, about 24 read
    seen = collections.Counter()
    for batch in training_batches(manifest, config).take(120):
        seen.update(set(numbers_of(batch)))
    assert len(set(seen) & set(range(61, 121))) > 20


def test_an_empty_shard_is_left_out(tmp_path):
    manifest = write_fake_records(tmp_path, {"train": tinted(2), "test": tinted(1)}, shards=3)
    assert min(shard.examples for shard in manifest.shard_infos) == 0
    batches = training_batches(manifest, small()).take(6)
    assert {number for batch in batches for number in numbers_of(batch)} == {1, 2}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop_size": -1}, "--crop_size must be 0 or more; found -1"),
        ({"crop_size": 0}, "one mammogram an iteration: --global_batch_size=1 and --accumulate_steps=1; found 8 and 1"),
        ({"crop_size": 0, "global_batch_size": 1, "accumulate_steps": 2}, "found 1 and 2"),
        ({"global_batch_size": -1}, "--global_batch_size must be at least 1; found -1"),
        ({"steps_per_epoch": 0}, "--steps_per_epoch"),
        ({"crops_per_image": 0}, "--crops_per_image"),
        ({"calcification_share": 1.5}, "--calcification_share must be 0 to 1; found 1.5"),
        ({"seed": -1}, "--seed must be 0 to 4294967294; found -1"),
        ({"seed": 2**32}, "--seed"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(values, message):
    with pytest.raises(InputError, match=message):
        InputConfig(**values)
