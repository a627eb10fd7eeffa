"""Sends 1,000 requests of mixed sizes, one in eight malformed, to a loaded SavedModel; nothing of this project.

python tests/serving/soak.py SAVED_MODEL_DIR EXPECTED_DIR [REQUESTS]

EXPECTED_DIR holds HEIGHTxWIDTH.npy, float32 probabilities of `pixels_of(HEIGHT, WIDTH)`: those sizes are asked for, the
largest five times in 1,000. Every malformed request must be answered with INVALID_ARGUMENT, every good one with what is
expected, and memory must not grow. Prints one line of figures.
"""

import io
import os
import pathlib
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from PIL import Image

_TOLERANCE = 1e-5
_LARGE_EVERY = 200


def pixels_of(height: int, width: int) -> np.ndarray:
    """Returns uint16 [height, width], noise below air."""
    pixels = np.random.default_rng((height, width)).integers(0, 65536, (height, width), np.uint16)
    pixels[: height // 2] = 0
    return pixels


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_mb() -> float:
    with open("/proc/self/status", encoding="ascii") as file:
        return 1.024e-3 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))


def malformed(rng: np.random.Generator) -> tuple[str, dict[str, object]]:
    pixels = rng.integers(0, 65536, (30, 40)).astype(np.uint16)
    image = rng.random((1, 20, 30, 1), np.float32)
    nan = image.copy()
    nan[0, 7, 7, 0] = np.nan
    whole = png(pixels)
    choices = [
        ("serving_default", {"image": nan}),
        ("serving_default", {"image": image * 4095}),
        ("serving_default", {"image": image[0]}),
        ("serving_default", {"image": np.repeat(image, 3, 3)}),
        ("serving_default", {"image": image[:, :0]}),
        ("predict_png", {"image_bytes": [whole[: int(rng.integers(0, len(whole)))]]}),
        ("predict_png", {"image_bytes": [png((pixels >> 8).astype(np.uint8))]}),
        ("predict_png", {"image_bytes": [whole[:16] + b"\0\0\xea\x60" * 2 + whole[24:]]}),  # 60,000 x 60,000
        ("predict_png", {"image_bytes": [whole[:60] + rng.bytes(len(whole) - 80) + whole[-20:]]}),
        ("predict_tiles", {"image": image, "origin": [[0, 0]], "size": [[9, 9]]}),
    ]
    return choices[int(rng.integers(len(choices)))]


def ask(signatures: dict, expected: np.ndarray) -> None:
    """Asks both signatures for whole images."""
    pixels = pixels_of(*expected.shape)
    intensity = tf.constant((pixels / np.float32(65535))[None, :, :, None])
    found = signatures["serving_default"](image=intensity)["probability"].numpy()[0, :, :, 0]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= _TOLERANCE
    encoded = signatures["predict_png"](image_bytes=tf.constant([png(pixels)]))["probability_bytes"][0]
    codes = tf.io.decode_png(encoded, dtype=tf.uint16).numpy()[..., 0]
    assert codes.shape == expected.shape
    assert np.abs(codes / 65535 - expected).max() <= 0.5 / 65535 + _TOLERANCE


def main(saved_model: str, expected_dir: str, requests: str = "1000") -> None:
    loaded = tf.saved_model.load(saved_model)
    paths = sorted(pathlib.Path(expected_dir).iterdir(), key=lambda path: path.stat().st_size)
    rng = np.random.default_rng(0)
    good = refused = 0
    memory = {}
    start = time.monotonic()
    for index in range(int(requests)):
        if index % _LARGE_EVERY == _LARGE_EVERY // 4:
            ask(loaded.signatures, np.load(paths[-1]))
            good += 1
        elif rng.random() < 1 / 8:
            name, inputs = malformed(rng)
            try:
                loaded.signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
            except tf.errors.InvalidArgumentError:
                refused += 1
            else:
                raise AssertionError(f"request {index} to {name} was answered, though malformed")
        else:
            ask(loaded.signatures, np.load(paths[int(rng.integers(len(paths) - 1))]))
            good += 1
        if index + 1 in (100, 300, int(requests)):
            memory[index + 1] = f"{resident_mb():.0f} MB after {index + 1}"
    assert not any(name.split(".")[0] in ("calcseg_tf", "data_prep") for name in sys.modules)
    print(
        f"{good} good, {refused} refused in {time.monotonic() - start:.0f} s; {', '.join(memory.values())}; "
        f"peak {peak_mb():.0f} MB"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
