import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.errors import InputError
from data_prep.mask import BACKGROUND, CALCIFICATION, IGNORE
from data_prep.schema import decode_image_and_mask, from_example, to_example
from tests.fakes.records import fake_record

KEYS = {
    "image/encoded", "image/bits_stored", "image/height", "image/width", "mask/encoded", "image/id", "patient/id",
    "image/laterality", "image/view", "image/pixel_spacing_mm", "image/pixel_spacing_source", "calcification/count",
    "source/sha256",
}  # fmt: skip


def test_a_record_holds_exactly_the_published_keys():
    example = tf.train.Example.FromString(to_example(fake_record()))
    assert set(example.features.feature) == KEYS


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 8),
    width=st.integers(1, 8),
    bits=st.integers(8, 16),
    spacing=st.none() | st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    data=st.data(),
)
def test_what_is_written_is_read_and_the_same_record_gives_the_same_bytes(height, width, bits, spacing, data):
    seed = data.draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 1 << bits, (height, width), dtype=np.uint16)
    mask = rng.choice(np.array([BACKGROUND, CALCIFICATION, IGNORE], np.uint8), (height, width))
    record = fake_record(pixels, mask, bits_stored=bits, pixel_spacing_mm=spacing)
    again = from_example(to_example(record))
    np.testing.assert_array_equal(again.pixels, pixels)
    np.testing.assert_array_equal(again.mask, mask)
    assert again.pixel_spacing_mm == (None if spacing is None else pytest.approx(spacing, rel=1e-6))
    for name in ("bits_stored", "image_id", "patient_id", "laterality", "view", "calcification_count", "source_sha256"):
        assert getattr(again, name) == getattr(record, name)
    assert to_example(record) == to_example(dataclasses.replace(record))


def test_decoding_is_the_same_eagerly_and_inside_a_pipeline():
    record = fake_record(np.array([[0, 4095, 5]], np.uint16), np.array([[0, 1, 255]], np.uint8))
    eager = decode_image_and_mask(tf.constant(to_example(record)))
    piped = next(iter(tf.data.Dataset.from_tensors(to_example(record)).map(decode_image_and_mask)))
    for image, mask in (eager, piped):
        assert (image.dtype, mask.dtype) == (tf.float32, tf.uint8)
        np.testing.assert_allclose(image[..., 0], [[0, 1, 5 / 4095]], rtol=1e-6)
        assert mask[..., 0].numpy().tolist() == [[0, 1, 255]]
        np.testing.assert_array_equal(image[..., 0], record.intensity())


def changed(change):
    example = tf.train.Example.FromString(to_example(fake_record()))
    change(example.features.feature)
    return example.SerializeToString()


def set_int(key, value):
    def change(features):
        features[key].int64_list.value[:] = [value]

    return change


def set_bytes(key, value):
    def change(features):
        features[key].bytes_list.value[:] = [value]

    return change


def set_spacing(*lengths):
    def change(features):
        features["image/pixel_spacing_mm"].float_list.value[:] = lengths

    return change


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda features: features.pop("patient/id"), "missing are patient/id, unknown 0"),
        (lambda features: features["patient/name"].bytes_list.value.append(b"x"), "missing are none, unknown 1"),
        (lambda features: features["image/id"].bytes_list.value.pop(), "image/id must hold one value"),
        (lambda features: features["image/height"].int64_list.value.append(3), "image/height must hold one value"),
        (set_int("image/height", 23), "of (23, 20); found (24, 20)"),
        (set_int("image/bits_stored", 10), "must be 8 to 16 and hold every pixel; found 10"),
        (set_int("image/bits_stored", 17), "found 17"),
        (set_bytes("image/encoded", b"no png"), "not a readable PNG"),
        (set_bytes("image/view", b"sideways"), "image/view must be terms"),
        (set_bytes("image/laterality", b"a\n" * 999), "image/laterality and image/view must be terms"),
        (set_bytes("image/pixel_spacing_source", b"a\nb"), "image/pixel_spacing_source must be a source"),
        (lambda features: features["x" * 3000].bytes_list.value.append(b"x"), "missing are none, unknown 1"),
        (set_spacing(math.nan, 0.07), "finite and greater than 0"),
        (set_spacing(0.07, math.nan), "finite and greater than 0"),
        (set_spacing(0.07, math.inf), "finite and greater than 0"),
        (lambda features: features["image/pixel_spacing_mm"].float_list.value.pop(), "found 1 values"),
    ],
)
def test_a_record_outside_the_schema_is_refused(change, rule):
    with pytest.raises(InputError) as caught:
        from_example(changed(change))
    assert rule in str(caught.value)
    assert caught.value.rule.isprintable()
    assert len(caught.value.rule) < 200


def test_a_mask_of_other_values_is_refused():
    record = fake_record(mask=np.full((24, 20), 7, np.uint8))
    with pytest.raises(InputError, match=r"0, 1 and 255 alone; found \[7\]"):
        from_example(to_example(record))


def test_bytes_that_are_no_example_are_refused():
    with pytest.raises(InputError, match=r"tf.train.Example"):
        from_example(b"\xff\xff\xff")
