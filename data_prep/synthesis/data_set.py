"""A folder of artificial mammograms: which are drawn, by how many processes, and what is written."""

import collections
import csv
import dataclasses
import functools
import importlib.metadata
import json
import pathlib
import platform
from collections.abc import Sequence

from data_prep.command import DISCLAIMER
from data_prep.synthesis.dicom_file import write_dicom
from data_prep.synthesis.hard_negative import HardNegative
from data_prep.synthesis.picture import VIEWS, SynthesisConfig, synthesize_mammogram
from data_prep.whole_folder import check_new_folder, whole_folder
from data_prep.worker_process import in_workers

__all__ = ["HARD_NEGATIVES_FILE", "SUMMARY_FILE", "Summary", "synthesize_folder"]

HARD_NEGATIVES_FILE = "hard_negatives.csv"
SUMMARY_FILE = "synthesize.json"

_COLUMNS = ("file", "kind", "row", "column", "size_mm")
_PARTIAL = ".synthesize-partial"  # inside the output folder: results move up from here once all are whole


@dataclasses.dataclass(frozen=True)
class Summary:
    """What `synthesize_folder` did.

    Attributes:
        mammograms: Number written.
        patients: Number of artificial patients among them.
        looks: Mammograms by look.
        hard_negatives: Number placed, by kind.
    """

    mammograms: int
    patients: int
    looks: dict[str, int]
    hard_negatives: dict[str, int]


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """What was drawn and written as one file."""

    entry: dict[str, object]
    hard_negatives: tuple[HardNegative, ...]


def synthesize_folder(output_dir: pathlib.Path, images: int, config: SynthesisConfig, workers: int = 1) -> Summary:
    """Draws mammograms without calcifications and writes each as DICOM, four a patient.

    Every file is written whole or not at all, `synthesize.json` last: where it is, all is. The bytes depend on
    configuration and number alone, not on `workers`: the first 10 of 100 images are those of 10.

    Args:
        output_dir: New or empty.
        images: How many, 1 to 9,999.
        config: What to draw.
        workers: Processes.

    Raises:
        InputError: The folder is not empty.
    """
    check_new_folder(output_dir, _PARTIAL)
    with whole_folder(output_dir, _PARTIAL, last=SUMMARY_FILE) as partial:
        call = functools.partial(_draw_one, folder=partial, config=config)
        outcomes = list(in_workers(call, range(images), workers, "synthesize"))
        summary = _summarise(outcomes)
        _write_table(partial / HARD_NEGATIVES_FILE, outcomes)
        _write_summary(partial / SUMMARY_FILE, summary, outcomes, config)
    return summary


def _draw_one(index: int, folder: pathlib.Path, config: SynthesisConfig) -> _Outcome:
    patient, picture = divmod(index, len(VIEWS))
    synthesized = synthesize_mammogram(config, patient + 1, picture)
    stem = f"synthetic-{index + 1:04d}"
    write_dicom(folder / f"{stem}.dcm", synthesized, config.seed, patient + 1, index + 1)
    mammogram, technique = synthesized.mammogram, dataclasses.asdict(synthesized.technique)
    entry = {
        "file": stem,
        "patient": f"synthetic-{config.seed}-{patient + 1}",
        "laterality": mammogram.laterality.value,
        "view": mammogram.view.value,
        "height": mammogram.pixels.shape[0],
        "width": mammogram.pixels.shape[1],
        **{name: getattr(value, "value", value) for name, value in technique.items()},
        "hard_negatives": len(synthesized.hard_negatives),
    }
    return _Outcome(entry, synthesized.hard_negatives)


def _summarise(outcomes: Sequence[_Outcome]) -> Summary:
    kinds = collections.Counter(thing.kind.value for outcome in outcomes for thing in outcome.hard_negatives)
    looks = collections.Counter(str(outcome.entry["look"]) for outcome in outcomes)
    return Summary(
        mammograms=len(outcomes),
        patients=len({outcome.entry["patient"] for outcome in outcomes}),
        looks=dict(sorted(looks.items())),
        hard_negatives=dict(sorted(kinds.items())),
    )


def _write_table(path: pathlib.Path, outcomes: Sequence[_Outcome]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for outcome in outcomes:
            for thing in outcome.hard_negatives:
                place = f"{thing.row:.1f}", f"{thing.column:.1f}", f"{thing.size_mm:.2f}"
                writer.writerow((outcome.entry["file"], thing.kind.value, *place))


def _write_summary(path: pathlib.Path, summary: Summary, outcomes: Sequence[_Outcome], config: SynthesisConfig) -> None:
    content = {
        "disclaimer": DISCLAIMER,
        "note": "synthetic: no patient. Drawn mammograms without any calcification; what may look like one is listed "
        f"in {HARD_NEGATIVES_FILE}.",
        "settings": dataclasses.asdict(config),
        **dataclasses.asdict(summary),
        "files": [outcome.entry for outcome in outcomes],
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("numpy", "scipy", "pillow", "pydicom")},
        },
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
