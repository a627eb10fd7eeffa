"""What `data_prep.convert` costs beside decoding and encoding alone: rate, memory, cost per image.

python -m benchmarks.convert_speed            100 images of INbreast's sizes, 2 workers: 10 minutes and 4 GB of disk
python -m benchmarks.convert_speed --images=16 --repeats=1 --many=100

* Rate: the whole command against a loop that does what no conversion can leave out - pydicom decodes the image, Pillow
  the mask, `encode_png` encodes both - in as many processes on the same files. Both are timed from the start of their
  processes to their end, by turns in one run; medians.
* Memory: growth of the resident memory of a worker and of the process that decodes encoded pixels for it, over what
  both hold after small images, sampled every 2 ms; in images of 4084 x 3328 pixels as float32 (52 MiB).
* Flatness: seconds per image of 256 x 256 in one process that has converted before.
"""

import argparse
import multiprocessing
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Event

import pydicom

from benchmarks.synthetic import INBREAST_SIZES, write_data_set
from data_prep.conversion.pipeline import ConvertConfig, make_plan, write_plan
from data_prep.datasets import Folder
from data_prep.png import decode_grey_png, encode_png

_SMALL = (256, 256)
_MAX_IMAGES_OF_MEMORY = 3.0
_MIN_SHARE_OF_BARE = 0.80


def main() -> None:
    """Measures and prints a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100, help="mammograms of INbreast's sizes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="rounds of bare and conversion by turns")
    parser.add_argument("--many", type=int, default=1000, help="most small images in the test of flatness")
    options = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} cores; load before: {os.getloadavg()[0]:.2f}\n")
    print("| what | figure | must be |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        _print_rates(pathlib.Path(folder), options.images, options.workers, options.repeats)
    for syntax in ("explicit", "rle"):
        with tempfile.TemporaryDirectory() as folder:
            _print_memory(pathlib.Path(folder), syntax)
    with tempfile.TemporaryDirectory() as folder:
        _print_flatness(pathlib.Path(folder), options.many)


def _row(what: str, figure: str, must: str = "") -> None:
    print(f"| {what} | {figure} | {must} |", flush=True)


def _print_rates(folder: pathlib.Path, images: int, workers: int, repeats: int) -> None:
    write_data_set(folder / "in", images, INBREAST_SIZES)
    paths = sorted((folder / "in").glob("*.dcm"))
    per_shard = max(1, images // (10 * workers))
    bare, whole = [], []
    for number in range(repeats):
        bare.append(_timed(lambda: _run_bare(paths, workers)))
        whole.append(_timed(lambda number=number: _run_conversion(folder, number, workers, per_shard)))
    (of_bare, cpu_of_bare), (seconds, cpu) = (
        (statistics.median(times) for times in zip(*rounds, strict=True)) for rounds in (bare, whole)
    )
    _row(f"bare decode + encode, {images} images, {workers} processes", f"{images / of_bare:.2f} images/s")
    _row(f"`data_prep.convert`, the same, --workers={workers}", f"{images / seconds:.2f} images/s")
    _row("share of the bare rate", f"{of_bare / seconds:.0%}", f">= {_MIN_SHARE_OF_BARE:.0%}")
    _row("the same by CPU time, for a machine that others use too", f"{cpu_of_bare / cpu:.0%}")


def _timed(run: Callable[[], object]) -> tuple[float, float]:
    """Returns the seconds that something took, and the CPU seconds of the processes that it started."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return time.perf_counter() - start, cpu


def _run_bare(paths: Sequence[pathlib.Path], workers: int) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_bare, args=(paths[worker::workers],)) for worker in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def _bare(paths: Sequence[pathlib.Path]) -> None:
    for path in paths:
        encode_png(pydicom.dcmread(path).pixel_array)
        encode_png(decode_grey_png(path.with_suffix(".png").read_bytes()))


def _run_conversion(folder: pathlib.Path, number: int, workers: int, per_shard: int) -> None:
    flags = (f"--workers={workers}", f"--examples_per_shard={per_shard}", f"--output_dir={folder / f'out{number}'}")
    subprocess.run(
        [sys.executable, "-m", "data_prep.convert", f"--data_dir={folder / 'in'}", *flags],
        check=True,
        capture_output=True,
    )


def _print_memory(folder: pathlib.Path, syntax: str) -> None:
    largest = max(INBREAST_SIZES)
    write_data_set(folder / "small", 2, [_SMALL], syntax)
    write_data_set(folder / "in", 6, [largest], syntax)
    context = multiprocessing.get_context("spawn")
    ready, go = context.Event(), context.Event()
    worker = context.Process(target=_convert_small_then_large, args=(folder, ready, go))
    worker.start()
    ready.wait()
    before = _resident(worker.pid)
    go.set()
    peak = 0
    while worker.is_alive():
        peak = max(peak, _resident(worker.pid))
        time.sleep(0.002)
    grown = (peak - before) / (4 * largest[0] * largest[1])
    _row(f"memory of a worker, {syntax}", f"{grown:.2f} images", f"<= {_MAX_IMAGES_OF_MEMORY:.0f} images")


def _convert_small_then_large(folder: pathlib.Path, ready: Event, go: Event) -> None:
    _convert(folder / "small", folder / "small_out")
    ready.set()
    go.wait()
    _convert(folder / "in", folder / "out")


def _resident(pid: int | None) -> int:
    """Returns the resident bytes of a process and its children; 0 once it has ended."""
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return sum(
            os.sysconf("SC_PAGE_SIZE") * int(pathlib.Path(f"/proc/{name}/statm").read_text().split()[1])
            for name in (pid, *children)
        )
    except OSError:
        return 0


def _print_flatness(folder: pathlib.Path, many: int) -> None:
    write_data_set(folder / "warm", 2, [_SMALL])
    _convert(folder / "warm", folder / "warm_out")
    costs = []
    for images in (10, 100, 1000):
        if images > many:
            break
        write_data_set(folder / f"in{images}", images, [_SMALL])
        rounds = []
        for number in range(3):
            start = time.perf_counter()
            _convert(folder / f"in{images}", folder / f"out{images}-{number}")
            rounds.append((time.perf_counter() - start) / images)
        costs.append(statistics.median(rounds))
        _row(f"one of {images} images of 256 x 256", f"{1000 * costs[-1]:.1f} ms")
    _row("the last of these to the first", f"{costs[-1] / costs[0]:.2f}", "flat: about 1 or less")


def _convert(data_dir: pathlib.Path, output_dir: pathlib.Path) -> None:
    with open(os.devnull, "w") as nothing:
        told, sys.stderr = sys.stderr, nothing
        try:
            write_plan(make_plan(ConvertConfig(Folder(), data_dir, output_dir)))
        finally:
            sys.stderr = told


if __name__ == "__main__":
    main()
