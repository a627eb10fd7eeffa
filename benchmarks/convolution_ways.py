"""Every convolution of the paper's network in every way to compute it, on the device at hand: which is fastest there?

python -m benchmarks.convolution_ways [--turns=5] [--megapixels=0.1]

Times what the engine does in a step, weights prepared, with random ones: gather the cells, convolve, add the bias,
rectify. Prints seconds a megapixel and TFLOP/s for each way and size of cell, the fastest, and what `auto` takes here
(`ParallelConv2D.way`). Where the two differ on a quiet machine, the rule wants another constant for that device.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from calcseg_tf.inference.stages import stages_of
from calcseg_tf.models.fourier import FOURIER_OUTPUT_PX, fourier_multiplications
from calcseg_tf.models.parallel_conv import ParallelConv2D

__all__ = ["main"]

_KERNELS = (3, 5, 7, 9)
_BLOCKS = (("block 1", 1, 4), ("block 2", 4, 16), ("block 3", 16, 32), ("block 4", 32, 64), ("block 5", 64, 128))
_WAYS = (("separate", 64), ("separate", 256), ("merged", 64), ("merged", 256), ("fourier", FOURIER_OUTPUT_PX))


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.convolution_ways",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--megapixels", type=float, default=0.106, help="computed at once; the engine's step")
    options = parser.parse_args()
    tf.config.experimental.enable_tensor_float_32_execution(False)  # as `Predictor` has it
    device = (tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU"))[0]
    print(f"{device.device_type}, float32, {options.megapixels:g} megapixels at once, medians of {options.turns}\n")
    print("| | channels | way, cells | GFLOP a megapixel | s a megapixel | TFLOP/s | |\n|---|---|---|---|---|---|---|")
    for name, channels, filters in _BLOCKS:
        rows = []
        for way, cell_px in _WAYS:
            layer = ParallelConv2D(filters, _KERNELS, convolution=way)
            layer.build(tf.TensorShape([None, None, None, channels]))
            flop = 2 * _multiplications(way, channels, filters)
            rows.append((_seconds(layer, cell_px, options.megapixels, options.turns), way, cell_px, flop))
        fastest = min(rows)[0]
        layer.convolution = "auto"
        auto = layer.way(tf.float32, training=False)
        for seconds, way, cell_px, flop in rows:
            notes = ["fastest"] * (seconds == fastest) + ["auto"] * (way == auto)
            print(
                f"| {name} | {channels} to {filters} | {way}, {cell_px} px | {flop / 1e3:.1f} | {seconds:.4f} "
                f"| {flop / 1e6 / seconds:.2f} | {', '.join(notes)} |",
                flush=True,
            )


def _multiplications(way: str, channels: int, filters: int) -> float:
    """Returns how many each pixel takes."""
    if way == "fourier":
        return fourier_multiplications(max(_KERNELS), channels, filters)
    squares = [max(_KERNELS) ** 2 if way == "merged" else size**2 for size in _KERNELS]
    return channels * filters * sum(squares) / len(squares)


def _seconds(layer: ParallelConv2D, cell_px: int, megapixels: float, turns: int) -> float:
    """Returns the median time for a megapixel, after a first turn that compiles and allocates."""
    (stage,) = stages_of([layer, keras.layers.ReLU()])
    count = max(1, round(megapixels * 1e6 / cell_px**2))
    side = cell_px + 2 * stage.reach
    rng = np.random.default_rng(0)
    pixels = tf.constant(rng.random((count * cell_px**2, stage.channels), np.float32))
    index = tf.constant(np.arange(side * side * count).reshape(side, side, count) % len(pixels), tf.int32)
    prepared = stage.prepare()
    # One number comes back, so that a GPU has finished and no copy is timed.
    step = tf.function(lambda: tf.reduce_max(stage.apply(pixels, index, prepared)), autograph=False)
    step().numpy()
    taken = []
    for _ in range(turns):
        start = time.perf_counter()
        step().numpy()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) / (count * cell_px**2 / 1e6)


if __name__ == "__main__":
    main()
