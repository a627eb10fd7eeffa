"""Writes one shard: the unit of work of every runner, so that each gives the same bytes."""

import os
from collections.abc import Callable

from data_prep.atomic import temporary_beside
from data_prep.conversion.resume import keep_result
from data_prep.conversion.shards import (
    ImageFacts,
    Job,
    ShardResult,
    ShardTask,
    describe_record,
    file_sha256,
    make_record,
    rejection,
)
from data_prep.errors import InputError, UnfinishedError
from data_prep.manifest import ImageWarning, Rejection, ShardInfo
from data_prep.schema import to_example
from data_prep.tfrecord import write_tfrecord

__all__ = ["write_shard"]


def write_shard(task: ShardTask, on_image: Callable[[], object] = lambda: None) -> ShardResult:
    """Converts the images of a shard and gives it its final name; its result is kept beside it before that.

    May run twice at the same time for one task: either run leaves the same files.

    Args:
        task: The shard.
        on_image: Called after each image.

    Raises:
        InputError: A bad file under `strict`.
        UnfinishedError: A file is gone.
        OSError: The shard cannot be written.
    """
    facts: list[ImageFacts] = []
    rejected: list[Rejection] = []
    warnings: list[ImageWarning] = []

    def convert(job: Job) -> bytes | None:
        # A function of its own: its pixels are gone before those of the next image come.
        try:
            record, found = make_record(job)
        except InputError as error:
            if not os.access(job.case.image, os.R_OK):  # the plan has read its header: a disk went, not a file
                raise UnfinishedError("was there when the conversion began; now it is not", job.case.image) from None
            if task.strict:
                raise
            rejected.append(rejection(job.case, error))
            return None
        finally:
            on_image()
        facts.append(describe_record(record))
        warnings.extend(found)
        return to_example(record)

    with temporary_beside(task.path) as temporary:
        write_tfrecord(temporary, filter(None, map(convert, task.jobs)))
        info = ShardInfo(
            name=task.path.name,
            split=task.split,
            sha256=file_sha256(temporary),
            examples=len(facts),
            bytes=temporary.stat().st_size,
        )
        result = ShardResult(info, tuple(facts), tuple(rejected), tuple(warnings))
        # Before the final name: a shard that has it without a result would have to be read again.
        keep_result(task, result)
    return result
