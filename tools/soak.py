"""Predicts the same mammograms again and again, in a process and through a server, and watches memory and file handles.

    python -m tools.soak --input=FOLDER --minutes=60 [--model_dir=MODEL]

FOLDER holds mammograms of mixed sizes, and files that are none: each must end as it did the first time, with the same
bytes. Three processes: one predicts with the model, as `calcseg_tf.predict` does, one serves it (the tests' stand-in
for TensorFlow Serving), one predicts through the server. Each has a row a minute: the most memory, open handles and
threads that it had in that minute, seen once a second. Ends with status 1 if a result changed, or if a process had more
memory or handles in the second half of the time than in the first, counted from when all images were predicted twice.
"""

import argparse
import contextlib
import functools
import hashlib
import itertools
import multiprocessing
import os
import pathlib
import queue
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.queues import Queue
from typing import Any, NamedTuple

from calcseg_tf import shipped
from calcseg_tf.prediction import ImageJob, Model, Settings, Status, predict_image
from data_prep.command import DISCLAIMER

_WARM_ROUNDS = 2  # of all images: allocators keep what they once had
_MOST_GROWTH = 0.05  # of the most memory in the first half to the most in the second
_MORE_HANDLES = 16  # likewise: files being read or written at one moment
_SECONDS_A_ROW = 60.0
_SECONDS_A_SAMPLE = 1.0
_TIMELESS = ("probability.png", "overlay.png", "calcifications.csv")  # the others tell when they were made


class Usage(NamedTuple):
    """What a process has, or had at most, of memory in MB, of open file handles and of threads."""

    megabytes: float
    handles: int
    threads: int

    def or_more(self, other: "Usage") -> "Usage":
        """Returns the greater of each."""
        return Usage(*map(max, self, other))


def main() -> None:
    """Runs until the time is over and prints the table as it goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=pathlib.Path, required=True, help="folder of mammograms")
    parser.add_argument("--model_dir", type=pathlib.Path, default=shipped.MODEL_DIR)
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for the processes to come
    context = multiprocessing.get_context("spawn")
    told: Queue[tuple[str, Any]] = context.Queue()
    images = sorted(path for path in options.input.iterdir() if path.is_file())
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        processes = {"server": context.Process(target=serve, args=(options.model_dir, folder / "models", told))}
        processes["server"].start()
        address = _address(processes["server"], told)
        for name, load, argument in (("local", _local, options.model_dir), ("client", _remote, address)):
            arguments = (name, load, argument, images, folder / name, told)
            processes[name] = context.Process(target=predict_on_and_on, args=arguments)
            processes[name].start()
        try:
            watch(processes, told, options.minutes * 60, _WARM_ROUNDS * len(images))
        finally:
            for process in processes.values():
                process.kill()
                process.join()
    print(DISCLAIMER)


def _address(server: Any, told: "Queue[tuple[str, Any]]") -> Any:
    while server.is_alive() or not told.empty():
        with contextlib.suppress(queue.Empty):
            return told.get(timeout=1.0)[1]
    sys.exit("error: the server did not start; what it says is above")


def watch(processes: Mapping[str, Any], told: "Queue[tuple[str, Any]]", seconds: float, warm: int) -> None:
    """Prints a row a minute of each process; ends the program with status 1 where something grew, changed or died.

    Args:
        processes: By name.
        told: What they say: how many images are done, or what is wrong.
        seconds: The time to watch.
        warm: Images of each process after which nothing may grow.
    """
    start, done, failed = time.monotonic(), dict.fromkeys(processes, 0), []
    rows: dict[str, list[Usage]] = {name: [] for name in processes}
    print("| minute | process | images | most MB | handles | threads |\n|---|---|---|---|---|---|", flush=True)
    while not failed and (passed := time.monotonic() - start) < seconds:
        most = most_usage(processes, min(_SECONDS_A_ROW, seconds - passed))
        while not told.empty():
            name, message = told.get()
            if isinstance(message, str):
                failed.append(f"{name}: {message}")
            else:
                done[name] = message
        warmed = min(count for name, count in done.items() if name != "server") >= warm
        for name, process in processes.items():
            if not process.is_alive():
                failed.append(f"{name}: ended with status {process.exitcode}")
                continue
            megabytes, handles, threads = most[name]
            minute = (time.monotonic() - start) / 60
            print(f"| {minute:.0f} | {name} | {done[name]} | {megabytes:.0f} | {handles} | {threads} |", flush=True)
            if warmed:
                rows[name].append(most[name])
    if not failed:
        failed = [f"{name}: {growth}" for name, since in rows.items() if (growth := growth_of(since, warm))]
    if failed:
        sys.exit("error: " + "; ".join(failed))


def growth_of(rows: Sequence[Usage], warm: int) -> str | None:
    """Says what grew from the first half of the rows to the second, or that there are too few to tell; else None."""
    half = len(rows) // 2
    if not half:
        return f"too short: {warm} images by each process, then two rows"
    first, second = (functools.reduce(Usage.or_more, part) for part in (rows[:half], rows[half:]))
    if second.megabytes > (1 + _MOST_GROWTH) * first.megabytes or second.handles > first.handles + _MORE_HANDLES:
        return (
            f"grew from {first.megabytes:.0f} MB and {first.handles} handles "
            f"to {second.megabytes:.0f} and {second.handles}"
        )
    return None


def most_usage(processes: Mapping[str, Any], seconds: float) -> dict[str, Usage]:
    """Returns the most that each process had of memory, handles and threads within some seconds from now."""
    most: dict[str, Usage] = {}
    end = time.monotonic() + seconds
    while True:
        for name, process in processes.items():
            if process.is_alive():
                now = usage(process.pid)
                most[name] = now.or_more(most.get(name, now))
        if (left := end - time.monotonic()) <= 0:
            return most
        time.sleep(min(_SECONDS_A_SAMPLE, left))


def usage(pid: int) -> Usage:
    """Returns resident memory in MB, open file handles and threads of a process."""
    process = pathlib.Path("/proc") / str(pid)
    pages = int((process / "statm").read_text().split()[1])
    handles, threads = (len(os.listdir(process / each)) for each in ("fd", "task"))
    return Usage(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, handles, threads)


def serve(model_dir: pathlib.Path, export_dir: pathlib.Path, told: "Queue[tuple[str, Any]]") -> None:
    """Exports a model and serves it until killed."""
    import tensorflow as tf

    from calcseg_tf.serving.exporting import export_version
    from tests.fakes.serving import Backend, grpc_server

    loaded = tf.saved_model.load(str(export_version(model_dir, export_dir, 1)))
    with grpc_server(Backend(loaded.signatures)) as address:
        told.put(("server", address))
        time.sleep(1e9)


def predict_on_and_on(
    name: str,
    load: Callable[[Any], tuple[Model, Settings]],
    argument: object,
    images: list[pathlib.Path],
    folder: pathlib.Path,
    told: "Queue[tuple[str, Any]]",
) -> None:
    """Predicts all images in turn; tells how many, or in words what changed."""
    try:
        model, settings = load(argument)
        first: dict[pathlib.Path, object] = {}
        for count, image in enumerate(itertools.cycle(images), 1):
            outcome = predict_image(model, ImageJob(image, image.name, folder / image.name), settings)
            if outcome.status is Status.FAILED:
                found: object = outcome.reason
            else:
                found = [hashlib.sha256((folder / image.name / each).read_bytes()).digest() for each in _TIMELESS]
                shutil.rmtree(folder / image.name)
            if first.setdefault(image, found) != found:
                told.put((name, f"{image.name} had another result than the first time"))
            told.put((name, count))
    except Exception as error:
        told.put((name, f"{type(error).__name__}: {error}"))
        raise


def _local(model_dir: pathlib.Path) -> tuple[Model, Settings]:
    from calcseg_tf.bulk.local_model import LocalModel

    model = LocalModel(model_dir)
    return model.load(), Settings(*model.describe())


def _remote(server: str) -> tuple[Model, Settings]:
    from calcseg_tf.bulk.description import describe_model
    from calcseg_tf.serving.connection import ConnectionConfig, connect

    model = connect(ConnectionConfig(server=server, model_name="calcseg"))
    info = model.served.info
    return model, Settings(info.operating_threshold, describe_model(info, weights_sha256=model.served.weights_sha256))


if __name__ == "__main__":
    main()
