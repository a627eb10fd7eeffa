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

from benchmarks.synthetic import fake_crops
from calcseg_tf.devices import DeviceConfig, make_strategy
from calcseg_tf.losses import LossConfig
from calcseg_tf.models.fcn import FcnConfig
from calcseg_tf.recipe import TrainingConfig
from calcseg_tf.segmenter import Segmenter
from calcseg_tf.training import build_segmenter

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
    image, mask = fake_crops(crop_size, batch)
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
    return build_segmenter(TrainingConfig(FcnConfig(), loss=LossConfig(loss)), mean=0.2, standard_deviation=0.2)


def _forever(image: np.ndarray, mask: np.ndarray, batch: int) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((image, mask)).repeat().batch(batch).prefetch(1)


if __name__ == "__main__":
    main()
