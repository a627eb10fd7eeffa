"""How fast records are read back for training: random crops of 512 x 512, augmented, as the network gets them.

python -m benchmarks.input_rate            12 mammograms of INbreast's sizes: 3 minutes
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
from data_prep.datasets import Folder
from data_prep.manifest import Manifest
from data_prep.pipeline import ConvertConfig, make_plan, write_plan

_CROP_PX = 512
_BATCH = 8

# A training step of the paper's network: plain Keras graph, 2 cores with AVX2.
_TRAINING_SECONDS_PER_MPIX = 68.0
_MIN_TIMES_TRAINING = 10
_GPU_TIMES_FASTER, _GPU_CORES = 100, 16


def main() -> None:
    """Measures and prints a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--batches", type=int, default=40, help=f"of {_BATCH} crops, in each of three rounds")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    training = 1.0 / _TRAINING_SECONDS_PER_MPIX
    print(f"{cores} cores; load before: {os.getloadavg()[0]:.2f}\n")
    print("| crops per decoded mammogram | crops/s | MPix/s | times the rate of training here | must be |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        write_data_set(pathlib.Path(folder, "in"), options.images, INBREAST_SIZES)
        config = ConvertConfig(Folder(), pathlib.Path(folder, "in"), pathlib.Path(folder, "out"), workers=cores)
        manifest = write_plan(make_plan(config)).manifest
        for crops_per_image in (1, 8, InputConfig.crops_per_image):
            rate = _crops_per_second(manifest, crops_per_image, options.batches)
            mpix = rate * _CROP_PX**2 / 1e6
            print(
                f"| {crops_per_image} | {rate:.1f} | {mpix:.2f} | {mpix / training:.0f} | >= {_MIN_TIMES_TRAINING} |",
                flush=True,
            )
    wanted = _GPU_TIMES_FASTER * training
    print(
        f"\nTraining here: 1 / {_TRAINING_SECONDS_PER_MPIX:.0f} s = {training:.4f} MPix/s. A GPU {_GPU_TIMES_FASTER} "
        f"times faster eats {wanted:.2f} MPix/s = {wanted * 1e6 / _CROP_PX**2:.1f} crops/s.\n"
        f"The last row, by {cores} cores, is {mpix / wanted:.1f} times that; {_GPU_CORES} such cores would give "
        f"{_GPU_CORES * mpix / cores:.0f} MPix/s, {_GPU_CORES * mpix / cores / wanted:.0f} times that."
    )


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
