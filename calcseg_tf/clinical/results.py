"""Writes the result of one mammogram: a folder that is there whole, or not at all."""

import contextlib
import csv
import dataclasses
import json
import os
import pathlib
import re
import shutil
import uuid
from collections.abc import Mapping

import numpy as np

from calcseg_tf.clinical.calcification import Calcification
from calcseg_tf.clinical.content import statistics_content
from calcseg_tf.clinical.definitions import DEFINITIONS
from calcseg_tf.clinical.dicom import SourceImage, write_dicom_results
from calcseg_tf.clinical.overlay import write_overlay
from calcseg_tf.clinical.page import write_report
from calcseg_tf.clinical.shape_statistics import ShapeStatistics
from calcseg_tf.clinical.statistics import ImageStatistics, measure
from calcseg_tf.probability_map import to_codes
from data_prep.command import DISCLAIMER, DISCLAIMER_COLUMN
from data_prep.errors import InputError
from data_prep.flushing import flush_folder
from data_prep.mammogram import SpacingSource
from data_prep.only_run import HeldError, only_run_in
from data_prep.png import encode_png

__all__ = [
    "CALCIFICATIONS_FILE",
    "OVERLAY_FILE",
    "PROBABILITY_FILE",
    "REPORT_FILE",
    "STATISTICS_FILE",
    "replace_folder",
    "require_replaceable",
    "sweep_partial",
    "write_prediction",
]

PROBABILITY_FILE = "probability.png"
OVERLAY_FILE = "overlay.png"
REPORT_FILE = "report.html"
CALCIFICATIONS_FILE = "calcifications.csv"
STATISTICS_FILE = "statistics.json"  # written last: it holds the sizes of the others

# What a killed process leaves: the hidden folder of a result, and the older result that stood aside for it.
_PARTIAL = re.compile(r"\.(.+)\.[0-9a-f]{12}\.partial(?:\.old)?")


def write_prediction(
    output_dir: pathlib.Path,
    stem: str,
    intensity: np.ndarray,
    probability: np.ndarray,
    threshold: float,
    pixel_spacing_mm: tuple[float, float] | None,
    spacing_source: SpacingSource,
    model: Mapping[str, object],
    source: Mapping[str, object],
    dicom_source: SourceImage | None = None,
    fractional_segmentation: bool = False,
) -> ImageStatistics:
    """Measures a prediction and writes it to `<output_dir>/<stem>/`.

    The folder is built under a hidden name beside, then renamed; an older result of the same stem goes only when the
    new one is whole. A run that is killed leaves at most a hidden folder, which `sweep_partial` removes.

    Args:
        output_dir: Made if it does not exist.
        stem: Name of the result, usually the input file's without its suffix.
        intensity: float [height, width] in [0, 1], brighter is denser.
        probability: float [height, width] in [0, 1], or uint16 codes, round(65535 p).
        threshold: The operating threshold, in (0, 1].
        pixel_spacing_mm: (row, column), or None when unknown.
        spacing_source: Where the spacing comes from.
        model: What made the prediction, ready for JSON; written into statistics.json.
        source: What it was made from, likewise: the file's digest and how it was read.
        dicom_source: The DICOM mammogram whose study receives `segmentation.dcm` and `report.dcm`; None for others.
        fractional_segmentation: Writes `segmentation_fractional.dcm` too.

    Raises:
        InputError: The stem is no plain name, a value is out of its range, or `<output_dir>/<stem>` is something else
            than an older result.
    """
    if not stem or stem.startswith(".") or pathlib.PurePath(stem).name != stem or "\\" in stem:
        raise InputError(f"a result needs a plain name that does not start with a dot; found {stem!r}")
    target = output_dir / stem
    require_replaceable(target)
    codes = to_codes(probability)
    statistics = measure(codes, intensity, threshold, pixel_spacing_mm, spacing_source)
    partial = output_dir / f".{stem}.{uuid.uuid4().hex[:12]}.partial"
    with only_run_in(partial, "held"):  # else another run would sweep it
        try:
            (partial / PROBABILITY_FILE).write_bytes(encode_png(codes, DISCLAIMER))
            _write_calcifications(statistics, partial / CALCIFICATIONS_FILE)
            write_overlay(partial / OVERLAY_FILE, intensity, codes, statistics, stem)
            write_report(partial / REPORT_FILE, intensity, codes, statistics, stem)
            if dicom_source is not None:
                write_dicom_results(partial, dicom_source, codes, statistics, model, fractional_segmentation)
            _write_statistics(statistics, model, source, partial / STATISTICS_FILE)
            replace_folder(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return statistics


def sweep_partial(folder: pathlib.Path, name: str | None = None) -> None:
    """Removes what killed processes left in a folder of results, but for what another process holds (`only_run_in`).

    Args:
        folder: Of the results.
        name: Of the result; None for all, where no other process writes into the folder.
    """
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        found = _PARTIAL.fullmatch(path.name)
        if found and name in (None, found[1]) and path.is_dir() and not path.is_symlink():
            with contextlib.suppress(HeldError, PermissionError), only_run_in(path, "held"):  # another user's stays
                target = folder / found[1]
                if path.suffix == ".old" and not target.exists():  # killed between the two steps of `replace_folder`
                    if name is None:  # else another process may be between them
                        path.rename(target)
                else:
                    shutil.rmtree(path, ignore_errors=True)


def require_replaceable(target: pathlib.Path, told_by: str = STATISTICS_FILE) -> None:
    """Checks that a result may take this place: nothing is there, or an older result.

    Args:
        target: The folder.
        told_by: The file that tells a result of the same kind.

    Raises:
        InputError: Something else is there, which `write_prediction` would not delete.
    """
    if not target.exists() and not target.is_symlink():
        return
    if target.is_symlink() or not target.is_dir():
        raise InputError("a result is a folder; found something else of that name", target)
    if any(target.iterdir()) and not (target / told_by).is_file():
        raise InputError(f"only an older result is replaced; found a folder without {told_by}", target)


def replace_folder(partial: pathlib.Path, target: pathlib.Path) -> None:
    """Puts a folder in a place that may be taken; two folders cannot be exchanged in one step: the old one steps aside.

    A run killed between the two renames leaves both whole, hidden.
    """
    flush_folder(partial)
    if not target.exists():
        partial.rename(target)
        return
    aside = partial.with_name(partial.name + ".old")
    os.rename(target, aside)
    try:
        partial.rename(target)
    except BaseException:  # Ctrl-C too, which may come when it is done
        if not target.exists():
            os.rename(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)  # another user's stays, hidden


def _write_calcifications(statistics: ImageStatistics, path: pathlib.Path) -> None:
    """One row a calcification; numbers in full, an empty cell where there is none."""
    names = [field.name for field in dataclasses.fields(Calcification)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, DISCLAIMER_COLUMN])
        writer.writerows([*(getattr(found, name) for name in names), None] for found in statistics.calcifications)


def _write_statistics(
    statistics: ImageStatistics, model: Mapping[str, object], source: Mapping[str, object], path: pathlib.Path
) -> None:
    content = {
        **statistics_content(statistics),
        "model": dict(model),
        "source": dict(source),
        "files": {each.name: each.stat().st_size for each in sorted(path.parent.iterdir())},
        "undefined": _undefined(statistics),
        "definitions": DEFINITIONS,
        "disclaimer": DISCLAIMER,
    }
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _undefined(statistics: ImageStatistics) -> dict[str, str]:
    """Returns why each figure of the image that is null is so."""
    no_spacing = statistics.pixel_spacing_mm is None
    least = {"mean_area": 1, "extent": 1, "std_area": 2, "nearest_neighbour": 2}
    reasons = {}
    for field in dataclasses.fields(ShapeStatistics):
        name, _, unit = field.name.rpartition("_")
        if getattr(statistics, field.name) is not None:
            continue
        if statistics.count < least.get(name, 0):
            needed = least[name]
            reason = f"needs {needed} calcification{'s' if needed > 1 else ''}; there are {statistics.count}"
        elif no_spacing:
            reason = "the pixel spacing is unknown" + (f"; see {name}_px" if unit in ("mm", "mm2") else "")
        else:
            reason = "no breast is found in the image"
        reasons[field.name] = reason
    if no_spacing:
        reasons["pixel_spacing_mm"] = "neither the file nor the caller states it; areas are in pixels"
    if statistics.clusters is None:
        reasons["clusters"] = statistics.clusters_reason
    return reasons
