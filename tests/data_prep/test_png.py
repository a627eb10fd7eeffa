import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.errors import InputError
from data_prep.png import decode_grey_png, encode_png, grey_png_size
from tests.fakes.folder import fake_pixels


def test_every_truncation_of_a_png_is_refused(tmp_path):
    data = encode_png(fake_pixels(0, 9, 9, bits=16))
    for length in range(0, len(data) - 20, 5):
        with pytest.raises(InputError):
            decode_grey_png(data[:length])


@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99), deep=st.booleans())
def test_png_coding_is_lossless_and_keeps_the_depth(height, width, seed, deep):
    pixels = fake_pixels(seed, height, width, bits=16 if deep else 8).astype(np.uint16 if deep else np.uint8)
    decoded = decode_grey_png(encode_png(pixels))
    assert decoded.dtype == pixels.dtype
    np.testing.assert_array_equal(decoded, pixels)


def test_a_png_that_claims_too_many_pixels_is_refused_before_they_are_decoded(tmp_path):
    data = bytearray(encode_png(np.zeros((2, 2), np.uint8)))
    for claimed in (11_000, 65_000):
        data[16:24] = struct.pack(">II", claimed, claimed)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        with pytest.raises(InputError, match="at most"):
            decode_grey_png(bytes(data))


def test_a_png_with_a_damaged_animation_is_read_and_its_library_prints_nothing(tmp_path, recwarn):
    data = encode_png(np.full((2, 2), 7, np.uint8))
    chunk = b"acTL" + struct.pack(">II", 0, 0)
    animated = data[:33] + struct.pack(">I", 8) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    (tmp_path / "a.png").write_bytes(animated)
    assert decode_grey_png(animated).tolist() == [[7, 7], [7, 7]]
    assert grey_png_size(tmp_path / "a.png") == (2, 2)
    assert not recwarn


def test_a_chunk_of_a_length_that_its_library_does_not_expect_ends_in_one_line():
    data = encode_png(np.full((2, 2), 7, np.uint8))
    chunk = b"cHRM" + bytes(5)  # Pillow 12.3 unpacks whole words of it: struct.error
    damaged = data[:33] + struct.pack(">I", 5) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    with pytest.raises(InputError, match="not a readable PNG"):
        decode_grey_png(damaged)
