"""The local runner: shards written by processes of this machine."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from data_prep.atomic import remove_scratch
from data_prep.conversion.shard_writer import write_shard
from data_prep.conversion.shards import ShardResult, ShardTask
from data_prep.errors import UnfinishedError
from data_prep.worker_process import begin_worker

__all__ = ["write_shards"]


def write_shards(tasks: Sequence[ShardTask], workers: int, on_image: Callable[[], object]) -> list[ShardResult]:
    """Writes all shards, `workers` at a time; the files do not depend on how many.

    Args:
        tasks: The shards.
        workers: Processes; 1 works in this one.
        on_image: Called after each image.

    Returns:
        One result per task, in their order.

    Raises:
        InputError: A bad file under `strict`.
        UnfinishedError: A worker that died.
        OSError: A shard cannot be written.
    """
    if min(workers, len(tasks)) <= 1:
        return [write_shard(task, on_image) for task in tasks]
    context = multiprocessing.get_context("spawn")  # a fork of a process that holds TensorFlow's threads can hang
    processes: dict[Connection, Any] = {}
    results: dict[int, ShardResult] = {}
    try:
        taken = context.Value("i", 0)  # tasks that workers have begun: who is free takes the next
        for _ in range(min(workers, len(tasks))):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(tasks, taken, sender), daemon=True)
            process.start()
            sender.close()  # so that the death of the worker, the only one to hold it now, is seen as an end of file
            processes[receiver] = process
        _collect(processes, results, on_image)
    finally:
        for process in processes.values():
            process.terminate()
            process.join()
    return [results[index] for index in range(len(tasks))]


def _collect(processes: dict[Connection, Any], results: dict[int, ShardResult], on_image: Callable[[], object]) -> None:
    open_ends = list(processes)
    while open_ends:
        for end in wait(open_ends):
            assert isinstance(end, Connection)
            try:
                message = end.recv()
            except EOFError:
                processes[end].join()
                raise UnfinishedError(
                    f"a worker process ended with status {processes[end].exitcode}, perhaps for want of memory: "
                    "try fewer",
                    "--workers",
                ) from None
            if message is None:
                on_image()
            elif isinstance(message, BaseException):
                raise message
            elif isinstance(message, dict):
                results.update(message)
            else:
                open_ends.remove(end)


def _work(tasks: Sequence[ShardTask], taken: "Synchronized[int]", sender: Connection) -> None:
    """Runs in a worker process: sends None per image, {index: result} per shard, True at the end, or an exception."""
    begin_worker()
    signal.signal(signal.SIGTERM, _end)
    try:
        while (index := _take(taken)) < len(tasks):
            sender.send({index: write_shard(tasks[index], lambda: sender.send(None))})
        sender.send(True)
    except BrokenPipeError:
        os._exit(1)  # the parent is gone: nobody waits for the rest
    except Exception as error:
        sender.send(error)


def _end(number: int, _: object) -> None:
    """Ends a worker as its parent asks; its temporary files hold mammograms, and those beside shards the parent sweeps.

    At once: an exception, wherever it was raised, might be told as ignored.
    """
    remove_scratch()
    os._exit(128 + number)


def _take(taken: "Synchronized[int]") -> int:
    with taken.get_lock():
        taken.value += 1
        return taken.value - 1
