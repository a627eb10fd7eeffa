"""Apache Beam as runner: each shard is an element, written where Beam puts it by the code of the local runner.

Only what is asked for travels through Beam: shards and their results are files in the output folder, which every worker
must reach under the same path, as it must the data set. So a Beam run that was killed is finished like a local one,
and Beam leaves no temporary files of its own.
"""

import dataclasses
import difflib
import importlib.util
import logging
from collections.abc import Sequence

from data_prep.conversion.resume import kept_result
from data_prep.conversion.shard_writer import write_shard
from data_prep.conversion.shards import ShardResult, ShardTask
from data_prep.errors import InputError, UnfinishedError

__all__ = ["require_beam", "write_shards"]

# Beam's own DirectRunner hands over to Prism, a Go program that it downloads first; this is the one inside the package.
_OFFLINE = {"directrunner": "FnApiRunner", "direct": "FnApiRunner"}


def require_beam(runner: str) -> None:
    """Checks that Apache Beam is there, without the seconds that its import takes.

    Raises:
        InputError: It is not installed.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise InputError(
            f"{runner} runs on Apache Beam: pip install -r requirements-beam.txt, or use local", "--runner"
        )


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
    import apache_beam as beam

    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    pipeline = beam.Pipeline(runner=_runner(runner), options=_options(options))
    # Beam loses the kind of an exception on its way here; what it rejects comes back in the result.
    lenient = [dataclasses.replace(task, strict=False) for task in tasks]
    shards = pipeline | "Shards" >> beam.Create(lenient)
    shards | "Convert" >> beam.Map(_write)
    try:
        pipeline.run().wait_until_finish()
    except Exception as error:
        raise UnfinishedError(f"Beam's {runner} stopped ({_first_line(error)})", "--runner") from error
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


def _runner(name: str) -> object:
    from apache_beam.options.pipeline_options import StandardOptions
    from apache_beam.runners import create_runner

    try:
        return create_runner(_OFFLINE.get(name.lower(), name))
    except (ValueError, ImportError, AttributeError):
        known = ["local", *StandardOptions.KNOWN_RUNNER_NAMES]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"a runner is one of {', '.join(known)}; found {name!r}{hint}", "--runner") from None


def _options(options: Sequence[str]) -> object:
    from apache_beam.options.pipeline_options import PipelineOptions

    try:
        parsed = PipelineOptions(list(options))
        unknown = parsed.get_all_options(retain_unknown_options=True).keys() - parsed.get_all_options().keys()
    except SystemExit:  # argparse, having told what is wrong
        raise InputError("Beam does not take these options; the line above says why", "--beam_options") from None
    if unknown:
        raise InputError(f"Beam has no option {', '.join(f'--{name}' for name in sorted(unknown))}", "--beam_options")
    return parsed


def _first_line(error: Exception) -> str:
    return next((line.strip()[:200] for line in str(error).splitlines() if line.strip()), type(error).__name__)
