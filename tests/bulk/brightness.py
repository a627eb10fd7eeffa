"""A model by hand: a pixel's probability is its brightness. Some sizes of image do what no image should."""

import dataclasses
import os
import pathlib
import signal
import sys
import threading
import time

import numpy as np

from calcseg_tf.bulk import BulkConfig, InThreads, predict_bulk
from calcseg_tf.bulk.processes import InProcesses
from data_prep.command import run

__all__ = ["BLACK_HOLE", "DEADLY", "DEADLY_ONCE", "Brightness", "BrightnessModel", "in_threads"]

# Rows of an image that raises an error; that ends its process; that does so the first time.
BLACK_HOLE, DEADLY, DEADLY_ONCE = 13, 17, 19


class Brightness:
    """Counts its calls.

    `marks` is where processes leave signs for each other; `seconds` is what an image takes.
    """

    def __init__(self, marks=None, seconds=0.0) -> None:
        self.calls = 0
        self._marks = marks
        self._seconds = seconds
        self._lock = threading.Lock()

    def probability(self, intensity, progress=lambda _: None):
        with self._lock:
            self.calls += 1
        time.sleep(self._seconds)
        rows = len(intensity)
        if rows == BLACK_HOLE:
            raise KeyError("Musterfrau")
        if rows == DEADLY or (rows == DEADLY_ONCE and not (self._marks / "died").exists()):
            (self._marks / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        for _ in range(rows):
            progress(1)
        return intensity.astype(np.float32)


@dataclasses.dataclass(frozen=True)
class BrightnessModel:
    """To be loaded by processes, as `LocalModel` is."""

    marks: pathlib.Path
    seconds: float = 0.0

    def absolute(self):
        return self

    def load(self, threads=None):
        if (self.marks / "no memory").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        with (self.marks / "loaded").open("a") as file:
            file.write(f"{os.getpid()}\n")
        (self.marks / "threads").write_text(str(threads))
        return Brightness(self.marks, self.seconds)

    def describe(self):
        changed = (self.marks / "changing").exists() and len((self.marks / "loaded").read_text().split()) > 1
        return 0.5, {"name": "another" if changed else "brightness"}


def in_threads(model, threshold=0.5, in_flight=2, **identity):
    return InThreads(model, threshold, {"name": "brightness", **identity}, in_flight)


def _command(archive, out, marks, seconds, workers):
    model = BrightnessModel(pathlib.Path(marks), float(seconds))
    runner = InProcesses(model, int(workers))
    predict_bulk(BulkConfig(archive, pathlib.Path(out), recursive=True), runner, print).tell(print)


if __name__ == "__main__":  # the command, less its network: python -m tests.bulk.brightness ARCHIVE OUT ...
    arguments = sys.argv[1:]
    sys.argv[1:] = []
    run(lambda: _command(*arguments))
