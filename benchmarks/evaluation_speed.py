"""What evaluation costs, prediction excluded: time, memory, and the exact sweep against labelling at 100 thresholds.

python -m benchmarks.evaluation_speed                  118 images of 3328 x 2560, 2 workers: 3 minutes, 0.5 GB of disk
python -m benchmarks.evaluation_speed --images=8 --labelled=1

* Each image has 10,000 and more predicted components at p >= 0.5: blobs with graded, noisy probabilities that merge as
  the threshold falls, over small probabilities everywhere; 30 annotated objects. Drawing them is not timed.
* Scoring: all that `Evaluation.add` does - the sweeps of all protocols, tables of components, pixel histograms - from
  the first image to the last. Results: intervals, bands, tables, metrics.json and figures.
* Memory: the sum over this process and its workers, what they share counted once, sampled five times a second.
* Ratio: `count_zamir`, which counts at 65,372 thresholds, against labelling at 100 of them, both in this process on
  some of the images, by CPU time, for a machine that others use too; the median of their ratios. Both must count the
  same false alarms.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import pathlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable

import cc3d
import numpy as np
from scipy import ndimage

from calcseg_tf.evaluation import Evaluation, write_results
from calcseg_tf.evaluation.froc import LOWEST_CODE
from calcseg_tf.evaluation.protocols.hdogreg import count_hdogreg
from calcseg_tf.evaluation.protocols.picai import count_picai
from calcseg_tf.evaluation.protocols.zamir import count_zamir
from data_prep.mask import CALCIFICATION

_SHAPE = (3328, 2560)
_BLOBS = 12200  # of which more than 10,000 are left apart at any threshold to p = 0.5
_OBJECTS = 30
_RADIUS = 7
_MOST_MINUTES = 10
_MOST_GB = 2.0
_LEAST_RATIO = 20

_THRESHOLDS = np.rint(65535 / (1 + np.exp(-np.linspace(-5.985, 10, 100)))).astype(np.int64)  # even in logit

_LABELLERS: dict[str, Callable[[np.ndarray], tuple[np.ndarray, int]]] = {
    "connected-components-3d": lambda image: cc3d.connected_components(
        image.view(np.uint8), connectivity=8, return_N=True
    ),
    "scipy.ndimage": lambda image: ndimage.label(image, np.ones((3, 3))),
}


def main() -> None:
    """Measures and prints a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=118)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--labelled", type=int, default=3, help="images on which the sweep is compared with labelling")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder) / f"{number:04d}.npz" for number in range(options.images)]
        with _pool(options.workers) as pool:
            list(pool.map(draw, paths, range(len(paths))))
        print(f"{len(os.sched_getaffinity(0))} cores; load before: {os.getloadavg()[0]:.2f}\n")
        print("| what | figure | must be |\n|---|---|---|")
        _print_components(paths[: options.labelled])
        _print_evaluation(paths, options.workers, pathlib.Path(folder) / "out")
        _print_protocols(paths[: options.labelled])
        for name in _LABELLERS:
            _print_ratio(paths[: options.labelled], name)


def draw(path: pathlib.Path, seed: int) -> None:
    """Draws one image and keeps what `read` needs: the pixels of its blobs, and the annotation."""
    random = np.random.default_rng(seed)
    height, width = _SHAPE
    rows, columns = (random.integers(_RADIUS, length - _RADIUS, _BLOBS) for length in _SHAPE)
    steps = np.arange(-_RADIUS, _RADIUS + 1)
    squared = (steps[:, None] ** 2 + steps**2).astype(np.float32)
    noise = random.standard_normal((64, *squared.shape)).astype(np.float32)
    logit = np.full(_SHAPE, -30.0, np.float32)
    for row, column, peak, size in zip(
        rows, columns, random.normal(4.0, 1.5, _BLOBS), random.uniform(0.7, 2.5, _BLOBS), strict=True
    ):
        around = logit[row - _RADIUS : row + _RADIUS + 1, column - _RADIUS : column + _RADIUS + 1]
        np.maximum(around, peak + 0.7 * noise[random.integers(64)] - squared / size, out=around)
    pixels = np.flatnonzero(logit > -8.0)
    codes = np.rint(65535 / (1 + np.exp(-logit.ravel()[pixels]))).astype(np.uint16)
    mask = np.zeros(_SHAPE, np.uint8)
    for number in range(_OBJECTS):
        side = int(random.integers(1, 8))
        row, column = (rows[number], columns[number]) if number % 3 else random.integers(0, (height - 8, width - 8))
        mask[row : row + side, column : column + side] = CALCIFICATION
    np.savez(path, pixels=pixels.astype(np.int32), codes=codes, annotated=np.flatnonzero(mask))


def read(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns codes, uint16 [height, width], and mask, uint8 [height, width]."""
    with np.load(path) as drawn:
        codes = np.resize(np.arange(100, dtype=np.uint16), _SHAPE)  # small probabilities, below the sweep's floor
        codes.ravel()[drawn["pixels"]] = drawn["codes"]
        mask = np.zeros(_SHAPE, np.uint8)
        mask.ravel()[drawn["annotated"]] = CALCIFICATION
    return codes, mask


def _print_components(paths: list[pathlib.Path]) -> None:
    label = _LABELLERS["connected-components-3d"]
    for what, code in (("the floor, p = 0.0025", LOWEST_CODE), ("p = 0.5", 32768)):
        counts = [label(read(path)[0] >= code)[1] for path in paths]
        _row(f"predicted components an image at {what}", f"{min(counts):,} to {max(counts):,}", ">= 10,000")


def _print_evaluation(paths: list[pathlib.Path], workers: int, out: pathlib.Path) -> None:
    with _PeakMemory() as memory:
        start = time.perf_counter()
        with Evaluation(workers=workers) as evaluation:
            for number, path in enumerate(paths):
                evaluation.add(*read(path), f"image {number}", f"patient {number // 2}", breast_area_mm2=15_000.0)
            result = evaluation.result()
            scored = time.perf_counter()
        write_results(result, out)
        done = time.perf_counter()
    _row(f"scoring {len(paths)} images, {workers} workers", f"{scored - start:.0f} s")
    _row("results", f"{done - scored:.0f} s")
    _row("both", f"{(done - start) / 60:.1f} minutes", f"< {_MOST_MINUTES} minutes")
    _row("peak memory", f"{memory.peak / 1e9:.2f} GB", f"< {_MOST_GB:g} GB")


def _print_protocols(paths: list[pathlib.Path]) -> None:
    for count in (count_zamir, count_hdogreg, count_picai):
        seconds = statistics.median(_cpu_seconds(count, *read(path)) for path in paths)
        _row(f"`{count.__name__}`, one image", f"{seconds:.3f} s of CPU")


def _print_ratio(paths: list[pathlib.Path], labeller: str) -> None:
    ratios, all_seconds = [], []
    for path in paths:
        codes, mask = read(path)
        fast = statistics.median(_cpu_seconds(count_zamir, codes, mask) for _ in range(5))
        seconds = _cpu_seconds(_count_by_labelling, codes, mask, _LABELLERS[labeller])
        ratios.append(seconds / fast)
        all_seconds.append(seconds)
        exact = count_zamir(codes, mask).false_positives[_THRESHOLDS - LOWEST_CODE]
        assert exact.tolist() == _count_by_labelling(codes, mask, _LABELLERS[labeller])
    what = f"labelling at {len(_THRESHOLDS)} thresholds with {labeller}"
    _row(f"{what}, one image", f"{statistics.median(all_seconds):.2f} s of CPU")
    _row(f"{what}, times `count_zamir`", f"{statistics.median(ratios):.0f}", f">= {_LEAST_RATIO}")


def _count_by_labelling(codes: np.ndarray, mask: np.ndarray, label: Callable) -> list[int]:
    """Returns the false alarms at each of the thresholds."""
    annotated, alarms = np.flatnonzero(mask == CALCIFICATION), []
    for code in _THRESHOLDS:
        labels, count = label(codes >= code)
        alarms.append(int(count - np.count_nonzero(np.unique(labels.ravel()[annotated]))))
    return alarms


def _cpu_seconds(run: Callable, *arguments: object) -> float:
    start = time.process_time()
    run(*arguments)
    return time.process_time() - start


def _pool(workers: int) -> concurrent.futures.ProcessPoolExecutor:
    return concurrent.futures.ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def _row(what: str, figure: str, must: str = "") -> None:
    print(f"| {what} | {figure} | {must} |", flush=True)


class _PeakMemory:
    """Samples the memory of this process and of those below it; Linux only.

    Attributes:
        peak: Bytes, proportional set size: what processes share counts once.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "_PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            children = pathlib.Path("/proc/self/task").glob("*/children")
            pids = ["self", *(pid for each in children for pid in each.read_text().split())]
            self.peak = max(self.peak, sum(map(_shared_out_bytes, pids)))


def _shared_out_bytes(pid: str) -> int:
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
