"""Sends 1,000 requests of mixed sizes, one in eight malformed, to a loaded SavedModel; nothing of this project.

python tests/serving/soak.py SAVED_MODEL_DIR [REQUESTS]

Every malformed one must be answered with INVALID_ARGUMENT, every good one as it was the first time and as its other
signature answers, and memory must not grow. Prints one line of figures.
"""

import io
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from PIL import Image

_HALF_A_CODE = 0.5 / 65535 + 1e-5  # and the rounding of one graph run twice


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


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


def main(saved_model: str, requests: str = "1000") -> None:
    loaded = tf.saved_model.load(saved_model)
    signatures = loaded.signatures
    rng = np.random.default_rng(0)
    answers: dict[tuple[int, int], np.ndarray] = {}
    good = refused = 0
    memory = []
    start = time.monotonic()
    for index in range(int(requests)):
        if rng.random() < 1 / 8:
            name, inputs = malformed(rng)
            try:
                signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
            except tf.errors.InvalidArgumentError:
                refused += 1
            else:
                raise AssertionError(f"request {index} to {name} was answered, though malformed")
        else:
            height, width = (int(each) for each in rng.integers(1, 420, 2))
            pixels = np.random.default_rng((height, width)).integers(0, 65536, (height, width)).astype(np.uint16)
            pixels[: height // 2] = 0
            intensity = tf.constant((pixels / np.float32(65535))[None, :, :, None])
            found = signatures["serving_default"](image=intensity)["probability"].numpy()[0, :, :, 0]
            encoded = signatures["predict_png"](image_bytes=tf.constant([png(pixels)]))["probability_bytes"][0]
            codes = tf.io.decode_png(encoded, dtype=tf.uint16).numpy()[..., 0]
            assert found.shape == codes.shape == (height, width)
            assert np.abs(found - codes / 65535).max() <= _HALF_A_CODE
            if index < 50:  # the first ones are asked for once more at the end
                answers[height, width] = found
            good += 1
        if index + 1 in (100, int(requests)):
            memory.append(resident_mb())
    for (height, width), first in answers.items():
        pixels = np.random.default_rng((height, width)).integers(0, 65536, (height, width)).astype(np.uint16)
        pixels[: height // 2] = 0
        intensity = tf.constant((pixels / np.float32(65535))[None, :, :, None])
        again = signatures["serving_default"](image=intensity)["probability"].numpy()[0, :, :, 0]
        np.testing.assert_allclose(again, first, rtol=0, atol=1e-5)
    assert not any(name.split(".")[0] in ("calcseg_tf", "data_prep") for name in sys.modules)
    print(
        f"{good} good, {refused} refused in {time.monotonic() - start:.0f} s; "
        f"{memory[0]:.0f} MB after 100 requests, {memory[-1]:.0f} MB after {requests}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
