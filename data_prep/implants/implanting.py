"""Implants a folder of mammograms: which files, which patient each belongs to, and what is written."""

import csv
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import pathlib
import platform
from collections.abc import Sequence

import numpy as np

from data_prep.command import DISCLAIMER
from data_prep.dicom.access import header_text
from data_prep.dicom.header import read_header
from data_prep.dicom.new_header import NeutralNames
from data_prep.errors import InputError
from data_prep.implants.config import ImplantConfig
from data_prep.implants.dicom_file import neutral_names, write_dicom
from data_prep.implants.placement import Implanted, implant_mammogram
from data_prep.mammogram import Mammogram, SpacingSource, is_dicom, read_mammogram
from data_prep.png import encode_png
from data_prep.split import group_patients, patient_key
from data_prep.whole_folder import check_new_folder, whole_folder
from data_prep.worker_process import in_workers

__all__ = ["CALCIFICATIONS_FILE", "SUMMARY_FILE", "Rejected", "Summary", "implant_folder"]

CALCIFICATIONS_FILE = "calcifications.csv"
SUMMARY_FILE = "implant.json"

_COLUMNS = (
    "file", "id", "cluster", "shape", "row", "column", "area_px", "diameter_mm", "signal_to_noise", "contrast",
)  # fmt: skip
_PARTIAL = ".implant-partial"  # inside the output folder: results move up from here once all are whole
# Kinds of names; patients are numbered in this order.
_PATIENT, _STUDY, _ALONE = "1 patient ", "2 study ", "3 alone "
_MASK_VALUE = 255  # any value but 0 is a calcification; 255 can be seen


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A file that gave no implanted mammogram.

    Attributes:
        path: The file.
        sha256: Hex digest of its bytes, or "" where it cannot be read: names it where its name must not go.
        reason: The rule it breaks, without patient data.
    """

    path: pathlib.Path
    sha256: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Summary:
    """What `implant_folder` did.

    Attributes:
        mammograms: Number written.
        patients: Number of patients among them.
        calcifications: Number implanted.
        clusters: Number of clusters among them; a vessel is one.
        left_out: Isolated calcifications and clusters asked for that found no site.
        share_by_area_px: Share of calcifications by area: below 10 px, 10 to 49, 50 to 100, above 100.
        rejected: Files that were passed over.
    """

    mammograms: int
    patients: int
    calcifications: int
    clusters: int
    left_out: int
    share_by_area_px: dict[str, float]
    rejected: tuple[Rejected, ...]


@dataclasses.dataclass(frozen=True)
class _Task:
    """One mammogram to implant: where it is, its digest, the stem of its results, and what its DICOM names."""

    path: pathlib.Path
    sha256: str
    stem: str
    names: NeutralNames


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """What one mammogram became: rows of the table and an entry of the summary, or the reason why not."""

    task: _Task
    rows: tuple[tuple[object, ...], ...] = ()
    entry: dict[str, object] = dataclasses.field(default_factory=dict)
    reason: str = ""


def implant_folder(
    background_dir: pathlib.Path, output_dir: pathlib.Path, config: ImplantConfig, workers: int = 1
) -> Summary:
    """Implants every mammogram of a folder and writes a `folder` data set: DICOM, mask PNG and PNG of what to ignore.

    Every file is written whole or not at all, `implant.json` last: where it is, all is. The bytes depend on the
    configuration and the mammograms alone, not on `workers`. A file that is no mammogram is passed over and reported.

    Args:
        background_dir: DICOM files and 16-bit greyscale PNGs, at any depth.
        output_dir: New or empty; never inside `background_dir`.
        config: What to implant.
        workers: Processes.

    Raises:
        InputError: A folder does not fit, or no file gave a mammogram.
    """
    _check_folders(background_dir, output_dir)
    tasks, rejected = _plan(background_dir, config)
    with whole_folder(output_dir, _PARTIAL, last=SUMMARY_FILE) as partial:
        call = functools.partial(_implant_one, folder=partial, config=config)
        outcomes = list(in_workers(call, tasks, workers, "implant"))
        rejected += [Rejected(o.task.path, o.task.sha256, o.reason) for o in outcomes if o.reason]
        done = [outcome for outcome in outcomes if not outcome.reason]
        if not done:
            raise _none_left(background_dir, rejected)
        summary = _summarise(done, rejected)
        _write_table(partial / CALCIFICATIONS_FILE, done)
        _write_summary(partial / SUMMARY_FILE, summary, done, config)
    return summary


def _check_folders(background_dir: pathlib.Path, output_dir: pathlib.Path) -> None:
    if not background_dir.is_dir():
        raise InputError("--background_dir must be a folder of mammograms; found none", background_dir)
    if output_dir.resolve().is_relative_to(background_dir.resolve()):
        raise InputError("--output_dir must not lie inside --background_dir", output_dir)
    check_new_folder(output_dir, _PARTIAL)


def _plan(background_dir: pathlib.Path, config: ImplantConfig) -> tuple[list[_Task], list[Rejected]]:
    """Reads every header and gives each mammogram its neutral names.

    Mammograms of one Patient ID or of one study are one patient's; one that names neither is a patient alone.

    Raises:
        InputError: No file is a mammogram.
    """
    found: list[tuple[pathlib.Path, str]] = []  # and its sha256
    names: dict[str, list[str]] = {}  # that the patient of a file goes by, by its sha256
    rejected: list[Rejected] = []
    digests: set[str] = set()
    for path in _candidates(background_dir):
        digest = ""
        try:
            digest = _sha256(path)
            if digest in digests:
                raise InputError("the same bytes as another file of the folder")
            names[digest] = _patient_names(path) or [f"{_ALONE}{digest}"]
        except InputError as error:
            rejected.append(Rejected(path, digest, error.rule))
            continue
        digests.add(digest)
        found.append((path, digest))
    if not found:
        raise _none_left(background_dir, rejected)
    owners = group_patients(names)
    patients = {owner: number for number, owner in enumerate(sorted(set(owners.values())), start=1)}
    # A study takes its UID from a picture, not from the Patient ID, which could be guessed and compared.
    studies = {owner: min(digest for digest in owners if owners[digest] == owner) for owner in patients}
    tasks = []
    for number, (path, digest) in enumerate(found, start=1):
        owner = owners[digest]
        neutral = neutral_names(config.seed, f"patient-{patients[owner]}", studies[owner], digest, number)
        tasks.append(_Task(path, digest, f"implant-{number:04d}", neutral))
    return tasks, rejected


def _patient_names(path: pathlib.Path) -> list[str]:
    """Returns what the patient of a file goes by: Patient ID and study; nothing where there is neither."""
    if path.suffix.lower() == ".png":
        return []
    header = read_header(path)
    told = (_PATIENT, patient_key(header_text(header, "PatientID"))), (_STUDY, header_text(header, "StudyInstanceUID"))
    return [prefix + name for prefix, name in told if name]


def _candidates(background_dir: pathlib.Path) -> list[pathlib.Path]:
    """Lists DICOM files and PNGs in the order of their relative paths; hidden files are not ours."""
    paths = (path for path in background_dir.rglob("*") if path.is_file() and not path.name.startswith("."))
    chosen = [path for path in paths if path.suffix.lower() == ".png" or _may_be_dicom(path)]
    return sorted(chosen, key=lambda path: path.relative_to(background_dir).as_posix())


def _may_be_dicom(path: pathlib.Path) -> bool:
    try:
        return is_dicom(path)
    except OSError:
        return True  # reported when it is read


def _sha256(path: pathlib.Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})") from None


def _none_left(background_dir: pathlib.Path, rejected: Sequence[Rejected]) -> InputError:
    if not rejected:
        return InputError("--background_dir must hold DICOM files or 16-bit PNGs; found none", background_dir)
    first = rejected[0]
    return InputError(f"none of {len(rejected)} files is usable; {first.path.name}: {first.reason}", background_dir)


def _implant_one(task: _Task, folder: pathlib.Path, config: ImplantConfig) -> _Outcome:
    """Implants one mammogram and writes its three files."""
    try:
        source = read_mammogram(task.path)
        implanted = implant_mammogram(source, config)
    except InputError as error:
        return _Outcome(task, reason=error.rule)
    write_dicom(folder / f"{task.stem}.dcm", implanted.pixels, source, task.names)
    for name, pixels in ((f"{task.stem}.png", implanted.mask), (f"{task.stem}_ignore.png", implanted.rim)):
        (folder / name).write_bytes(encode_png(np.uint8(_MASK_VALUE) * pixels.astype(np.uint8)))
    return _Outcome(task, _rows(task, implanted), _entry(task, source, implanted))


def _rows(task: _Task, implanted: Implanted) -> tuple[tuple[object, ...], ...]:
    rows = []
    for number, placed in enumerate(implanted.calcifications, start=1):
        row, column = placed.centroid
        area = placed.calcification.area_px
        diameter = 2.0 * (area / np.pi) ** 0.5 * implanted.spacing_mm
        rows.append((
            task.stem, number, placed.cluster or "", placed.calcification.shape.value, f"{row:.2f}", f"{column:.2f}",
            area, f"{diameter:.3f}", f"{placed.signal_to_noise:.2f}", f"{placed.contrast:.5f}",
        ))  # fmt: skip
    return tuple(rows)


def _entry(task: _Task, source: Mammogram, implanted: Implanted) -> dict[str, object]:
    known = source.pixel_spacing_mm is not None
    return {
        "file": task.stem,
        "patient": task.names.patient_id,
        "source_sha256": task.sha256,
        "calcifications": len(implanted.calcifications),
        "clusters": implanted.clusters,
        "left_out": implanted.left_out,
        "pixel_spacing_mm": implanted.spacing_mm,
        "pixel_spacing_source": (source.spacing_source if known else SpacingSource.FLAG).value,
        "pixel_spacing_assumed": not known,
        "warnings": list(source.warnings),
    }


def _summarise(done: Sequence[_Outcome], rejected: Sequence[Rejected]) -> Summary:
    areas = np.array([row[_COLUMNS.index("area_px")] for outcome in done for row in outcome.rows])
    return Summary(
        mammograms=len(done),
        patients=len({outcome.task.names.patient_id for outcome in done}),
        calcifications=len(areas),
        clusters=sum(int(str(outcome.entry["clusters"])) for outcome in done),
        left_out=sum(int(str(outcome.entry["left_out"])) for outcome in done),
        share_by_area_px={
            "below 10": _share(areas < 10),
            "10 to 49": _share((areas >= 10) & (areas < 50)),
            "50 to 100": _share((areas >= 50) & (areas <= 100)),
            "above 100": _share(areas > 100),
        },
        rejected=tuple(rejected),
    )


def _share(chosen: np.ndarray) -> float:
    return round(float(chosen.mean()), 4)


def _write_table(path: pathlib.Path, done: Sequence[_Outcome]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(row for outcome in done for row in outcome.rows)


def _write_summary(path: pathlib.Path, summary: Summary, done: Sequence[_Outcome], config: ImplantConfig) -> None:
    counts = dataclasses.asdict(summary)
    # Names of files may identify a patient: the digest says which file it was to whoever has it.
    counts["rejected"] = [{"source_sha256": file.sha256, "reason": file.reason} for file in summary.rejected]
    content = {
        "disclaimer": DISCLAIMER,
        "note": "Real mammograms with artificial calcifications. What a background holds by nature is not in its mask. "
        "Pixels that a calcification covers in part or lights through the blur are to be ignored (_ignore.png).",
        "settings": dataclasses.asdict(config),
        **counts,
        "files": [outcome.entry for outcome in done],
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("numpy", "scipy", "scikit-image", "pydicom")},
        },
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
