"""A conversion that can be killed at any moment: what is whole is kept, and the same command finishes the rest.

Until the manifest is there the output folder holds, beside the finished shards, a folder `.unfinished`:

* `plan.json`, written before the first shard: what the conversion depends on. Another command, other source files or
  another salt must not add to shards that are there;
* `<shard>.json`, written before a shard takes its final name: what the manifest says of it;
* `lock`, held by the process that converts.

None of it names a patient: ids are those of the records, source files stand in it as one salted digest, and a rejected
file as its number in the shard. `plan.json` goes first when the manifest is written: where it is, something is missing.
"""

import contextlib
import dataclasses
import enum
import fcntl
import hashlib
import hmac
import json
import os
import pathlib
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data_prep.atomic import sweep_partial_files, write_json
from data_prep.conversion.shards import SHARD, ImageFacts, ShardResult, ShardTask, file_sha256
from data_prep.errors import InputError, UnfinishedError
from data_prep.manifest import MANIFEST_NAME, ImageWarning, Rejection, ShardInfo
from data_prep.remote import as_remote, remove_tree

__all__ = [
    "PlanFingerprint",
    "fingerprint_files",
    "finished_result",
    "keep_result",
    "kept_result",
    "require_free",
    "unfinished",
]

_FOLDER = ".unfinished"
_PLAN = "plan.json"
_LOCK = "lock"

_SHOWN_DIFFERENCES, _MOST_CHARACTERS = 8, 60

_INFO, _FACTS, _REJECTED, _WARNINGS = "info", "facts", "rejected", "warnings"


@dataclasses.dataclass(frozen=True)
class PlanFingerprint:
    """What the bytes of a conversion depend on.

    Attributes:
        flags: The settings that decide the result.
        versions: Of what makes the records.
        files: `fingerprint_files`.
    """

    flags: Mapping[str, object]
    versions: Mapping[str, str]
    files: str


def fingerprint_files(
    tasks: Sequence[ShardTask], rejected: Sequence[Rejection], data_dir: pathlib.Path, salt: bytes | None
) -> str:
    """Returns a digest of which images go where under which names, and of their files' sizes and times of change.

    Args:
        tasks: The shards.
        rejected: Files left out before any pixel was read.
        data_dir: Folder of the data set; where it lies does not matter.
        salt: Key of the digest; another salt gives another digest.
    """
    digest = hmac.new(salt or b"", digestmod=hashlib.sha256)
    for task in tasks:
        for job in task.jobs:
            line = [task.path.name, job.image_id, job.patient_id, _described(job.case, data_dir)]
            digest.update(json.dumps(line).encode() + b"\n")
    digest.update(json.dumps([[bad.file, bad.reason] for bad in rejected]).encode())
    return digest.hexdigest()


def require_free(output_dir: pathlib.Path) -> None:
    """Checks that a conversion may begin or go on in a folder.

    Raises:
        InputError: It holds a finished conversion or files of another origin, or is no folder.
    """
    if (output_dir / _FOLDER / _PLAN).is_file():
        return
    if (output_dir / MANIFEST_NAME).exists():
        remove_tree(output_dir / _FOLDER)  # its process was killed after the last byte
        raise InputError("already converted: choose another --output_dir, or delete this one", output_dir)
    if output_dir.exists() and not output_dir.is_dir():
        raise InputError("--output_dir must be a folder", output_dir)
    if output_dir.is_dir() and any(path.name != _FOLDER for path in output_dir.iterdir()):
        raise InputError("--output_dir must be new or empty; found files of another origin", output_dir)


@contextlib.contextmanager
def unfinished(output_dir: pathlib.Path, plan: PlanFingerprint) -> Iterator[None]:
    """Holds the output folder while a conversion writes it; shards of the same plan that are there stay.

    An error of the data clears what was written, for the same command could not finish it; whatever else ends the
    conversion leaves what is whole.

    Raises:
        InputError: The folder is taken, by another process or by a conversion of another plan.
        UnfinishedError: The disk is full, a worker died, or Ctrl-C: the message says how to go on.
    """
    require_free(output_dir)
    made = not output_dir.exists()
    with _locked(output_dir):
        require_free(output_dir)
        _require_same_plan(output_dir, plan)
        _sweep(output_dir)
        try:
            write_json(output_dir / _FOLDER / _PLAN, dataclasses.asdict(plan))
            yield
        except (UnfinishedError, OSError, MemoryError, KeyboardInterrupt) as error:
            with contextlib.suppress(OSError):  # of the disk that made the error
                _sweep(output_dir)  # after the workers that were ended in the middle of a shard
            raise UnfinishedError(_how_to_go_on(error), output_dir) from error
        except InputError:
            _clear(output_dir, made)
            raise
        (output_dir / _FOLDER / _PLAN).unlink()
        _sweep(output_dir)
        remove_tree(output_dir / _FOLDER)


def keep_result(task: ShardTask, result: ShardResult) -> None:
    """Writes what the manifest says of a shard beside it; names of rejected files stay out."""
    index = {job.case.file: number for number, job in enumerate(task.jobs)}
    document = {
        _INFO: dataclasses.asdict(result.info),
        _FACTS: [dataclasses.asdict(fact) for fact in result.facts],
        _REJECTED: [[index[bad.file], bad.reason] for bad in result.rejected],
        _WARNINGS: [dataclasses.asdict(warning) for warning in result.warnings],
    }
    write_json(_result_path(task), document)


def kept_result(task: ShardTask) -> ShardResult | None:
    """Returns the result of a shard that is there, by its size; None where it is absent or cut."""
    try:
        document = json.loads(_result_path(task).read_text(encoding="utf-8"))
        result = ShardResult(
            ShardInfo(**document[_INFO]),
            tuple(ImageFacts(**fact) for fact in document[_FACTS]),
            tuple(Rejection(task.jobs[number].case.file, reason) for number, reason in document[_REJECTED]),
            tuple(ImageWarning(**warning) for warning in document[_WARNINGS]),
        )
        return result if task.path.stat().st_size == result.info.bytes else None
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None  # absent, or damaged by somebody else: it is written again


def finished_result(task: ShardTask) -> ShardResult | None:
    """Returns the result of a shard that is there whole, every byte of it; None where it must be written."""
    result = kept_result(task)
    return result if result is not None and file_sha256(task.path) == result.info.sha256 else None


def _result_path(task: ShardTask) -> pathlib.Path:
    return task.path.parent / _FOLDER / f"{task.path.name}.json"


def _described(value: Any, root: pathlib.Path) -> Any:
    """Returns a case as JSON, the same in every process: each file by its place, size and time of change."""
    if isinstance(value, pathlib.Path):
        stat = value.stat()
        return [os.path.relpath(value, root), stat.st_size, stat.st_mtime_ns]
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return [type(value).__name__, *(_described(getattr(value, field.name), root) for field in fields)]
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Mapping):
        return sorted([repr(key), _described(item, root)] for key, item in value.items())
    if isinstance(value, list | tuple):
        return [_described(item, root) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(_described(item, root)) for item in value)
    return repr(value)


@contextlib.contextmanager
def _locked(output_dir: pathlib.Path) -> Iterator[None]:
    """Makes the work folder and holds its lock; the system frees it whatever ends the process.

    A remote folder has no lock.
    """
    path = output_dir / _FOLDER / _LOCK
    if as_remote(output_dir) is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
        return
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock = path.open("w")
        except FileNotFoundError:
            continue  # another conversion ended and took the folder with it
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError("another conversion is writing into this folder: wait for it", output_dir) from None
            except OSError:
                pass  # a file system without locks: two conversions at once are the user's to avoid
            if path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                yield
                return


def _require_same_plan(output_dir: pathlib.Path, plan: PlanFingerprint) -> None:
    path = output_dir / _FOLDER / _PLAN
    if not path.is_file():
        return
    try:
        found = PlanFingerprint(**json.loads(path.read_text(encoding="utf-8")))
        differences = [*_differences("--", found.flags, plan.flags), *_differences("", found.versions, plan.versions)]
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise InputError("holds the damaged rest of an unfinished conversion: delete this folder", output_dir) from None
    if found.files != plan.files:
        differences.append("the source files or the salt have changed since")
    if differences:
        raise InputError(
            f"holds an unfinished conversion of another plan ({'; '.join(differences[:_SHOWN_DIFFERENCES])}): "
            "repeat it as it was to finish it, or delete this folder",
            output_dir,
        )


def _differences(prefix: str, found: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    return [
        f"{prefix}{_told(name)} was {_told(found.get(name))}, now {_told(now.get(name))}"
        for name in sorted({*found, *now})
        if found.get(name) != json.loads(json.dumps(now.get(name)))
    ]


def _told(value: object) -> str:
    """Returns a value on one line of bounded length: what is not the plan of now may be damaged."""
    text = str(value)
    return text if text.isprintable() and len(text) <= _MOST_CHARACTERS else reprlib.repr(value)


def _how_to_go_on(error: BaseException) -> str:
    if isinstance(error, OSError):
        cause = error.strerror or str(error)  # without the name of the part of a file
    else:
        told = {KeyboardInterrupt: "interrupted", MemoryError: "memory ran out"}
        cause = next((text for kind, text in told.items() if isinstance(error, kind)), str(error))
    return f"{cause}. Every shard that is whole stays: the same command goes on from there"


def _sweep(output_dir: pathlib.Path) -> None:
    """Removes parts of files that a killed process, or a second attempt at a shard, left."""
    for folder in (output_dir, output_dir / _FOLDER):
        sweep_partial_files(folder)


def _clear(output_dir: pathlib.Path, made: bool) -> None:
    _sweep(output_dir)
    for path in output_dir.iterdir():
        if SHARD.fullmatch(path.name):
            path.unlink()
    (output_dir / _FOLDER / _PLAN).unlink(missing_ok=True)
    remove_tree(output_dir / _FOLDER)
    if made and not any(output_dir.iterdir()):
        output_dir.rmdir()
