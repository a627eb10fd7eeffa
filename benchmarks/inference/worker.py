"""What every peer's process shares: it takes tasks on standard input and answers each on standard output.

A task is a line of JSON, {"image": NPY, "output": NPY or null, "window": px}: a float32 [height, width] of intensities
is read, the peer warmed up on one window of it, then the whole of it predicted and timed, from array to array. The
answer, too, is a line of JSON. NumPy alone, for it runs in the environments of others.
"""

import json
import os
import pathlib
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.inference.windows import predict_in_windows, spans

__all__ = ["Peer", "answer_tasks", "arguments", "peak_bytes"]


class Peer:
    """A network in some runtime that predicts window by window.

    Attributes:
        halo: How far an output pixel sees, in px.
        about: What the report says of it: versions, precision.
    """

    def __init__(self, network: Callable[[np.ndarray], np.ndarray], halo: int, about: dict[str, Any]) -> None:
        self.network, self.halo, self.about = network, halo, about

    def warm_up(self, image: np.ndarray, window: int) -> None:
        """Predicts one window of the size that `predict` will use: compiles, allocates, fills caches."""
        if window:
            row, column = (spans(length, window, self.halo)[0] for length in image.shape)
            self.network(np.ascontiguousarray(image[: row.stop, : column.stop]))
        else:  # in one pass: a corner will do, for nothing here depends on the size
            self.network(np.ascontiguousarray(image[:256, :256]))

    def predict(self, image: np.ndarray, window: int) -> np.ndarray:
        """Maps intensities float32 [height, width] to probabilities of the same shape."""
        return predict_in_windows(self.network, image, window, self.halo)


def arguments() -> tuple[str, str, int]:
    """Returns the way, the weights and the threads that the command line names, and limits memory as it says."""
    way, path, threads, most_bytes = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_DATA, (int(most_bytes), int(most_bytes)))
    return way, path, int(threads)


def answer_tasks(peer: Peer) -> None:
    """Answers every line of standard input."""
    for line in sys.stdin:
        task = json.loads(line)
        image = np.load(task["image"])
        peer.warm_up(image, task["window"])
        before = os.times()
        start = time.perf_counter()
        probability = peer.predict(image, task["window"])
        seconds = time.perf_counter() - start
        after = os.times()
        if task["output"]:
            np.save(task["output"], probability.astype(np.float32, copy=False))
        print(
            json.dumps(
                {
                    "seconds": seconds,
                    "cpu_seconds": after.user - before.user + after.system - before.system,
                    "peak_bytes": peak_bytes(),
                    "about": peer.about,
                }
            ),
            flush=True,
        )


def peak_bytes() -> int:
    """Returns the most memory that this process has had so far (VmHWM; Linux only)."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
