"""Predicts the same mammograms again and again, in a process and through a server, and watches memory and file handles.

    python -m tools.soak --input=FOLDER --minutes=60 [--model_dir=MODEL]

FOLDER holds mammograms of mixed sizes, and files that are none: each must end as it did the first time, with the same
bytes. Three processes: one predicts with the model, as `calcseg_tf.predict` does, one serves it (the tests' stand-in
for TensorFlow Serving), one predicts through the server. Each has a row of resident memory, open handles and threads a
minute; ends with status 1 if a result changed, or if memory or handles grew after all images were predicted twice.
"""

import argparse
import hashlib
import itertools
import multiprocessing
import os
import pathlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from multiprocessing.queues import Queue
from typing import Any

from calcseg_tf import shipped
from calcseg_tf.prediction import ImageJob, Model, Settings, Status, predict_image
from data_prep.command import DISCLAIMER

_WARM_ROUNDS = 2  # of all images: allocators keep what they once had
_MOST_GROWTH = 0.05  # of the memory from then on
_MORE_HANDLES = 16  # than then: files being read or written at that moment
_SECONDS_A_ROW = 60.0
_TIMELESS = ("probability.png", "overlay.png", "calcifications.csv")  # the others tell when they were made


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
        _, address = told.get()
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


def watch(processes: Mapping[str, Any], told: "Queue[tuple[str, Any]]", seconds: float, warm: int) -> None:
    """Prints a row a minute of each process; ends the program with status 1 where something grew, changed or died.

    Args:
        processes: By name.
        told: What they say: how many images are done, or what is wrong.
        seconds: The time to watch.
        warm: Images after which nothing may grow.
    """
    start, done, failed, warmed = time.monotonic(), dict.fromkeys(processes, 0), [], False
    early: dict[str, tuple[float, int]] = {}
    print("| minute | process | images | MB | handles | threads |\n|---|---|---|---|---|---|", flush=True)
    while not failed and (passed := time.monotonic() - start) < seconds:
        time.sleep(min(_SECONDS_A_ROW, seconds - passed))
        while not told.empty():
            name, message = told.get()
            if isinstance(message, str):
                failed.append(f"{name}: {message}")
            else:
                done[name] = message
        for name, process in processes.items():
            if not process.is_alive():
                failed.append(f"{name}: ended with status {process.exitcode}")
                continue
            megabytes, handles, threads = usage(process.pid)
            minute = (time.monotonic() - start) / 60
            print(f"| {minute:.0f} | {name} | {done[name]} | {megabytes:.0f} | {handles} | {threads} |", flush=True)
            if min(count for each, count in done.items() if each != "server") < warm or name not in early:
                # The most of any row: what is in use depends on the image of the moment.
                most = early.get(name, (0.0, 0))
                early[name] = max(most[0], megabytes), max(most[1], handles)
                continue
            warmed = True
            if megabytes > (1 + _MOST_GROWTH) * early[name][0] or handles > early[name][1] + _MORE_HANDLES:
                failed.append(f"{name}: grew from {early[name][0]:.0f} MB and {early[name][1]} handles")
    if not warmed:
        failed.append(f"too short: {warm} images by each process, then what may not grow is known")
    if failed:
        sys.exit("error: " + "; ".join(failed))


def usage(pid: int) -> tuple[float, int, int]:
    """Returns resident memory in MB, open file handles and threads of a process."""
    process = pathlib.Path("/proc") / str(pid)
    pages = int((process / "statm").read_text().split()[1])
    handles, threads = (len(os.listdir(process / each)) for each in ("fd", "task"))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, handles, threads


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
