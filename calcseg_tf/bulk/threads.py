"""Images predicted in threads of this process: for a model that waits for a server most of the time."""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any

from calcseg_tf.prediction import ImageJob, Model, Outcome, Settings, predict_image
from data_prep.errors import InputError

__all__ = ["InThreads"]

# A signal that another thread of the process receives does not wake the main thread, which alone acts on it.
_SECONDS_TO_SIGNAL = 0.5


class InThreads:
    """Keeps several images in flight; files are read and results written by one thread at a time.

    A run that is stopped leaves the threads to end with the process: what they wait for may take its time.
    """

    def __init__(self, model: Model, threshold: float, description: Mapping[str, Any], in_flight: int = 1) -> None:
        """Takes a model whose `probability` may be called by several threads at once.

        Args:
            model: Predicts.
            threshold: The operating threshold, in (0, 1).
            description: Tells the model's weights from others, ready for JSON: `calcseg_tf.bulk.description`.
            in_flight: Threads, at least 1.
        """
        self._model = model
        self._told = threshold, description
        self._in_flight = in_flight
        self._turn = _Turn()

    def __enter__(self) -> "InThreads":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turn.end()

    def model(self, images: int) -> tuple[float, Mapping[str, Any]]:
        """As `Runner.model`."""
        return self._told

    def outcomes(
        self, jobs: Sequence[ImageJob], settings: Settings, advance: Callable[[ImageJob, float], object]
    ) -> Iterator[Outcome]:
        """As `Runner.outcomes`; `advance` is called by the caller's thread alone."""
        waiting: queue.SimpleQueue[ImageJob] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        told: queue.SimpleQueue[tuple[ImageJob, float] | Outcome | Exception] = queue.SimpleQueue()

        def share_done(job: ImageJob, share: float) -> None:
            told.put((job, share))

        def work() -> None:
            while not self._turn.ended:
                try:
                    job = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    told.put(predict_image(self._model, job, settings, partial(share_done, job), self._turn))
                except Exception as error:
                    told.put(error)

        for _ in range(min(self._in_flight, len(jobs))):
            threading.Thread(target=work, daemon=True).start()
        left = len(jobs)
        while left:
            try:
                message = told.get(timeout=_SECONDS_TO_SIGNAL)
            except queue.Empty:
                continue
            if isinstance(message, Exception):
                raise message
            if isinstance(message, Outcome):
                left -= 1
                yield message
            else:
                advance(*message)


class _Turn:
    """A lock that nobody gets any more once the run has ended.

    Attributes:
        ended: Whether it has.
    """

    def __init__(self) -> None:
        self.ended = False
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()
        if self.ended:
            self._lock.release()
            raise InputError("the run was stopped")

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def end(self) -> None:
        """Waits for the thread that holds it, which finishes its result."""
        self.ended = True
        with self._lock:
            pass
