"""Writes one shard: the unit of work of every runner, so that each gives the same bytes."""

from collections.abc import Callable, Iterator

from data_prep.atomic import temporary_beside
from data_prep.errors import InputError
from data_prep.manifest import ImageWarning, Rejection, ShardInfo
from data_prep.resume import keep_result
from data_prep.schema import to_example
from data_prep.shards import (
    ImageFacts,
    ShardResult,
    ShardTask,
    describe_record,
    file_sha256,
    make_record,
    rejection,
)
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
        OSError: The shard cannot be written.
    """
    facts: list[ImageFacts] = []
    rejected: list[Rejection] = []
    warnings: list[ImageWarning] = []

    def examples() -> Iterator[bytes]:
        for job in task.jobs:
            try:
                record, found = make_record(job)
            except InputError as error:
                if task.strict:
                    raise
                rejected.append(rejection(job.case, error))
            else:
                facts.append(describe_record(record))
                warnings.extend(found)
                yield to_example(record)
            on_image()

    with temporary_beside(task.path) as temporary:
        write_tfrecord(temporary, examples())
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
