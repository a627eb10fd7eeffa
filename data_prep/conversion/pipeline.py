"""A conversion: list the files, look at their headers, split by patient, write shards, then the manifest.

Patient ID and Study Instance UID are read for the split and go no further: records and manifest hold salted hashes, in
place of the names of rejected files too.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence, Set

from tqdm import tqdm

from data_prep.atomic import write_text
from data_prep.beam import LOCAL_RUNNER, check_runner, resolve_runner
from data_prep.conversion import beam_runner, pool
from data_prep.conversion.resume import PlanFingerprint, fingerprint_files, finished_result, require_free, unfinished
from data_prep.conversion.shards import Job, ShardResult, ShardTask, rejection, shard_name
from data_prep.conversion.summary import nothing_usable, summarise, versions
from data_prep.datasets import Case, DataSet
from data_prep.datasets.files import kinds_of_files, reject_names, walk_files
from data_prep.dicom.access import header_text
from data_prep.dicom.header import STORED_VALUES, ReadOptions, read_header
from data_prep.errors import InputError
from data_prep.identity import Identity, read_or_make_salt
from data_prep.manifest import MANIFEST_NAME, ImageWarning, Manifest, Rejection, render_manifest
from data_prep.png import grey_png_size
from data_prep.remote import is_remote
from data_prep.schema import SPLITS
from data_prep.split import SplitBy, assign_splits, group_patients, patient_key, rank

__all__ = ["Conversion", "ConvertConfig", "Plan", "make_plan", "write_plan"]

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
    runner: str = LOCAL_RUNNER
    beam_options: tuple[str, ...] = ()
    strict: bool = False
    public_ids: bool = False
    salt_file: pathlib.Path | None = None
    read_options: ReadOptions = STORED_VALUES

    def __post_init__(self) -> None:
        if not 0.0 < self.train_fraction < 1.0:
            raise InputError(f"must be greater than 0 and less than 1; found {self.train_fraction}", "--train_fraction")
        for name in ("examples_per_shard", "workers"):
            if getattr(self, name) < 1:
                raise InputError(f"must be at least 1; found {getattr(self, name)}", f"--{name}")
        check_runner(self.runner, self.beam_options)
        if self.public_ids and self.salt_file is not None:
            raise InputError("public ids are not salted: give --salt_file or --public_ids, not both", "--public_ids")
        for flag, path in (("--data_dir", self.data_dir), ("--salt_file", self.salt_file)):
            if path is not None and is_remote(path):
                raise InputError(f"must lie on this machine or a mounted file system; found {path}", flag)
        if is_remote(self.output_dir) and not self.public_ids and self.salt_file is None:
            raise InputError("records on another file system need a salt on this one", "--salt_file")
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
            **dataclasses.asdict(self.read_options),
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
    """

    config: ConvertConfig
    sides: Mapping[str, tuple[Case, ...]]
    patients: Mapping[str, str]
    rejected: tuple[Rejection, ...]


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A finished conversion.

    Attributes:
        manifest: As written.
        rejected: As in the manifest, but under the files' own names: for the user's screen alone.
        warnings: Likewise, in order of file.
        kept: Shards that were there, from a conversion that was interrupted.
    """

    manifest: Manifest
    rejected: tuple[Rejection, ...]
    warnings: tuple[ImageWarning, ...]
    kept: int


def make_plan(config: ConvertConfig) -> Plan:
    """Lists the data set, checks what can be checked without pixels, and splits it.

    Raises:
        InputError: No such data set or folder, nothing usable in it, nothing to split, an output folder that is taken;
            under `strict` any bad file.
    """
    require_free(config.output_dir)
    listing = config.data_set.list_cases(config.data_dir)
    cases: list[Case] = []
    names: dict[str, list[str]] = {}
    rejected = [*listing.rejected, *reject_names(config.data_dir)]
    if config.strict and rejected:
        raise InputError(rejected[0].reason, config.data_dir / rejected[0].file)
    for case in tqdm(listing.cases, desc="headers", unit="file", delay=2.0):
        try:
            names[case.key] = _examine(case, config)
            cases.append(case)
        except InputError as error:
            if config.strict:
                raise
            rejected.append(rejection(case, error))
    if not cases:
        held = "" if rejected else f"; found {kinds_of_files(walk_files(config.data_dir))}"
        raise InputError(f"{nothing_usable(rejected)}{held}", config.data_dir)
    groups = group_patients({key: found for key, found in names.items() if found})
    patients = {case.key: groups.get(case.key, "").removeprefix(_PATIENT) for case in cases}
    return Plan(
        config=config,
        sides=_split(cases, patients, config),
        patients=patients,
        rejected=tuple(sorted(rejected)),
    )


def write_plan(plan: Plan) -> Conversion:
    """Writes the shards that are not there yet, then the manifest.

    Raises:
        InputError: The pixels of a whole split are bad, under `strict` those of one file: nothing stays. The output
            folder is taken: nothing in it changes.
        UnfinishedError: What is whole stays, and the same plan finishes the rest.
    """
    config = plan.config
    if config.runner != LOCAL_RUNNER:
        # Before the folder is held: a mistyped flag is no error of the data, for which what is there would be cleared.
        resolve_runner(config.runner, config.beam_options)
    identity = Identity(None if config.public_ids else read_or_make_salt(config.salt_path))
    tasks = _tasks(plan, identity)
    files = fingerprint_files(tasks, plan.rejected, config.data_dir, identity.salt)
    with unfinished(config.output_dir, PlanFingerprint(config.recorded(), versions(), files)):
        finished = [result for task in tasks if (result := finished_result(task)) is not None]
        results = [*finished, *_write_missing(tasks, {result.info.name for result in finished}, config)]
        rejected = tuple(sorted([*plan.rejected, *(bad for result in results for bad in result.rejected)]))
        manifest = summarise(
            config.output_dir,
            results,
            data_set=config.data_set.name,
            flags=config.recorded(),
            split_by=config.split_by,
            rejected=rejected,
        )
        told = tuple(sorted(Rejection(identity.file(bad.file), bad.reason) for bad in rejected))
        manifest = dataclasses.replace(manifest, rejected=told)
        if any(job.case.overrides.split for task in tasks for job in task.jobs):
            named = "Where cases.csv names a side, it is that one."
            manifest = dataclasses.replace(manifest, split_rule=f"{manifest.split_rule} {named}")
        write_text(config.output_dir / MANIFEST_NAME, render_manifest(manifest))
    files_of = {job.image_id: job.case.file for task in tasks for job in task.jobs}
    warnings = tuple(sorted(ImageWarning(files_of[found.image], found.warning) for found in manifest.warnings))
    return Conversion(manifest, rejected, warnings, kept=len(finished))


def _write_missing(tasks: Sequence[ShardTask], finished: Set[str], config: ConvertConfig) -> list[ShardResult]:
    missing = [task for task in tasks if task.path.name not in finished]
    if config.runner != LOCAL_RUNNER:
        return beam_runner.write_shards(missing, config.runner, config.beam_options) if missing else []
    images, left = (sum(len(task.jobs) for task in part) for part in (tasks, missing))
    with tqdm(total=images, initial=images - left, desc="convert", unit="mammogram") as progress:
        return pool.write_shards(missing, config.workers, lambda: progress.update(1))


def _examine(case: Case, config: ConvertConfig) -> list[str]:
    """Checks a case without its pixels and returns every name that its patient goes by."""
    names = []
    if case.image.suffix.lower() == ".png":
        size = grey_png_size(case.image, bits=16)
        unknown = "a PNG names no patient"
    else:
        header = read_header(case.image, config.read_options)
        size = int(header.Rows), int(header.Columns)
        unknown = "PatientID (0010,0020) is empty"
        if key := patient_key(header_text(header, "PatientID")):
            names.append(_PATIENT + key)
        if names and (study := header_text(header, "StudyInstanceUID")):
            names.append(_STUDY + study)
    if case.overrides.patient is not None:
        names = [_PATIENT + patient_key(case.overrides.patient)]
    if not names and config.split_by is SplitBy.PATIENT:
        raise InputError(f"{unknown}: name the patient in cases.csv (columns file,patient) or use --split_by=image")
    case.annotation.check(size)
    return names


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
    side = assign_splits(unit.values(), config.train_fraction, config.seed, _named_sides(cases, unit, config.data_dir))
    # In the order of the seed, so that a shard mixes patients.
    ordered = sorted(cases, key=lambda case: rank(case.key, config.seed))
    return {split: tuple(case for case in ordered if side[unit[case.key]] == split) for split in SPLITS}


def _named_sides(cases: Sequence[Case], unit: Mapping[str, str], data_dir: pathlib.Path) -> dict[str, str]:
    """Returns unit -> side for the patients (or images) of which an image has its side named."""
    named: dict[str, str] = {}
    for case in cases:
        side = case.overrides.split
        if side is not None and named.setdefault(unit[case.key], side) != side:
            raise InputError(
                f"images of one patient must be on one side; {case.file} is named {side}, another of its patient "
                f"{named[unit[case.key]]}",
                data_dir,
            )
    return named


def _tasks(plan: Plan, identity: Identity) -> list[ShardTask]:
    tasks = []
    for split, cases in plan.sides.items():
        jobs = [
            Job(case, identity.image(case.key), identity.patient(plan.patients[case.key]), plan.config.read_options)
            for case in cases
        ]
        count = -(-len(jobs) // plan.config.examples_per_shard)
        for index in range(count):
            path = plan.config.output_dir / shard_name(split, index, count)
            tasks.append(ShardTask(path, split, tuple(jobs[index::count]), plan.config.strict))
    return tasks
