"""A conversion: list the files, look at their headers, split by patient, write shards, then the manifest.

Patient ID and Study Instance UID are read for the split and go no further: records and manifest hold salted hashes,
also where a rejected file's name repeats an identifier that some header of the data set holds.
"""

import contextlib
import dataclasses
import importlib.metadata
import math
import pathlib
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence

from tqdm import tqdm

from data_prep.atomic import write_text
from data_prep.command import DISCLAIMER
from data_prep.datasets import Case, DataSet
from data_prep.errors import InputError
from data_prep.identity import Identity, read_or_make_salt
from data_prep.mammogram import header_text, read_header, read_identifiers
from data_prep.manifest import MANIFEST_NAME, Manifest, Placement, Rejection, ShardInfo, render_manifest
from data_prep.png import grey_png_size
from data_prep.schema import SPLITS
from data_prep.shards import (
    SHARD_PATTERN,
    ImageFacts,
    Job,
    ShardResult,
    ShardTask,
    rejection,
    shard_name,
    write_shards,
)
from data_prep.split import SplitBy, assign_splits, group_patients, patient_key, rank

__all__ = ["Conversion", "ConvertConfig", "Plan", "make_plan", "summarise", "write_plan"]

# In the output folder until the manifest is there: what lies beside it came of a conversion that may be redone.
_UNFINISHED = ".unfinished"

_PATIENT, _STUDY = "patient:", "study:"  # in this order: the least name of a group is then a patient's


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """The settings of a conversion; named as the flags of `data_prep.convert`, which say what they mean."""

    data_set: DataSet
    data_dir: pathlib.Path
    output_dir: pathlib.Path
    split_by: SplitBy = SplitBy.PATIENT
    train_fraction: float = 0.75
    seed: int = 0
    examples_per_shard: int = 32
    workers: int = 1
    strict: bool = False
    public_ids: bool = False
    salt_file: pathlib.Path | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.train_fraction < 1.0:
            raise InputError(f"must be greater than 0 and less than 1; found {self.train_fraction}", "--train_fraction")
        for name in ("examples_per_shard", "workers"):
            if getattr(self, name) < 1:
                raise InputError(f"must be at least 1; found {getattr(self, name)}", f"--{name}")
        if self.public_ids and self.salt_file is not None:
            raise InputError("public ids are not salted: give --salt_file or --public_ids, not both", "--public_ids")
        if self.output_dir.resolve() in self.salt_path.resolve().parents:
            raise InputError("the salt must lie outside the folder of records, which may be shared", "--salt_file")

    @property
    def salt_path(self) -> pathlib.Path:
        """Where the salt is kept: beside the records unless told otherwise."""
        output = self.output_dir.resolve()
        return self.salt_file or output.with_name(output.name + ".salt")

    def recorded(self) -> dict[str, object]:
        """Returns the flags that decide the result, for the manifest."""
        return {
            "dataset": self.data_set.name,
            **self.data_set.recorded(),
            "split_by": self.split_by.value,
            "train_fraction": self.train_fraction,
            "seed": self.seed,
            "examples_per_shard": self.examples_per_shard,
            "strict": self.strict,
            "public_ids": self.public_ids,
        }


@dataclasses.dataclass(frozen=True)
class Plan:
    """A conversion before any pixel is read.

    Attributes:
        config: Its settings.
        sides: Split -> its cases in the order of the records.
        patients: Key of a case -> name of its patient, the same for all of a patient's images; "" where unknown.
        rejected: Files left out so far, under their own names.
        listed: Every case of the data set, also those rejected since.
    """

    config: ConvertConfig
    sides: Mapping[str, tuple[Case, ...]]
    patients: Mapping[str, str]
    rejected: tuple[Rejection, ...]
    listed: tuple[Case, ...]


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A finished conversion.

    Attributes:
        manifest: As written.
        rejected: As in the manifest, but under the files' own names.
    """

    manifest: Manifest
    rejected: tuple[Rejection, ...]


def make_plan(config: ConvertConfig) -> Plan:
    """Lists the data set, checks what can be checked without pixels, and splits it.

    Raises:
        InputError: No such data set or folder, nothing usable in it, nothing to split, an output folder that is taken;
            under `strict` any bad file.
    """
    _require_free(config.output_dir)
    listing = config.data_set.list_cases(config.data_dir)
    cases: list[Case] = []
    names: dict[str, list[str]] = {}
    rejected = list(listing.rejected)
    if config.strict and rejected:
        raise InputError(rejected[0].reason, config.data_dir / rejected[0].file)
    for case in tqdm(listing.cases, desc="headers", unit="file", delay=2.0):
        try:
            names[case.key] = _examine(case, config.split_by)
            cases.append(case)
        except InputError as error:
            if config.strict:
                raise
            rejected.append(rejection(case, error))
    if not cases:
        raise InputError(_nothing_usable(rejected), config.data_dir)
    groups = group_patients({key: found for key, found in names.items() if found})
    patients = {case.key: groups.get(case.key, "").removeprefix(_PATIENT) for case in cases}
    return Plan(
        config=config,
        sides=_split(cases, patients, config),
        patients=patients,
        rejected=tuple(sorted(rejected)),
        listed=listing.cases,
    )


def write_plan(plan: Plan) -> Conversion:
    """Writes shards and manifest; on any error nothing stays under a final name.

    Raises:
        InputError: The pixels of a whole split are bad, under `strict` those of one file, or a worker died.
    """
    config = plan.config
    identity = Identity(None if config.public_ids else read_or_make_salt(config.salt_path))
    with _unfinished(config.output_dir):
        tasks = _tasks(plan, identity)
        with tqdm(total=sum(len(task.jobs) for task in tasks), desc="convert", unit="mammogram") as progress:
            results = write_shards(tasks, config.workers, lambda: progress.update(1))
        rejected = tuple(sorted([*plan.rejected, *(bad for result in results for bad in result.rejected)]))
        identifiers = _identifiers(plan, rejected)
        told = tuple(Rejection(identity.redact(bad.file, identifiers), bad.reason) for bad in rejected)
        manifest = summarise(
            config.output_dir,
            results,
            data_set=config.data_set.name,
            flags=config.recorded(),
            split_by=config.split_by,
            rejected=told,
        )
        write_text(config.output_dir / MANIFEST_NAME, render_manifest(manifest))
    return Conversion(manifest, rejected)


def summarise(
    directory: pathlib.Path,
    results: Sequence[ShardResult],
    *,
    data_set: str,
    flags: Mapping[str, object],
    split_by: SplitBy,
    rejected: tuple[Rejection, ...] = (),
) -> Manifest:
    """Returns the manifest of shards as written; independent of the order in which images are summed.

    Raises:
        InputError: A split without a record, or train pixels that all have one value.
    """
    facts: dict[str, list[ImageFacts]] = {split: [] for split in SPLITS}
    for result in results:
        facts[result.info.split].extend(result.facts)
    for split, images in facts.items():
        if not images:
            raise InputError(f"the {split} split is empty: {_nothing_usable(rejected)}", directory)
    mean, deviation = intensity_moments(facts["train"])
    if deviation == 0.0:
        raise InputError("the train split has one intensity alone: nothing to learn from or to normalise", directory)
    return Manifest(
        directory=directory.absolute(),
        data_set=data_set,
        flags=flags,
        split_by=split_by.value,
        split_rule=split_by.rule,
        split={fact.image_id: Placement(split, fact.patient_id) for split in SPLITS for fact in facts[split]},
        images={split: len(images) for split, images in facts.items()},
        patients={split: len({fact.patient_id for fact in images} - {""}) for split, images in facts.items()},
        calcifications={split: sum(fact.calcifications for fact in images) for split, images in facts.items()},
        pixels={split: sum(fact.pixels for fact in images) for split, images in facts.items()},
        shard_infos=_in_order([result.info for result in results]),
        intensity_mean=mean,
        intensity_standard_deviation=deviation,
        rejected=rejected,
        versions=_versions(),
        disclaimer=DISCLAIMER,
    )


def intensity_moments(facts: Sequence[ImageFacts]) -> tuple[float, float]:
    """Returns mean and population standard deviation over all pixels of all images, intensity in [0, 1]."""
    pixels = sum(fact.pixels for fact in facts)
    mean = math.fsum(fact.intensity_sum for fact in facts) / pixels
    square = math.fsum(fact.intensity_sum_of_squares for fact in facts) / pixels
    # Below this the difference is rounding alone: every pixel has one value.
    variance = square - mean**2
    return mean, math.sqrt(variance) if variance > 1e-14 else 0.0


def _examine(case: Case, split_by: SplitBy) -> list[str]:
    """Checks a case without its pixels and returns every name that its patient goes by."""
    names = []
    if case.image.suffix.lower() == ".png":
        size = grey_png_size(case.image, bits=16)
        unknown = "a PNG names no patient"
    else:
        header = read_header(case.image)
        size = int(header.Rows), int(header.Columns)
        unknown = "PatientID (0010,0020) is empty"
        if key := patient_key(header_text(header, "PatientID")):
            names.append(_PATIENT + key)
        if names and (study := header_text(header, "StudyInstanceUID")):
            names.append(_STUDY + study)
    if case.overrides.patient is not None:
        names = [_PATIENT + patient_key(case.overrides.patient)]
    if not names and split_by is SplitBy.PATIENT:
        raise InputError(f"{unknown}: name the patient in cases.csv (columns file,patient) or use --split_by=image")
    case.annotation.check(size)
    return names


def _identifiers(plan: Plan, rejected: Sequence[Rejection]) -> frozenset[str]:
    """Collects what must not leave with the names of rejected files; nothing to do where there are none."""
    if not rejected or plan.config.public_ids:
        return frozenset()
    found: set[str] = set()
    for path in {*(case.image for case in plan.listed), *(plan.config.data_dir / bad.file for bad in rejected)}:
        found |= read_identifiers(path)
    found |= {case.overrides.patient for case in plan.listed if case.overrides.patient is not None}
    return frozenset(found | {patient_key(name) for name in found})


def _split(cases: Sequence[Case], patients: Mapping[str, str], config: ConvertConfig) -> dict[str, tuple[Case, ...]]:
    unit = {case.key: patients[case.key] if config.split_by is SplitBy.PATIENT else case.key for case in cases}
    if len(set(unit.values())) < 2:
        hint = (
            "use --split_by=image, or name the patients in cases.csv where Patient ID does not tell them apart"
            if config.split_by is SplitBy.PATIENT and len(cases) > 1
            else "add images"
        )
        raise InputError(
            f"--split_by={config.split_by.value} needs at least 2 {config.split_by.value}s, one for each side; found 1 "
            f"({len(cases)} image{'s' if len(cases) > 1 else ''}): {hint}",
            config.data_dir,
        )
    side = assign_splits(unit.values(), config.train_fraction, config.seed)
    # In the order of the seed, so that a shard mixes patients.
    ordered = sorted(cases, key=lambda case: rank(case.key, config.seed))
    return {split: tuple(case for case in ordered if side[unit[case.key]] == split) for split in SPLITS}


def _tasks(plan: Plan, identity: Identity) -> list[ShardTask]:
    tasks = []
    for split, cases in plan.sides.items():
        jobs = [Job(case, identity.image(case.key), identity.patient(plan.patients[case.key])) for case in cases]
        count = -(-len(jobs) // plan.config.examples_per_shard)
        for index in range(count):
            path = plan.config.output_dir / shard_name(split, index, count)
            tasks.append(ShardTask(path, split, tuple(jobs[index::count]), plan.config.strict))
    return tasks


def _require_free(output_dir: pathlib.Path) -> None:
    if (output_dir / MANIFEST_NAME).exists():
        raise InputError("already converted: choose another --output_dir, or delete this one", output_dir)
    if output_dir.exists() and not output_dir.is_dir():
        raise InputError("--output_dir must be a folder", output_dir)
    if output_dir.is_dir() and any(output_dir.iterdir()) and not (output_dir / _UNFINISHED).exists():
        raise InputError("--output_dir must be new or empty; found files of another origin", output_dir)


@contextlib.contextmanager
def _unfinished(output_dir: pathlib.Path) -> Iterator[None]:
    """Clears what an interrupted conversion left, and on an error what this one leaves."""
    made = not output_dir.exists()
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / _UNFINISHED).touch()
    _clear(output_dir)
    try:
        yield
    except BaseException:
        _clear(output_dir)
        (output_dir / _UNFINISHED).unlink(missing_ok=True)
        if made:
            shutil.rmtree(output_dir, ignore_errors=True)
        raise
    (output_dir / _UNFINISHED).unlink(missing_ok=True)


def _clear(output_dir: pathlib.Path) -> None:
    for path in output_dir.iterdir():
        if SHARD_PATTERN.fullmatch(path.name):
            path.unlink()


def _nothing_usable(rejected: Sequence[Rejection]) -> str:
    if not rejected:
        return "no mammogram found: DICOM or 16-bit PNG, with a mask beside it or in masks/"
    return f"no usable mammogram; {len(rejected)} rejected, the first {rejected[0].file}: {rejected[0].reason}"


def _in_order(infos: Sequence[ShardInfo]) -> tuple[ShardInfo, ...]:
    return tuple(sorted(infos, key=lambda info: (SPLITS.index(info.split), info.name)))


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("calcseg_tf", "tensorflow", "pydicom", "numpy"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed as a package"
    return versions
