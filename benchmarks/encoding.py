"""Which lossless coding for the images of a record: size, speed of writing, speed of TensorFlow's reading.

python -m benchmarks.encoding                        mammograms as code, two of INbreast's sizes: 2 minutes
python -m benchmarks.encoding --images_dir=DIR       DICOM mammograms of your own instead

CPU time of one core, so that other work on the machine matters little; best of three.
"""

import argparse
import io
import os
import pathlib
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks.synthetic import INBREAST_SIZES, fake_mammogram
from data_prep.mammogram import read_mammogram
from data_prep.png import encode_png

_REPEATS = 3


class Coding(NamedTuple):
    """One way to store pixels.

    Attributes:
        name: As in the table.
        encode: uint16 [height, width] -> bytes.
        decode: The bytes and the shape -> uint16 [height, width], by TensorFlow.
    """

    name: str
    encode: Callable[[np.ndarray], bytes]
    decode: Callable[[bytes, tuple[int, int]], np.ndarray]


def main() -> None:
    """Measures and prints a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images_dir", type=pathlib.Path, help="DICOM mammograms (*.dcm at any depth)")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    totals: dict[str, list[float]] = {}
    for pixels in _images(options.images_dir):
        for coding in _codings():
            data, encoding = _timed(lambda coding=coding, pixels=pixels: coding.encode(pixels))
            found, decoding = _timed(lambda coding=coding, data=data, shape=pixels.shape: coding.decode(data, shape))
            np.testing.assert_array_equal(found, pixels)
            sums = totals.setdefault(coding.name, [0.0] * 4)
            for index, value in enumerate((pixels.size, len(data), encoding, decoding)):
                sums[index] += value
    print("| coding | bits a pixel | encode, MPix/s | TensorFlow decodes, MPix/s |\n|---|---|---|---|")
    for name, (size, length, encoding, decoding) in totals.items():
        print(f"| {name} | {8 * length / size:.2f} | {size / encoding / 1e6:.0f} | {size / decoding / 1e6:.0f} |")


def _images(folder: pathlib.Path | None) -> Iterator[np.ndarray]:
    if folder is None:
        yield from (fake_mammogram(seed, *size) for seed, size in enumerate(INBREAST_SIZES))
    else:
        yield from (read_mammogram(path).pixels for path in sorted(folder.rglob("*.dcm")))


def _codings() -> Iterator[Coding]:
    yield Coding("PNG as `encode_png` writes it: Pillow, level 1, runs (Z_RLE)", encode_png, _decode_png)
    for level in (1, 3, 6):
        yield Coding(f"PNG by Pillow, level {level}", lambda pixels, level=level: _pillow(pixels, level), _decode_png)
    yield Coding("PNG by Pillow, Huffman alone", lambda pixels: _pillow(pixels, 1, zlib.Z_HUFFMAN_ONLY), _decode_png)
    yield Coding("PNG by TensorFlow, level 1", lambda pixels: _tensorflow(pixels, 1), _decode_png)
    yield Coding("PNG with the filter Up for every row, runs, by zlib", _filtered_up, _decode_png)
    yield Coding("raw + zlib, level 1", lambda pixels: zlib.compress(pixels.tobytes(), 1), _decode_zlib)
    yield Coding("raw", lambda pixels: pixels.tobytes(), _decode_raw)


def _pillow(pixels: np.ndarray, level: int, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=level, compress_type=strategy)
    return buffer.getvalue()


def _tensorflow(pixels: np.ndarray, level: int) -> bytes:
    return bytes(tf.io.encode_png(pixels[..., None], compression=level).numpy())


def _filtered_up(pixels: np.ndarray) -> bytes:
    """Writes a PNG (ISO/IEC 15948) whose rows are all differences to the row above, packed as OpenCV packs them."""
    height, width = pixels.shape
    raw = pixels.astype(">u2").view(np.uint8).reshape(height, 2 * width)
    rows = np.empty((height, 2 * width + 1), np.uint8)
    rows[:, 0] = 2  # the filter's number
    rows[0, 1:] = raw[0]
    np.subtract(raw[1:], raw[:-1], out=rows[1:, 1:])
    packer = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", packer.compress(rows) + packer.flush()), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _decode_png(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(tf.io.decode_png(data, dtype=tf.uint16)).reshape(shape)


def _decode_zlib(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(tf.io.decode_raw(tf.io.decode_compressed(data, "ZLIB"), tf.uint16)).reshape(shape)


def _decode_raw(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(tf.io.decode_raw(data, tf.uint16)).reshape(shape)


def _timed(call: Callable[[], object]) -> tuple[object, float]:
    times = []
    for _ in range(_REPEATS):
        start = time.process_time()
        result = call()
        times.append(time.process_time() - start)
    return result, min(times)


if __name__ == "__main__":
    main()
