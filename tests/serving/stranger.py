"""Calls an exported SavedModel as somebody else would: TensorFlow and NumPy, nothing of this project.

python tests/serving/stranger.py SAVED_MODEL_DIR IMAGE.png OUTPUT.png
"""

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf


def main(saved_model: str, image: str, output: str) -> None:
    loaded = tf.saved_model.load(saved_model)
    image_bytes = tf.io.read_file(image)
    start = time.monotonic()
    encoded = loaded.signatures["predict_png"](image_bytes=image_bytes[None])["probability_bytes"][0]
    png_seconds = time.monotonic() - start
    tf.io.write_file(output, encoded)
    from_png = tf.io.decode_png(encoded, dtype=tf.uint16).numpy()[..., 0] / 65535.0

    intensity = tf.cast(tf.io.decode_png(image_bytes, dtype=tf.uint16), tf.float32)[None] / 65535.0
    start = time.monotonic()
    probability = loaded.signatures["serving_default"](image=intensity)["probability"].numpy()[0, :, :, 0]
    seconds = time.monotonic() - start

    difference = float(np.abs(from_png - probability).max())
    assert probability.shape == from_png.shape == tuple(intensity.shape[1:3])
    # Half a step of the 16-bit map, and the float32 rounding by which two runs of a network may differ.
    assert difference <= 0.5 / 65535 + 1e-6, difference
    assert not any(name.split(".")[0] in ("calcseg_tf", "data_prep") for name in sys.modules)
    print(
        f"{probability.shape[0]} x {probability.shape[1]} px: serving_default {seconds:.1f} s, "
        f"predict_png {png_seconds:.1f} s, largest difference {difference:.1e}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
