"""Images predicted by processes of this machine, each with its own model.

A process reads, predicts and writes one image after the other: while one draws and writes on one core, another's
network has the rest. All that crosses between them is a file's path and figures of its result.
"""

import collections
import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from calcseg_tf.bulk.local_model import LocalModel
from calcseg_tf.prediction import ImageJob, ModelChangedError, Outcome, Settings, Status, predict_image
from data_prep.errors import InputError, UnfinishedError
from data_prep.worker_process import begin_worker

__all__ = ["InProcesses", "default_workers"]

_BYTES_A_WORKER = 4 << 30  # twice what one takes for the largest mammograms
_ATTEMPTS = 2
_SECONDS_TO_END = 5.0
_SECONDS_TO_SIGNAL = 0.5


def default_workers() -> int:
    """Returns one process a core, as far as the machine's memory goes."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(len(os.sched_getaffinity(0)), memory // _BYTES_A_WORKER))


class InProcesses:
    """Spawned processes that share the cores; one that dies is replaced, and its image tried once more."""

    def __init__(self, model: LocalModel, workers: int) -> None:
        """Starts nothing yet.

        Args:
            model: Loaded by each.
            workers: The most processes, at least 1.

        Raises:
            InputError: Fewer.
        """
        if workers < 1:
            raise InputError(f"must be at least 1; found {workers}", "--workers")
        self._model = model
        self._workers = workers
        self._processes: dict[Connection, Any] = {}
        self._busy: dict[Connection, ImageJob] = {}
        self._idle: list[Connection] = []
        self._told: tuple[float, Mapping[str, Any]] | None = None

    def __enter__(self) -> "InProcesses":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.join(_SECONDS_TO_END)
            process.kill()
            process.join()

    def model(self, images: int) -> tuple[float, Mapping[str, Any]]:
        """As `Runner.model`: the first process tells it, so that this one needs no TensorFlow."""
        self._workers = min(self._workers, max(1, images))  # a single image has all cores
        self._start()
        while self._told is None:
            for end in self._talking():
                self._receive(end)
        return self._told

    def outcomes(
        self, jobs: Sequence[ImageJob], settings: Settings, advance: Callable[[ImageJob, float], object]
    ) -> Iterator[Outcome]:
        """As `Runner.outcomes`; an image at which two processes died has failed."""
        waiting = collections.deque(jobs)
        deaths: collections.Counter[ImageJob] = collections.Counter()
        while waiting or self._busy:
            while len(self._processes) < min(self._workers, len(self._busy) + len(waiting)):
                self._start()
            while self._idle and waiting:
                self._give(self._idle.pop(), waiting.popleft(), settings)
            for end in self._talking():
                job = self._busy.get(end)
                try:
                    message = self._receive(end)
                except _DiedError as error:
                    if job is None:
                        continue
                    deaths[job] += 1
                    if deaths[job] < _ATTEMPTS:
                        waiting.append(job)  # last, when memory may be less scarce
                    else:
                        yield Outcome(job, Status.FAILED, f"{_ATTEMPTS} processes ended at it: {error}")
                    continue
                if isinstance(message, Outcome):
                    yield message
                elif isinstance(message, float) and job is not None:
                    advance(job, message)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork of a process that holds threads can hang
        ours, theirs = context.Pipe()
        threads = max(1, len(os.sched_getaffinity(0)) // self._workers)
        process = context.Process(target=_work, args=(self._model, threads, theirs), daemon=True)
        process.start()
        theirs.close()  # so that the death of the worker, the only one to hold it now, is seen as an end of file
        self._processes[ours] = process

    def _talking(self) -> list[Connection]:
        """Returns those that have something to say, after half a second none: signals are acted on in between."""
        ends = wait(list(self._processes), _SECONDS_TO_SIGNAL)
        return [end for end in ends if isinstance(end, Connection)]

    def _give(self, end: Connection, job: ImageJob, settings: Settings) -> None:
        self._busy[end] = job
        with contextlib.suppress(OSError):  # it died: its end of file follows
            end.send((job, settings))

    def _receive(self, end: Connection) -> Any:
        """Returns what a process sends: a share of its image, or the outcome, after which it is idle.

        Raises:
            _DiedError: It died at its image, or idle.
            UnfinishedError: It died before it had its model.
            ModelChangedError: It has another model than those before it.
            Exception: What it raised.
        """
        try:
            message = end.recv()
        except (EOFError, OSError):
            process = self._processes.pop(end)
            process.join()
            told = f"a process ended with status {process.exitcode}, perhaps for want of memory: try fewer --workers"
            if end in self._idle:
                self._idle.remove(end)
            elif self._busy.pop(end, None) is None:
                raise UnfinishedError(f"loading the model, {told}") from None
            raise _DiedError(told) from None
        if isinstance(message, BaseException):
            raise message
        if isinstance(message, tuple):
            if self._told not in (None, message):
                raise ModelChangedError("the model directory")
            self._told = message
            self._idle.append(end)
        elif isinstance(message, Outcome):
            del self._busy[end]
            self._idle.append(end)
        return message


class _DiedError(Exception):
    """A process is gone; the text says how."""


def _work(model: LocalModel, threads: int, end: Connection) -> None:
    """Runs in a process: sends threshold and description of its model, then shares and an outcome for each image."""
    begin_worker()
    try:
        predictor = model.load(threads)
        end.send(model.describe())
        while True:
            job, settings = end.recv()
            end.send(predict_image(predictor, job, settings, end.send))
    except (EOFError, BrokenPipeError):
        os._exit(1)  # the parent is gone: nobody waits for the rest
    except Exception as error:
        end.send(error)
