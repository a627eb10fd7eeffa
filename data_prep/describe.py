"""Describes a folder of records: the paper's Table 1 and Fig. 3, and what else one should know before training.

python -m data_prep.describe --records_dir=RECORDS --output_dir=DESCRIPTION
"""

import contextlib
import os
import pathlib

from absl import flags

from data_prep import command
from data_prep.command import DISCLAIMER
from data_prep.errors import InputError

_RECORDS_DIR = flags.DEFINE_string("records_dir", None, "Folder that data_prep.convert wrote.", required=True)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Receives the tables and pictures; those of an earlier description are replaced.", required=True
)
_WORKERS = flags.DEFINE_integer(
    "workers", len(os.sched_getaffinity(0)), "Threads, each with one mammogram in memory; by default one a core.",
    lower_bound=1,
)  # fmt: skip


def main() -> None:
    """Reads every record once, prints the tables and writes them with the pictures."""
    from tqdm import tqdm

    from data_prep.description.describing import describe_records
    from data_prep.description.plots import overview_png, sizes_png
    from data_prep.description.report import calcifications_csv, description_csv, findings, images_csv, report_lines
    from data_prep.manifest import read_manifest
    from data_prep.remote import is_remote

    records_dir, output_dir = pathlib.Path(_RECORDS_DIR.value), pathlib.Path(_OUTPUT_DIR.value)
    total = sum(read_manifest(records_dir).images.values())
    if is_remote(_OUTPUT_DIR.value):
        raise InputError(
            f"must lie on this machine or a mounted file system; found {_OUTPUT_DIR.value}", "--output_dir"
        )
    _require_folder(output_dir)
    print(f"Describing {total} records in {records_dir}", flush=True)
    with tqdm(total=total, desc="describe", unit="mammogram") as progress:
        description = describe_records(records_dir, _WORKERS.value, lambda: progress.update(1))
    found = findings(description)
    _write(output_dir, {
        "describe.csv": description_csv(description, found).encode(),
        "images.csv": images_csv(description).encode(),
        "calcifications.csv": calcifications_csv(description).encode(),
        "calcification_sizes.png": sizes_png(description),
        "overview.png": overview_png(description, found),
    })  # fmt: skip
    print(*report_lines(description, found), sep="\n")
    print(f"Tables (describe.csv, images.csv, calcifications.csv) and pictures: {output_dir}\n{DISCLAIMER}")


def _require_folder(output_dir: pathlib.Path) -> None:
    """Refuses, before the records are read, a folder that could not be made afterwards."""
    nearest = next(path for path in (output_dir.absolute(), *output_dir.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise InputError("--output_dir must be a folder; found a file", nearest)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError("--output_dir cannot be written", nearest)


def _write(output_dir: pathlib.Path, files: dict[str, bytes]) -> None:
    """Replaces all files once each is whole on the disk; the first of them last."""
    from data_prep.atomic import temporary_beside

    with contextlib.ExitStack() as stack:
        for name, data in files.items():
            stack.enter_context(temporary_beside(output_dir / name)).write_bytes(data)


if __name__ == "__main__":
    command.run(main)
