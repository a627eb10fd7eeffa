"""Writes what a follow-up found: a folder that is there whole, or not at all."""

import csv
import json
import pathlib
import shutil
import uuid
from collections.abc import Mapping, Sequence

from calcseg_tf.clinical.alignment import LEAST_FOR_AFFINE, LEAST_TO_ALIGN, MARGIN, MOST_ROTATION_DEG, MOST_SCALE
from calcseg_tf.clinical.calcification import Calcification
from calcseg_tf.clinical.content import statistics_content
from calcseg_tf.clinical.definitions import DEFINITIONS
from calcseg_tf.clinical.follow_up import GROWN_RATIO, Change, FollowUp
from calcseg_tf.clinical.follow_up_exams import Exam
from calcseg_tf.clinical.follow_up_figure import write_comparison_figure
from calcseg_tf.clinical.matching import GATE_MM, GATE_PX, NEIGHBOUR_SHARE, RESIDUAL_FACTOR, SIZE_WEIGHT
from calcseg_tf.clinical.page.comparison import write_comparison_page
from calcseg_tf.clinical.results import replace_folder, require_replaceable, sweep_partial
from data_prep.command import DISCLAIMER, DISCLAIMER_COLUMN
from data_prep.only_run import only_run_in

__all__ = ["CHANGES_FILE", "COMPARISON_FILE", "FIGURE_FILE", "PAGE_FILE", "comparison_content", "write_comparison"]

COMPARISON_FILE = "comparison.json"  # written last: it holds the sizes of the others
CHANGES_FILE = "comparison.csv"
FIGURE_FILE = "comparison.png"
PAGE_FILE = "comparison.html"

_OF_ONE = ("id", "row", "column", "area_px", "area_mm2", "equivalent_diameter_mm", "max_probability")

_FOLLOW_UP_DEFINITIONS = {
    "table": (
        "The calcifications whose centroid lies in the region of each exam, each with its whole area; difference is "
        "current less prior."
    ),
    "alignment": (
        f"current = matrix @ prior + offset, of places (row, column) in the unit. The motion that lets most "
        f"calcifications agree, within {MOST_ROTATION_DEG:g} degrees of rotation and a scale of 1 / {MOST_SCALE:g} to "
        f"{MOST_SCALE:g}; needs {LEAST_TO_ALIGN} calcifications in either exam ({LEAST_FOR_AFFINE} matched for an "
        f"affine motion), and must explain {MARGIN:g} times what the same search finds with the prior exam mirrored "
        "and turned by quarters. rotation_deg is against the clock as displayed; residual is the root mean square "
        "distance of the matched pairs."
    ),
    "matching": (
        "One to one, the highest sum of 1 - (distance / gate)^2 - "
        f"{SIZE_WEIGHT:g} ln(area ratio)^2; the gate is {GATE_MM:g} mm, or {GATE_PX:g} px without spacing, at most "
        f"{NEIGHBOUR_SHARE:g} times the median distance to the nearest neighbour (not below a tenth of itself) and "
        f"{RESIDUAL_FACTOR:g} times the median distance of the matched pairs (not below 0.3 of itself)."
    ),
    "status": (
        "persisted: matched, and not grown. grown: matched, current area at least "
        f"{GROWN_RATIO:g} times the prior one and equivalent diameter larger by at least the longer side of a pixel. "
        "new, vanished: not matched, and its place in the other exam lies in the region marked there. uncovered: not "
        "matched, and its place in the other exam lies outside that region or the image, which tells nothing."
    ),
    "place": "(row, column) in px of the current exam: where it lies, or by the alignment would lie.",
    "compared_anyway": "Why these exams should not be compared; whoever ran the comparison asked for it all the same.",
}


def write_comparison(
    output_dir: pathlib.Path,
    follow_up: FollowUp,
    model: Mapping[str, object],
    compared_anyway: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """Writes comparison.json, comparison.csv, comparison.png and comparison.html into a folder.

    The folder is built under a hidden name beside, then renamed; an older comparison goes only when it is whole. What
    killed runs left of the same folder goes then too.

    Args:
        output_dir: New, empty, or an older comparison.
        follow_up: What was found.
        model: What predicted, ready for JSON.
        compared_anyway: Differences that were passed over.
        notes: What a reader should know.

    Raises:
        InputError: The folder holds something else.
    """
    require_replaceable(output_dir, COMPARISON_FILE)
    target = output_dir.absolute()
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.partial")
    with only_run_in(partial, "held"):
        try:
            _fill(partial, follow_up, model, compared_anyway, notes)
            replace_folder(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    sweep_partial(target.parent, target.name)


def _fill(
    folder: pathlib.Path,
    follow_up: FollowUp,
    model: Mapping[str, object],
    compared_anyway: Sequence[str],
    notes: Sequence[str],
) -> None:
    _write_changes(follow_up, folder / CHANGES_FILE)
    write_comparison_figure(folder / FIGURE_FILE, follow_up)
    write_comparison_page(folder / PAGE_FILE, follow_up, compared_anyway, notes)
    content = {
        **comparison_content(follow_up),
        "compared_anyway": list(compared_anyway),
        "notes": list(notes),
        "model": dict(model),
        "files": {each.name: each.stat().st_size for each in sorted(folder.iterdir())},
        "definitions": {**DEFINITIONS, **_FOLLOW_UP_DEFINITIONS},
        "disclaimer": DISCLAIMER,
    }
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    (folder / COMPARISON_FILE).write_text(text, encoding="utf-8")


def comparison_content(follow_up: FollowUp) -> dict[str, object]:
    """Returns a comparison as comparison.json holds it, without what is told of the run."""
    return {
        "table": {
            each.name: {"prior": each.prior, "current": each.current, "difference": each.difference}
            for each in follow_up.table
        },
        "counts": follow_up.counts(),
        "alignment": _alignment(follow_up),
        "calcifications": None if follow_up.changes is None else [_change(each) for each in follow_up.changes],
        "prior": _exam(follow_up.prior),
        "current": _exam(follow_up.current),
        "undefined": _undefined(follow_up),
    }


def _alignment(follow_up: FollowUp) -> dict[str, object] | None:
    found = follow_up.transform
    if found is None:
        return None
    return {
        "motion": found.motion.value,
        "unit": follow_up.unit,
        "matrix": found.matrix,
        "offset": found.offset,
        "rotation_deg": found.rotation_deg,
        "scale": found.scale,
        "residual": follow_up.residual,
        "gate": follow_up.gate,
        "note": follow_up.reason,
    }


def _change(change: Change) -> dict[str, object]:
    return {
        "status": change.status.value,
        "prior": _one(change.prior),
        "current": _one(change.current),
        "place": change.place,
        "distance": change.distance,
        "area_ratio": change.area_ratio,
    }


def _one(found: Calcification | None) -> dict[str, object] | None:
    return None if found is None else {name: getattr(found, name) for name in _OF_ONE}


def _exam(exam: Exam) -> dict[str, object]:
    return {
        "region": statistics_content(exam.region),
        "image": {"height": exam.image.height, "width": exam.image.width, "count": exam.image.count},
        "threshold": exam.image.threshold,
        "pixel_spacing_mm": exam.image.pixel_spacing_mm,
        "pixel_spacing_source": exam.image.spacing_source.value,
        "source": {"sha256": exam.sha256},
    }


def _undefined(follow_up: FollowUp) -> dict[str, str]:
    """Returns why a figure of the table, or the alignment, is null."""
    reasons = {}
    for each in follow_up.table:
        for side, value, exam in (
            ("prior", each.prior, follow_up.prior),
            ("current", each.current, follow_up.current),
        ):
            if value is not None:
                continue
            needed = 2 if each.name.startswith("std") else 1 if each.name.startswith("mean") else 0
            if exam.region.count < needed:
                found = "nothing is found in the region" if exam.region.count == 0 else "one calcification is found"
                reasons[f"table.{each.name}.{side}"] = f"needs {needed} of them in the region; {found}"
            else:
                reasons[f"table.{each.name}.{side}"] = "the pixel spacing is unknown"
    if follow_up.transform is None:
        reasons["alignment"] = follow_up.reason
        reasons["counts"] = reasons["calcifications"] = "the exams are not aligned"
    return reasons


def _write_changes(follow_up: FollowUp, path: pathlib.Path) -> None:
    """One row a calcification over time; an empty cell where there is none."""
    sides = [f"{side}_{name}" for side in ("prior", "current") for name in _OF_ONE]
    distance = f"distance_{follow_up.unit}"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(
            file,
            ["status", *sides, "place_row", "place_column", distance, "area_ratio", DISCLAIMER_COLUMN],
            lineterminator="\n",
        )
        writer.writeheader()
        for change in follow_up.changes or ():
            row: dict[str, object] = {"status": change.status.value, distance: change.distance}
            for side, found in (("prior", change.prior), ("current", change.current)):
                row |= {f"{side}_{name}": value for name, value in (_one(found) or {}).items()}
            row |= {"place_row": change.place[0], "place_column": change.place[1], "area_ratio": change.area_ratio}
            writer.writerow(row)
