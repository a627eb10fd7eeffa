"""How fast records are read back for training: random crops of 512 x 512, augmented, as the network gets them.

python -m benchmarks.input_rate            12 mammograms of INbreast's sizes: 5 minutes

Beside it, in the same run, how fast the paper's network trains on crops of the same size.
"""

import argparse
import os
import pathlib
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.synthetic import INBREAST_SIZES, write_data_set
from calcseg_tf.input_pipeline import InputConfig, training_batches
from calcseg_tf.losses import LossConfig
from calcseg_tf.models import build_network
from calcseg_tf.models.fcn import FcnConfig
from calcseg_tf.recipe import OptimizerConfig
from calcseg_tf.segmenter import Segmenter
from data_prep.conversion.pipeline import ConvertConfig, make_plan, write_plan
from data_prep.datasets import Folder
from data_prep.manifest import Manifest

_CROP_PX = 512
_BATCH = 8

_MIN_TIMES_TRAINING = 10
_GPU_TIMES_FASTER, _GPU_CORES = 100, 16


def main() -> None:
    """Measures and prints a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--batches", type=int, default=40, help=f"of {_BATCH} crops, in each of three rounds")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores; load before: {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory() as folder:
        write_data_set(pathlib.Path(folder, "in"), options.images, INBREAST_SIZES)
        config = ConvertConfig(Folder(), pathlib.Path(folder, "in"), pathlib.Path(folder, "out"), workers=cores)
        manifest = write_plan(make_plan(config)).manifest
        training = _trained_mpix_per_second(manifest)
        print(f"Training the paper's network here: {training:.4f} MPix/s ({1 / training:.0f} s a megapixel)\n")
        print("| crops per decoded mammogram | crops/s | MPix/s | times the rate of training here | must be |")
        print("|---|---|---|---|---|", flush=True)
        for crops_per_image in (1, 8, InputConfig.crops_per_image):
            rate = _crops_per_second(manifest, crops_per_image, options.batches)
            mpix = rate * _CROP_PX**2 / 1e6
            print(
                f"| {crops_per_image} | {rate:.1f} | {mpix:.2f} | {mpix / training:.0f} | >= {_MIN_TIMES_TRAINING} |",
                flush=True,
            )
    wanted = _GPU_TIMES_FASTER * training
    print(
        f"\nA GPU {_GPU_TIMES_FASTER} times faster than training here eats {wanted:.2f} MPix/s = "
        f"{wanted * 1e6 / _CROP_PX**2:.1f} crops/s.\n"
        f"The last row, by {cores} cores, is {mpix / wanted:.1f} times that; {_GPU_CORES} such cores would give "
        f"{_GPU_CORES * mpix / cores:.0f} MPix/s, {_GPU_CORES * mpix / cores / wanted:.0f} times that."
    )


def _trained_mpix_per_second(manifest: Manifest) -> float:
    """Returns the median rate of three steps on one crop each, after the one that traces the graph."""
    segmenter = Segmenter.of(build_network(FcnConfig(), synchronized_batch_norm=True), LossConfig())
    segmenter.compile(optimizer=OptimizerConfig().build(1))
    config = InputConfig(crop_size=_CROP_PX, global_batch_size=1, crops_per_image=4)
    seconds = []
    for image, mask in training_batches(manifest, config).take(4):
        start = time.perf_counter()
        segmenter.train_on_batch(image, mask)
        seconds.append(time.perf_counter() - start)
    return _CROP_PX**2 / 1e6 / statistics.median(seconds[1:])


def _crops_per_second(manifest: Manifest, crops_per_image: int, batches: int) -> float:
    """Returns the median rate of three rounds, after the buffers were filled."""
    config = InputConfig(
        crop_size=_CROP_PX, global_batch_size=_BATCH, steps_per_epoch=10**6, crops_per_image=crops_per_image
    )
    iterator = iter(training_batches(manifest, config))
    for _ in range(4 * crops_per_image // _BATCH + 4):
        next(iterator)
    rates = []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(batches):
            next(iterator)
        rates.append(batches * _BATCH / (time.perf_counter() - start))
    return statistics.median(rates)


if __name__ == "__main__":
    main()
