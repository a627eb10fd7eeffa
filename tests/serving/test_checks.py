"""What a server refuses, and what it says; each error is INVALID_ARGUMENT with the rule and what was found."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from calcseg_tf.serving.lossless_png import encode_intensity, significant_bits
from calcseg_tf.serving.signatures import decode_intensity
from calcseg_tf.serving.transport import server_says
from data_prep.errors import InputError
from data_prep.png import encode_png


def refusal(call, **inputs):
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        call(**{name: tf.constant(value) for name, value in inputs.items()})
    return server_says(raised.value.message)


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def header(width, height, depth=16, colour=0):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def pillow_png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


NOISE = np.random.default_rng(0).integers(0, 65536, (20, 30)).astype(np.uint16)
GREY = "image_bytes[0] must be a PNG with one grey channel of 16 bits; found "
END = chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (pillow_png(np.zeros((4, 5), np.uint8)), GREY + "bit depth 8, colour type 0"),
        (pillow_png(np.zeros((4, 5, 3), np.uint8)), GREY + "bit depth 8, colour type 2"),
        (b"hello", GREY + "5 bytes that do not begin as a PNG"),
        (b"", GREY + "0 bytes that do not begin as a PNG"),
        (encode_png(NOISE)[:-1], "image_bytes[0] must be a whole PNG; found one that does not end with IEND"),
        (encode_png(NOISE)[:600], "image_bytes[0] must be a whole PNG; found one that does not end with IEND"),
        (header(60000, 60000) + END, "image_bytes[0] must have 1 to 120000000 pixels; found 60000 x 60000"),
        (header(2**32 - 1, 2**32 - 1) + END, "image_bytes[0] must have 1 to 120000000 pixels; found 4294967295 x 42"),
        (header(0, 7) + END, "image_bytes[0] must have 1 to 120000000 pixels; found 7 x 0"),
        (header(4000, 4000) + END, "Invalid PNG"),  # decode_png's own: no pixels
        (encode_png(NOISE)[:600] + END, "Invalid PNG"),
    ],
)
def test_what_is_no_16_bit_grey_png_is_refused(signatures, data, told):
    assert refusal(signatures["predict_png"], image_bytes=[data]).startswith(told)


def test_a_refused_png_is_named_by_its_place(signatures):
    said = refusal(signatures["predict_png"], image_bytes=[encode_png(NOISE), encode_png(NOISE), b"hello"])
    assert said.startswith("image_bytes[2] must be a PNG")


@pytest.mark.parametrize("length", [0, 7, 8, 16, 24, 25, 26, 33, 34, 41, 42, 45, 60])
def test_a_png_cut_anywhere_is_refused(signatures, length):
    assert "must be a" in refusal(signatures["predict_png"], image_bytes=[encode_png(NOISE)[:length]])


def filled(value, shape=(2, 30, 40, 1), fill=0.5):
    image = np.full(shape, fill, np.float32)
    image.flat[image.size // 2 + 1] = value
    return image


RANGE = "image must hold finite intensities in [0, 1], stored value / (2^BitsStored - 1); found "


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (filled(1.5), RANGE + "0.500000 to 1.500000"),
        (filled(-0.25), RANGE + "-0.250000 to 0.500000"),
        (filled(4095), RANGE + "0.500000 to 4095.000000"),
        (filled(np.nan), RANGE),
        (filled(np.inf), RANGE + "0.500000 to inf, not all finite"),
        (filled(-np.inf), RANGE + "-inf to 0.500000, not all finite"),
        (np.zeros((1, 0, 5, 1), np.float32), "image must be [batch, height, width, 1] with 1 to 120000000 pixels"),
        (np.zeros((0, 5, 5, 1), np.float32), "image must be [batch, height, width, 1] with 1 to 120000000 pixels"),
        (
            np.zeros((4, 5, 1), np.float32),
            "Shape of tensor image [4,5,1] is not compatible with expected shape [?,?,?,1]",
        ),
        (np.zeros((1, 4, 5, 3), np.float32), "Shape of tensor image [1,4,5,3] is not compatible with expected shape"),
    ],
)
def test_what_are_no_intensities_is_refused(signatures, image, told):
    assert refusal(signatures["serving_default"], image=image).startswith(told)


@pytest.mark.parametrize("place", range(0, 1200, 97))
def test_one_nan_anywhere_is_found(signatures, place):
    image = np.full((1, 30, 40, 1), 0.5, np.float32)
    image.flat[place] = np.nan
    assert "not all finite" in refusal(signatures["serving_default"], image=image)


def test_the_ends_of_the_range_are_in_it(signatures):
    image = np.array([0.0, -0.0, 1.0], np.float32).reshape(1, 1, 3, 1)
    assert signatures["serving_default"](image=tf.constant(image))["probability"].shape == (1, 1, 3, 1)


WINDOW = np.zeros((1, 522, 522, 1), np.float32)


@pytest.mark.parametrize(
    ("image", "origin", "size", "told"),
    [
        (WINDOW, [[600, 0]], [[600, 600]], "origin must lie in the image at multiples of 1 px; found origin [[600 0]]"),
        (WINDOW, [[0, -1]], [[600, 600]], "origin must lie in the image"),
        (WINDOW, [[0, 0], [0, 0]], [[9, 9]], "every window needs an origin and a size; found 1 windows, 2 origins, 1"),
        (WINDOW, [[0, 0, 0]], [[9, 9]], "Shape of tensor origin [1,3] is not compatible"),
        (WINDOW[:, :512], [[0, 0]], [[9, 9]], "Shape of tensor image [1,512,522,1] is not compatible"),
        (WINDOW - 1, [[0, 0]], [[9, 9]], RANGE),
    ],
)
def test_tiles_out_of_place_are_refused(signatures, image, origin, size, told):
    call = signatures["predict_tiles"]
    said = refusal(call, image=image, origin=np.array(origin, np.int32), size=np.array(size, np.int32))
    assert said.startswith(told)


@pytest.mark.parametrize("bits", range(8, 17))
def test_every_stored_value_of_every_depth_passes_through_a_png_exactly(bits):
    stored = np.arange(1 << bits).reshape(-1, 256)
    intensity = stored.astype(np.float32) / np.float32((1 << bits) - 1)
    assert significant_bits(intensity) == bits
    # In a graph, where a division by a constant becomes a multiplication, one rounding away.
    found = tf.function(decode_intensity)(tf.constant(encode_intensity(intensity)), tf.constant(0)).numpy()[..., 0]
    assert found.dtype == np.float32
    assert np.array_equal(found, intensity)


def test_without_sbit_the_full_scale_is_65535():
    found = decode_intensity(tf.constant(encode_png(NOISE)), tf.constant(0)).numpy()[..., 0]
    assert np.array_equal(found, NOISE.astype(np.float32) / np.float32(65535))


def test_samples_that_no_stored_value_rounds_to_stay_whatever_sbit_says():
    shifted = (np.arange(4096) << 4).astype(np.uint16).reshape(64, 64)  # another way to fill 16 bits
    png = encode_png(shifted)
    png = png[:33] + chunk(b"sBIT", b"\x0c") + png[33:]
    found = decode_intensity(tf.constant(png), tf.constant(0)).numpy()[..., 0]
    assert np.abs(found * 65535 - shifted).max() <= 0.56
    for odd in (0, 16, 200):
        png = encode_png(NOISE)
        png = png[:33] + chunk(b"sBIT", bytes([odd])) + png[33:]
        assert np.array_equal(decode_intensity(tf.constant(png), tf.constant(0)).numpy()[..., 0] * 65535, NOISE)


def test_intensities_that_are_no_stored_values_have_no_lossless_png():
    with pytest.raises(InputError, match="found other intensities"):
        encode_intensity(np.full((3, 3), 0.123456, np.float32))
