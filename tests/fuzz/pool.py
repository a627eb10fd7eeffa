"""Runs cases in processes of their own: one that crashes or hangs is told by its number and ends nothing else."""

import contextlib
import dataclasses
import functools
import importlib
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm

__all__ = ["MEMORY_LIMIT", "MEMORY_LIMIT_PER_PIXEL", "SECONDS", "Result", "run_cases"]

SECONDS = 60.0  # a case; reading takes milliseconds, an image of the greatest size some seconds

# Resident, of the process and its children, above what they had before the case: for libraries, headers and what packs
# well, and for each pixel that the input claims and may have (two bytes as a record, decoders take up to 12).
MEMORY_LIMIT = 448 << 20
MEMORY_LIMIT_PER_PIXEL = 16

_RESERVE = 6 << 30  # of address space, so that a runaway ends itself and not the machine


@dataclasses.dataclass(frozen=True)
class Result:
    """How a case ended.

    Attributes:
        target: Its target.
        number: Its number.
        ending: Value of `Ending`; "" where it failed.
        failure: Why it failed; "" where it did not.
        seconds: Wall time.
        memory: Growth in bytes.
    """

    target: str
    number: int
    ending: str
    failure: str
    seconds: float
    memory: int


@dataclasses.dataclass
class _Worker:
    process: Any
    connection: multiprocessing.connection.Connection
    case: tuple[str, int] | None = None
    since: float = 0.0


def run_cases(
    cases: Iterable[tuple[str, int]], workers: int, seconds: float = SECONDS, registry: str = "tests.fuzz.targets"
) -> Iterator[Result]:
    """Runs cases, (target, number), and yields their results as they come.

    Args:
        cases: In the order in which they begin.
        workers: Processes.
        seconds: Time limit of a case.
        registry: Module that holds `TARGETS`.
    """
    context = multiprocessing.get_context("spawn")
    waiting = iter(cases)
    idle, busy = [_start(context, registry) for _ in range(workers)], []
    try:
        while True:
            while idle and (case := next(waiting, None)) is not None:
                worker = idle.pop()
                worker.case, worker.since = case, time.monotonic()
                worker.connection.send(case)
                busy.append(worker)
            if not busy:
                return
            multiprocessing.connection.wait([worker.connection for worker in busy], timeout=0.2)
            for worker in list(busy):
                result = _result(worker, seconds)
                if result is not None:
                    busy.remove(worker)
                    idle.append(worker if worker.process.is_alive() else _start(context, registry))
                    yield result
    finally:
        for worker in idle:
            worker.connection.close()  # the process ends by itself, and clears up
            worker.process.join()
        for worker in busy:
            worker.process.kill()
            worker.process.join()


def _start(context: Any, registry: str) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, registry))
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _result(worker: _Worker, seconds: float) -> Result | None:
    assert worker.case is not None
    took = time.monotonic() - worker.since
    if worker.connection.poll():
        with contextlib.suppress(EOFError, ConnectionError):
            return Result(*worker.case, *worker.connection.recv())
        worker.process.join()
        code = worker.process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"status {code}"
        return Result(*worker.case, "", f"the process ended with {how}", took, 0)
    if took > seconds:
        worker.process.kill()
        worker.process.join()
        return Result(*worker.case, "", f"no end within {seconds:.0f} s", took, 0)
    return None


def _serve(parent: multiprocessing.connection.Connection, registry: str) -> None:
    """Runs the cases that the parent sends, until it is gone."""
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    targets = importlib.import_module(registry).TARGETS
    tqdm.__init__ = functools.partialmethod(tqdm.__init__, disable=True)  # what else is printed is wrong
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        root = pathlib.Path(name)
        output = os.open(root / "output", os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1), os.dup2(output, 2)
        while True:
            try:
                target, number = parent.recv()
            except (EOFError, ConnectionError):
                return
            parent.send(_run(targets[target], root / target, number, output))


def _run(target: Any, folder: pathlib.Path, number: int, output: int) -> tuple[str, str, float, int]:
    from data_prep.errors import InputError
    from tests.fuzz.oracle import Ending, Memory, WrongEndingError, check_error

    memory, start = Memory(), time.monotonic()
    ending, failure = "", ""
    try:
        if not folder.exists():
            _prepare(target, folder)
            os.ftruncate(output, 0)
        data = target.input(number)
        memory, start = Memory(), time.monotonic()
        try:
            ending = target.run(folder, number, data).value
        except InputError as error:
            check_error(error)
            ending = Ending.ERROR.value
    except WrongEndingError as error:
        failure = str(error)
    except BaseException:
        failure = "".join(traceback.format_exc(limit=-6))
    took, grown = time.monotonic() - start, memory.growth()
    sys.stdout.flush(), sys.stderr.flush()
    if not failure and grown > MEMORY_LIMIT:
        limit = MEMORY_LIMIT + MEMORY_LIMIT_PER_PIXEL * target.claimed_pixels(data)
        if grown > limit:
            failure = f"took {grown >> 20} MiB, more than {limit >> 20}"
    if printed := os.pread(output, 2000, 0):
        os.ftruncate(output, 0)
        failure = failure or f"a library prints nothing; found {printed!r}"
    return "" if failure else ending, failure, took, grown


def _prepare(target: Any, folder: pathlib.Path) -> None:
    folder.mkdir()
    target.prepare(folder)
    with contextlib.suppress(Exception):  # for its imports; it comes again as case -1
        target.run(folder, -1, target.input(-1))
    status = pathlib.Path("/proc/self/statm").read_text(encoding="ascii")
    used = int(status.split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _RESERVE, resource.getrlimit(resource.RLIMIT_AS)[1]))
