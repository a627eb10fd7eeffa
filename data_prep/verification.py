"""Checks a folder of records against its manifest, byte for byte and number for number."""

import collections
import dataclasses
import math
import pathlib
from collections.abc import Callable

from data_prep.annotation import count_calcifications
from data_prep.conversion.shards import ImageFacts, describe_record, file_sha256
from data_prep.conversion.summary import intensity_moments
from data_prep.errors import InputError
from data_prep.manifest import MANIFEST_NAME, Manifest, ShardInfo, read_manifest, render_manifest
from data_prep.schema import SPLITS, Record, from_example
from data_prep.split import SplitBy
from data_prep.tfrecord import read_tfrecord

__all__ = ["Verification", "verify_records"]

_INTENSITY_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Verification:
    """What came of a check.

    Attributes:
        manifest: What the records were held against.
        problems: One line each; empty where every byte is as it was written.
    """

    manifest: Manifest
    problems: tuple[str, ...]


def verify_records(records_dir: pathlib.Path, on_image: Callable[[], object] = lambda: None) -> Verification:
    """Reads every shard and record again and compares all that the manifest says.

    Args:
        records_dir: Folder of records.
        on_image: Called after each record.

    Raises:
        InputError: No folder, no manifest, or one that cannot be parsed.
    """
    manifest = read_manifest(records_dir, changed=True)
    problems = [*_manifest_problems(manifest), *_file_problems(manifest)]
    facts: dict[str, list[ImageFacts]] = {split: [] for split in SPLITS}
    for shard in manifest.shard_infos:
        if not (manifest.directory / shard.name).is_file():
            continue  # reported by `_file_problems`
        problems.extend(_shard_problems(manifest, shard, facts, on_image))
    problems.extend(_total_problems(manifest, facts))
    return Verification(manifest, tuple(map(_one_line, problems)))


def _one_line(problem: str) -> str:
    """Escapes what a damaged name would do to a terminal."""
    return problem if problem.isprintable() else problem.encode("unicode_escape").decode("ascii")


def _manifest_problems(manifest: Manifest) -> list[str]:
    text = (manifest.directory / MANIFEST_NAME).read_bytes()
    if text != render_manifest(manifest).encode():
        return [f"{MANIFEST_NAME}: differs from what was written; its own checksum does not fit"]
    return []


def _file_problems(manifest: Manifest) -> list[str]:
    expected = {shard.name for shard in manifest.shard_infos}
    present = {path.name for path in manifest.directory.iterdir() if ".tfrecord" in path.name}
    return [
        *(f"{name}: missing" for name in sorted(expected - present)),
        *(f"{name}: not in the manifest" for name in sorted(present - expected)),
    ]


def _shard_problems(
    manifest: Manifest, shard: ShardInfo, facts: dict[str, list[ImageFacts]], on_image: Callable[[], object]
) -> list[str]:
    path = manifest.directory / shard.name
    problems = []
    try:
        if (size := path.stat().st_size) != shard.bytes:
            problems.append(f"{shard.name}: must have {shard.bytes} bytes; found {size}")
        if (digest := file_sha256(path)) != shard.sha256:
            problems.append(f"{shard.name}: must have sha256 {shard.sha256}; found {digest}")
        examples = 0
        for serialized in read_tfrecord(path):
            where = f"{shard.name} record {examples}"
            examples += 1
            try:
                record = from_example(serialized)
            except InputError as error:
                problems.append(f"{where}: {error.rule}")
            else:
                facts[shard.split].append(describe_record(record))
                problems.extend(f"{where}: {problem}" for problem in _record_problems(manifest, shard, record))
            on_image()
        if examples != shard.examples:
            problems.append(f"{shard.name}: must hold {shard.examples} examples; found {examples}")
    except InputError as error:
        problems.append(f"{shard.name}: {error.rule}")
    except OSError as error:
        problems.append(f"{shard.name}: cannot be read ({error.strerror})")
    return problems


def _record_problems(manifest: Manifest, shard: ShardInfo, record: Record) -> list[str]:
    problems = []
    placement = manifest.split.get(record.image_id)
    if placement is None:
        problems.append(f"image {record.image_id} is not in the manifest's split")
    elif (placement.split, placement.patient) != (shard.split, record.patient_id):
        problems.append(
            f"image {record.image_id} must be in {placement.split} with patient {placement.patient!r}; "
            f"found in {shard.split} with {record.patient_id!r}"
        )
    if (count := count_calcifications(record.mask)) != record.calcification_count:
        problems.append(f"calcification/count must be {count}, as its mask shows; found {record.calcification_count}")
    return problems


def _total_problems(manifest: Manifest, facts: dict[str, list[ImageFacts]]) -> list[str]:
    problems: list[str] = []
    times = collections.Counter(fact.image_id for images in facts.values() for fact in images)
    problems.extend(f"image {image}: in {count} records" for image, count in times.items() if count > 1)
    problems.extend(
        f"image {image}: in the manifest's split but in no record" for image in manifest.split.keys() - times
    )
    patients = {split: {fact.patient_id for fact in images} - {""} for split, images in facts.items()}
    if manifest.split_by == SplitBy.PATIENT.value:
        problems.extend(
            f"patient {patient}: in both splits" for patient in sorted(set.intersection(*patients.values()))
        )
    for split, images in facts.items():
        found = {
            "images": len(images),
            "patients": len(patients[split]),
            "calcifications": sum(fact.calcifications for fact in images),
            "pixels": sum(fact.pixels for fact in images),
        }
        for name, value in found.items():
            if (stated := getattr(manifest, name)[split]) != value:
                problems.append(f"{split}: the manifest states {stated} {name}; found {value}")
    if facts["train"]:
        stated_moments = manifest.intensity_mean, manifest.intensity_standard_deviation
        moments = intensity_moments(facts["train"])
        for name, moment, again in zip(("mean", "standard_deviation"), stated_moments, moments, strict=True):
            if not math.isclose(moment, again, rel_tol=0.0, abs_tol=_INTENSITY_TOLERANCE):
                problems.append(f"intensity {name}: the manifest states {moment}; found {again}")
    return problems
