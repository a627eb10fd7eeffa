"""Targets of what `convert` wrote: shards of records, the manifest, and the state of an unfinished conversion."""

import dataclasses
import json
import pathlib
import random
import shutil
import struct
import tempfile
from collections.abc import Iterable, Sequence

from data_prep.conversion.resume import PlanFingerprint, kept_result, unfinished
from data_prep.conversion.shards import ShardTask, shard_name
from data_prep.description.describing import describe_records
from data_prep.description.report import calcifications_csv, description_csv, findings, images_csv, report_lines
from data_prep.errors import InputError
from data_prep.manifest import MANIFEST_NAME, read_manifest
from data_prep.schema import to_example
from data_prep.verification import verify_records
from tests.fakes.folder import fake_mask, fake_pixels
from tests.fakes.records import fake_record, write_fake_records
from tests.fuzz.binary_edits import edit_shard, frame
from tests.fuzz.oracle import Ending, WrongEndingError, check_error, check_line
from tests.fuzz.target import Target
from tests.fuzz.text_edits import edit_json

__all__ = ["RECORD_TARGETS"]

_LONGEST_PROBLEM = 100_000  # it may name an image, by an id as long as the file makes it
_SHARD = shard_name("train", 0, 1)


def _write_records(folder: pathlib.Path) -> None:
    records = [
        fake_record(fake_pixels(number), fake_mask(number) // 255, name=f"image-{number}", patient=f"patient-{number}")
        for number in range(3)
    ]
    folder.mkdir(exist_ok=True)
    write_fake_records(folder, {"train": records[:2], "test": records[2:]})


def _read_shard(folder: pathlib.Path, data: bytes, _: random.Random) -> Ending:
    (folder / _SHARD).write_bytes(data)
    return _read_records(folder)


def _read_manifest(folder: pathlib.Path, data: bytes, _: random.Random) -> Ending:
    (folder / MANIFEST_NAME).write_bytes(data)
    return _read_records(folder)


def _read_records(folder: pathlib.Path) -> Ending:
    """Does what `verify` and `describe` do; a damaged byte must not pass."""
    verification = verify_records(folder)
    for problem in verification.problems:
        check_line(problem, _LONGEST_PROBLEM)
    for split in ("train", "test"):
        read_manifest(folder).shards(split)
    try:
        description = describe_records(folder)
        found = findings(description)
        for text in (description_csv(description, found), images_csv(description), calcifications_csv(description)):
            text.encode()
        for line in report_lines(description, found):
            if line and not line.isprintable():
                raise WrongEndingError(f"a line of the report is printable; found {line!r}")
    except InputError as error:
        check_error(error)
        if not verification.problems:
            raise WrongEndingError(f"verify finds nothing, describe refuses: {error}") from None
    return Ending.REJECTION if verification.problems else Ending.RECORD


def _file_seed(name: str) -> Iterable[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        _write_records(pathlib.Path(folder))
        yield pathlib.Path(folder, name).read_bytes()


def _odd_shards() -> Iterable[bytes]:
    payload = to_example(fake_record())
    for length in (1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 17, (1 << 64) - 1):
        yield frame(payload, length)
    yield b""
    yield frame(b"") * 1000
    # A field of 2 GB by its length, in 10 bytes.
    yield frame(b"\x0a" + b"\xff\xff\xff\xff\x07" + b"x")
    yield frame(b"\x0b" * 100_000)
    # An image of 60,000 x 60,000 in the record.
    yield frame(payload.replace(struct.pack(">II", 20, 24), struct.pack(">II", 60_000, 60_000)))


def _odd_manifests() -> Iterable[bytes]:
    (whole,) = _file_seed(MANIFEST_NAME)
    yield from (
        b"",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 5000,
        b"\xff\xfe{}",
        b"{}",
        b"[]",
        b'"' + b"x" * 10**7 + b'"',
    )
    for old, new in (
        (b'"mean": 0.', b'"mean": 1e999, "x": 0.'),
        (b'"images": 2', b'"images": Infinity'),
        (b'"images": 2', b'"images": 1e999'),
        (b'"flags": {}', b'"flags": {"seed": NaN}'),
        (b'"flags": {}', b'"flags": {"a": ' + b"[" * 900 + b"]" * 900 + b"}"),
        (b'"data_set": "fake"', b'"data_set": "a\\u0000\\ud800b"'),
    ):
        yield whole.replace(old, new, 1)


def _without_checksum(rng: random.Random, data: bytes) -> bytes:
    """Edits a manifest without its checksum, which keeps changes from whatever reads the rest."""
    document = json.loads(data)
    del document["sha256_of_the_rest"]
    return edit_json(rng, json.dumps(document, indent=2).encode())


def _manifest_number(rng: random.Random, data: bytes) -> bytes:
    """Puts an odd number in the place of another."""
    document = json.loads(data)
    del document["sha256_of_the_rest"]
    part = rng.choice((document["counts"]["train"], document["intensity"], document["shards"][0]))
    part[rng.choice(sorted(part))] = rng.choice(
        (-1, 0, 10**400, 1e999, float("nan"), 2.5, "1", "9" * 5000, None, [], {})
    )
    return json.dumps(document, indent=2).encode()


_PLAN = PlanFingerprint({"seed": 0, "strict": False, "dataset": "folder"}, {"python": "3.11.7"}, "0" * 64)
_TASK = ShardTask(pathlib.Path(_SHARD), "train", ())


def _go_on(folder: pathlib.Path, data: bytes, _: random.Random) -> Ending:
    """Goes on with an unfinished conversion whose plan and results are damaged; what passes is this very plan."""
    records = folder / "records"
    shutil.rmtree(records, ignore_errors=True)
    (records / ".unfinished").mkdir(parents=True)
    (records / _SHARD).touch()
    for name in ("plan.json", f"{_SHARD}.json"):
        (records / ".unfinished" / name).write_bytes(data)
    kept_result(dataclasses.replace(_TASK, path=records / _SHARD))
    with unfinished(records, _PLAN):
        pass
    return Ending.RECORD


_JSON_TOKENS = (
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"NaN", b"Infinity", b"null", b"true", b"\\u0000", b"\\ud800",
    b"9" * 400, b"train",
)  # fmt: skip

RECORD_TARGETS: Sequence[Target] = (
    Target(
        name="tfrecord",
        make_seeds=lambda: [*_file_seed(_SHARD)],
        prepare=_write_records,
        attempt=_read_shard,
        edits=(edit_shard,),
        make_odd=lambda: [*_odd_shards()],
    ),
    Target(
        name="manifest",
        make_seeds=lambda: [*_file_seed(MANIFEST_NAME)],
        prepare=_write_records,
        attempt=_read_manifest,
        edits=(edit_json, _without_checksum, _manifest_number),
        tokens=_JSON_TOKENS,
        make_odd=lambda: [*_odd_manifests()],
    ),
    Target(
        name="unfinished",
        make_seeds=lambda: [(json.dumps(dataclasses.asdict(_PLAN), indent=2) + "\n").encode()],
        prepare=lambda folder: None,
        attempt=_go_on,
        edits=(edit_json,),
        tokens=_JSON_TOKENS,
        make_odd=lambda: [b"", b"[" * 99_999, b"null", b"{}", b"9" * 9999, b"\xff"],
    ),
)
