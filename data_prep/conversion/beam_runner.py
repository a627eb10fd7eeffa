"""Apache Beam as runner: each shard is an element, written where Beam puts it by the code of the local runner.

Only what is asked for travels through Beam: shards and their results are files in the output folder, which every worker
must reach under the same path, as it must the data set. So a Beam run that was killed is finished like a local one,
and Beam leaves no temporary files of its own.
"""

import dataclasses
from collections.abc import Sequence

from data_prep.beam import import_beam, run_pipeline
from data_prep.conversion.resume import kept_result
from data_prep.conversion.shard_writer import write_shard
from data_prep.conversion.shards import ShardResult, ShardTask
from data_prep.errors import InputError, UnfinishedError

__all__ = ["write_shards"]


def write_shards(tasks: Sequence[ShardTask], runner: str, options: Sequence[str]) -> list[ShardResult]:
    """Writes shards on a Beam runner: the same files as `data_prep.conversion.pool.write_shards`.

    Args:
        tasks: The shards. Those that are `strict` stop only when all are written.
        runner: Name of a Beam runner; DirectRunner is taken as FnApiRunner, which needs no download.
        options: Its options, such as "--direct_num_workers=2".

    Returns:
        One result per task, in their order.

    Raises:
        InputError: No such runner or option; a bad file under `strict`.
        UnfinishedError: The run failed, or its shards are not in the output folder.
    """
    beam = import_beam()

    # Beam loses the kind of an exception on its way here; what it rejects comes back in the result.
    lenient = [dataclasses.replace(task, strict=False) for task in tasks]
    run_pipeline(
        runner, options, lambda pipeline: pipeline | "Shards" >> beam.Create(lenient) | "Convert" >> beam.Map(_write)
    )
    return [_result(task) for task in tasks]


def _write(task: ShardTask) -> str:
    return write_shard(task).info.name


def _result(task: ShardTask) -> ShardResult:
    result = kept_result(task)
    if result is None:
        raise UnfinishedError(f"{task.path.name} is not here: Beam's workers must share this output folder", "--runner")
    if task.strict and result.rejected:
        bad = result.rejected[0]
        image = next(job.case.image for job in task.jobs if job.case.file == bad.file)
        raise InputError(bad.reason, image)
    return result
