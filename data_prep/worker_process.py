"""Processes that work for another: what each does first, and a call for each of many tasks spread over some."""

import concurrent.futures
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import tqdm

from data_prep.errors import UnfinishedError

__all__ = ["begin_worker", "in_workers"]

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def begin_worker() -> None:
    """Lets Ctrl-C pass, for the parent ends its workers itself, and ends this process when its parent is gone.

    A rerun must not meet the workers of a parent that was killed at work in the same folder.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it reaches the whole group
    threading.Thread(target=_end_with_parent, daemon=True).start()


def in_workers(call: Callable[[_Task], _Result], tasks: Sequence[_Task], workers: int, what: str) -> Iterator[_Result]:
    """Yields what `call` returns for each task, in their order, under a progress bar over mammograms.

    Args:
        call: Can be pickled where there are several workers.
        tasks: One a mammogram.
        workers: Processes; with one, or one task, this process does the work.
        what: What the bar calls it.

    Raises:
        UnfinishedError: A worker was ended.
    """
    progress = functools.partial(tqdm.tqdm, total=len(tasks), desc=what, unit="mammogram")
    if min(workers, len(tasks)) <= 1:
        yield from progress(map(call, tasks))
        return
    # Spawned, because a fork of a process with threads (progress bars, numeric libraries) may hang.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(min(workers, len(tasks)), context, begin_worker) as pool:
        try:
            yield from progress(pool.map(call, tasks))
        except BrokenProcessPool:
            raise UnfinishedError(
                f"{what}: a worker process was ended, as when memory runs out; try fewer --workers"
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
