"""What the search of the hard-negative threshold costs of a training step: the paper's network with and without it.

python -m benchmarks.mining_cost            crops of 256 px, 1 and 2 replicas: 10 minutes

The steps differ in their loss alone, hard_negatives against cross_entropy, see the same crops and take turns.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from benchmarks.synthetic import fake_mammogram, fake_mask
from calcseg_tf.devices import DeviceConfig, make_strategy
from calcseg_tf.losses import LossConfig
from calcseg_tf.models import build_network
from calcseg_tf.models.fcn import FcnConfig
from calcseg_tf.recipe import OptimizerConfig
from calcseg_tf.segmenter import Segmenter

_LOSSES = ("cross_entropy", "hard_negatives")
_MOST_PERCENT = 10


def main() -> None:
    """Measures and prints a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crop_size", type=int, default=256)
    parser.add_argument("--global_batch_size", type=int, default=2)
    parser.add_argument("--steps", type=int, default=15, help="of each loss")
    options = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} cores; load before: {os.getloadavg()[0]:.2f}\n")
    print("| replicas | cross_entropy, median | hard_negatives, median | search, median of the pairs | must be |")
    print("|---|---|---|---|---|", flush=True)
    for replicas in (1, 2):
        # In a process of its own: devices are fixed once TensorFlow has started.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            size, batch = options.crop_size, options.global_batch_size
            seconds = pool.submit(_seconds, replicas, size, batch, options.steps).result()
        plain, mined = (seconds[name] for name in _LOSSES)
        search = 100 * statistics.median(b / a - 1 for a, b in zip(plain, mined, strict=True))
        print(
            f"| {replicas} | {statistics.median(plain):.3f} s | {statistics.median(mined):.3f} s | {search:+.1f} % | "
            f"<= {_MOST_PERCENT} % |",
            flush=True,
        )


def _seconds(replicas: int, crop_size: int, batch: int, steps: int) -> dict[str, list[float]]:
    """Times `steps` steps of each loss, in turns, after those that trace and warm up."""
    strategy = make_strategy(DeviceConfig(replicas=replicas))
    image, mask = _crops(crop_size, batch)
    with strategy.scope():
        segmenters = {name: _segmenter(name) for name in _LOSSES}
    iterators = {
        name: iter(strategy.experimental_distribute_dataset(_forever(image, mask, batch))) for name in segmenters
    }
    functions = {name: segmenter.make_train_function() for name, segmenter in segmenters.items()}
    seconds: dict[str, list[float]] = {name: [] for name in segmenters}
    for _ in range(steps + 2):
        for name, function in functions.items():
            start = time.perf_counter()
            function(iterators[name])["loss"].numpy()
            seconds[name].append(time.perf_counter() - start)
    return {name: values[2:] for name, values in seconds.items()}


def _segmenter(loss: str) -> Segmenter:
    segmenter = Segmenter.of(build_network(FcnConfig(), synchronized_batch_norm=True), LossConfig(loss))
    segmenter.compile(optimizer=OptimizerConfig().build(1))
    return segmenter


def _crops(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws tissue with calcifications on about one pixel in a thousand, as the records hold it."""
    images = [fake_mammogram(seed, 2 * size, 2 * size)[size // 2 :, :size][:size] / (1 << 14) for seed in range(count)]
    masks = [fake_mask(seed, size, size, calcifications=max(1, size * size // 30000)) // 255 for seed in range(count)]
    return np.stack(images)[..., None].astype(np.float32), np.stack(masks)[..., None].astype(np.uint8)


def _forever(image: np.ndarray, mask: np.ndarray, batch: int) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((image, mask)).repeat().batch(batch).prefetch(1)


if __name__ == "__main__":
    main()
