"""The script's PNG decoder against Pillow's encoder and every filter of the format."""

import base64
import struct
import zlib

import numpy as np
import pytest

from data_prep.png import encode_png
from tests.clinical.page.making import case, written
from tests.fakes.browser import Browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(written(tmp_path_factory.mktemp("page") / "page.html", *case(shape=(20, 30), spots=3)))
        yield opened


def _filtered(pixels: np.ndarray, kind: int) -> bytes:
    """Returns a 16-bit PNG whose rows all have one filter (PNG specification, 9.2)."""
    rows = pixels.astype(">u2").view(np.uint8).astype(int)
    left = np.pad(rows, ((0, 0), (2, 0)))[:, :-2]
    above = np.pad(rows, ((1, 0), (0, 0)))[:-1]
    corner = np.pad(left, ((1, 0), (0, 0)))[:-1]
    estimate = left + above - corner
    distances = np.abs(np.stack([estimate - left, estimate - above, estimate - corner]))
    nearest = np.choose(distances.argmin(axis=0), [left, above, corner])
    guess = [rows * 0, left, above, (left + above) // 2, nearest][kind]
    stored = np.pad(((rows - guess) % 256).astype(np.uint8), ((0, 0), (1, 0)), constant_values=kind)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 0, 0, 0, 0)
    packed = zlib.compress(stored.tobytes())
    parts = [chunk(b"IDAT", packed[:50]), chunk(b"IDAT", packed[50:])]
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(parts) + chunk(b"IEND", b"")


def _decoded(browser, png: bytes) -> np.ndarray:
    text = base64.b64encode(png).decode()
    got = browser.get(f"decodePng('{text}').then((i) => [i.height, i.width, [...i.pixels]])")
    return np.array(got[2], np.uint16).reshape(got[:2])


@pytest.mark.parametrize("kind", range(5))
def test_every_filter(browser, kind):
    pixels = np.random.default_rng(kind).integers(0, 65536, (17, 23)).astype(np.uint16)
    pixels[5:12] //= 4000  # ties of the fourth filter
    np.testing.assert_array_equal(_decoded(browser, _filtered(pixels, kind)), pixels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (33, 57)])
def test_what_encode_png_writes(browser, shape):
    noise = np.random.default_rng(0).integers(0, 50, shape)
    pixels = (900 * np.hypot(*np.indices(shape)) + noise).astype(np.uint16)
    np.testing.assert_array_equal(_decoded(browser, encode_png(pixels)), pixels)
