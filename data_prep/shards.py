"""Shards: TFRecord files that are whole or absent, written one process per shard at a time."""

import dataclasses
import hashlib
import multiprocessing
import os
import pathlib
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from data_prep.annotation import count_calcifications
from data_prep.atomic import temporary_beside
from data_prep.datasets.case import Case
from data_prep.errors import InputError
from data_prep.mammogram import SpacingSource, read_mammogram
from data_prep.manifest import Rejection, ShardInfo
from data_prep.schema import Record, to_example

__all__ = [
    "SHARD_PATTERN",
    "ImageFacts",
    "Job",
    "ShardResult",
    "ShardTask",
    "describe_record",
    "file_sha256",
    "make_record",
    "read_shard",
    "rejection",
    "shard_name",
    "write_records",
    "write_shards",
]

# Finished shards, and what an interrupted run leaves of one.
SHARD_PATTERN = re.compile(r"(?:train|test)-\d{5}-of-\d{5}\.tfrecord|\.(?:train|test)-.*\.tfrecord\.\d+\.partial")


@dataclasses.dataclass(frozen=True)
class Job:
    """One image to convert, with the names that it leaves under."""

    case: Case
    image_id: str
    patient_id: str


@dataclasses.dataclass(frozen=True)
class ShardTask:
    """One shard to write.

    Attributes:
        path: Its final name.
        split: "train" or "test".
        jobs: Its images in order.
        strict: Stop at the first bad file instead of leaving it out.
    """

    path: pathlib.Path
    split: str
    jobs: tuple[Job, ...]
    strict: bool = False


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """What the manifest sums up over images.

    Attributes:
        image_id: `image/id`.
        patient_id: `patient/id`.
        pixels: Height times width.
        calcifications: 8-connected components of the calcification pixels.
        intensity_sum: Sum of intensities in [0, 1] over all pixels.
        intensity_sum_of_squares: Sum of their squares.
    """

    image_id: str
    patient_id: str
    pixels: int
    calcifications: int
    intensity_sum: float
    intensity_sum_of_squares: float


@dataclasses.dataclass(frozen=True)
class ShardResult:
    """A shard as written."""

    info: ShardInfo
    facts: tuple[ImageFacts, ...]
    rejected: tuple[Rejection, ...]


def shard_name(split: str, index: int, count: int) -> str:
    """Returns a shard's file name, such as "train-00000-of-00002.tfrecord"."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def write_records(path: pathlib.Path, examples: Iterator[bytes] | Sequence[bytes]) -> None:
    """Writes serialised records as a TFRecord file in one step: nothing appears under `path` until it is whole."""
    import tensorflow as tf

    with temporary_beside(path) as temporary, tf.io.TFRecordWriter(str(temporary)) as writer:
        for example in examples:
            writer.write(example)


def read_shard(path: pathlib.Path) -> Iterator[bytes]:
    """Yields the serialised records of a shard.

    Raises:
        InputError: The file is truncated, or a record's checksum does not fit.
    """
    import tensorflow as tf

    records = iter(tf.data.TFRecordDataset(str(path)))
    while True:
        try:
            yield next(records).numpy()
        except StopIteration:
            return
        except tf.errors.OpError as error:
            raise InputError(f"not a whole TFRecord file ({type(error).__name__})", path) from None


def file_sha256(path: pathlib.Path) -> str:
    """Returns the hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_record(job: Job) -> Record:
    """Reads one image with its annotation.

    Raises:
        InputError: The image or its annotation cannot be used; `where` is the file.
    """
    case, overrides = job.case, job.case.overrides
    mammogram = read_mammogram(case.image)
    mask = case.annotation.mask((mammogram.pixels.shape[0], mammogram.pixels.shape[1]))
    spacing, source = mammogram.pixel_spacing_mm, mammogram.spacing_source
    if overrides.pixel_spacing_mm is not None:
        spacing, source = overrides.pixel_spacing_mm, SpacingSource.CASES_CSV
    return Record(
        pixels=mammogram.pixels,
        bits_stored=mammogram.bits_stored,
        mask=mask,
        image_id=job.image_id,
        patient_id=job.patient_id,
        laterality=(overrides.laterality or mammogram.laterality).value,
        view=(overrides.view or mammogram.view).value,
        pixel_spacing_mm=spacing,
        pixel_spacing_source=source.value,
        calcification_count=count_calcifications(mask),
        source_sha256=mammogram.source_sha256,
    )


def describe_record(record: Record) -> ImageFacts:
    """Sums a record up; the sums are exact integers of stored values until the last division."""
    full_scale = (1 << record.bits_stored) - 1
    counts = np.bincount(record.pixels.ravel(), minlength=1).astype(np.uint64)
    values = np.arange(counts.size, dtype=np.uint64)
    return ImageFacts(
        image_id=record.image_id,
        patient_id=record.patient_id,
        pixels=int(record.pixels.size),
        calcifications=record.calcification_count,
        intensity_sum=int((counts * values).sum()) / full_scale,
        intensity_sum_of_squares=int((counts * values**2).sum()) / full_scale**2,
    )


def rejection(case: Case, error: InputError) -> Rejection:
    """Returns why a case is left out; tells its mask's file by "<stem>", for the reason must not repeat a name."""
    if not error.where or pathlib.Path(error.where) == case.image:
        return Rejection(case.file, error.rule)
    other, stem = pathlib.Path(error.where).name, case.key.rpartition("/")[2]
    role = f"<stem>{other.removeprefix(stem)}" if other.startswith(stem) else "its annotation"
    return Rejection(case.file, f"{role}: {error.rule}")


def write_shards(tasks: Sequence[ShardTask], workers: int, on_image: Callable[[], object]) -> list[ShardResult]:
    """Writes all shards, `workers` at a time; the files do not depend on how many.

    Args:
        tasks: The shards.
        workers: Processes; 1 works in this one.
        on_image: Called after each image.

    Returns:
        One result per task, in their order.

    Raises:
        InputError: A bad file under `strict`, or a worker that died.
    """
    if min(workers, len(tasks)) <= 1:
        return [_write_shard(task, on_image) for task in tasks]
    context = multiprocessing.get_context("spawn")  # a fork of a process that holds TensorFlow's threads can hang
    processes: dict[Connection, Any] = {}
    results: dict[int, ShardResult] = {}
    try:
        for worker in range(min(workers, len(tasks))):
            receiver, sender = context.Pipe(duplex=False)
            share = list(enumerate(tasks))[worker::workers]
            process = context.Process(target=_work, args=(share, sender), daemon=True)
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
                raise InputError(
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


def _work(share: list[tuple[int, ShardTask]], sender: Connection) -> None:
    """Runs in a worker process: sends None per image, {index: result} per shard, True at the end, or an exception."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers itself
    try:
        for index, task in share:
            sender.send({index: _write_shard(task, lambda: sender.send(None))})
        sender.send(True)
    except BrokenPipeError:
        os._exit(1)  # the parent is gone: nobody waits for the rest
    except Exception as error:
        sender.send(error)


def _write_shard(task: ShardTask, on_image: Callable[[], object]) -> ShardResult:
    facts: list[ImageFacts] = []
    rejected: list[Rejection] = []

    def examples() -> Iterator[bytes]:
        for job in task.jobs:
            try:
                record = make_record(job)
            except InputError as error:
                if task.strict:
                    raise
                rejected.append(rejection(job.case, error))
            else:
                facts.append(describe_record(record))
                yield to_example(record)
            on_image()

    write_records(task.path, examples())
    info = ShardInfo(
        name=task.path.name,
        split=task.split,
        sha256=file_sha256(task.path),
        examples=len(facts),
        bytes=task.path.stat().st_size,
    )
    return ShardResult(info, tuple(facts), tuple(rejected))
