"""Writes comparison.html: both exams of a follow-up side by side, and what became of each calcification."""

import json
import pathlib
from collections.abc import Sequence

import numpy as np

from calcseg_tf.clinical.follow_up import GROWN_RATIO, Change, FollowUp, Status, compare_again
from calcseg_tf.clinical.follow_up_exams import Exam, at_threshold
from calcseg_tf.clinical.follow_up_figure import describe_alignment
from calcseg_tf.clinical.follow_up_marks import MARKS
from calcseg_tf.clinical.page.frame import data_block, document, exam_section, scrolled_table
from calcseg_tf.clinical.page.steps import measure_steps
from calcseg_tf.clinical.statistics import ImageStatistics
from calcseg_tf.html import Content, Markup, element

__all__ = ["compared_steps", "comparison_data", "write_comparison_page"]

_TITLE = "Follow-up of a region"

_MEANINGS = {
    Status.PERSISTED: "matched",
    Status.GROWN: f"matched, and at least {GROWN_RATIO:g} times as large",
    Status.NEW: "in the current exam alone",
    Status.VANISHED: "in the prior exam alone",
    Status.UNCOVERED: "its place in the other exam lies outside the region there, or outside the image",
}

# Name, digits, and what it is called.
_TABLE = {
    "mm": (("count", 0, "Calcifications"), ("mean_area_mm2", 4, "Mean area, mm²"),
           ("std_area_mm2", 4, "STD of the areas (n − 1), mm²"), ("density_per_cm2", 2, "Density, per cm²")),
    "px": (("count", 0, "Calcifications"), ("mean_area_px", 2, "Mean area, px"),
           ("std_area_px", 2, "STD of the areas (n − 1), px")),
}  # fmt: skip

_KEYS = (("l", "link or part both exams"), ("n and b", "next and previous calcification of the follow-up"))


def write_comparison_page(
    path: pathlib.Path, follow_up: FollowUp, compared_anyway: Sequence[str] = (), notes: Sequence[str] = ()
) -> None:
    """Writes the page of a follow-up. It names no patient, no file and no day.

    Args:
        path: The file to write.
        follow_up: At the operating threshold.
        compared_anyway: Differences that were passed over.
        notes: What a reader should know.
    """
    steps = compared_steps(follow_up)
    content = (
        _about(follow_up, compared_anyway, notes),
        _section("Prior exam", follow_up.prior, [step.prior.image for step in steps]),
        _section("Current exam", follow_up.current, [step.current.image for step in steps]),
        _changes(),
        data_block("followed", comparison_data(follow_up, steps)),
    )
    page = document(_TITLE, "comparison.png and comparison.json", *content, kind="comparison")
    path.write_text(page, encoding="utf-8")


def _section(title: str, exam: Exam, steps: Sequence[ImageStatistics]) -> Markup:
    figures = f"{title}: whole image at this threshold"
    return exam_section(title, exam.intensity, exam.codes, steps, exam.image, "h2", figures, _KEYS)


def compared_steps(follow_up: FollowUp) -> list[FollowUp]:
    """Compares both exams at every threshold that either page would offer, by threshold, ascending.

    The motion is that of the operating threshold; the calcifications are matched anew.

    Args:
        follow_up: At the operating threshold; one of those returned.
    """
    prior, current = (_measured(exam) for exam in (follow_up.prior, follow_up.current))
    return [
        follow_up
        if prior[threshold] is follow_up.prior.image
        else compare_again(
            follow_up,
            at_threshold(follow_up.prior, prior[threshold]),
            at_threshold(follow_up.current, current[threshold]),
        )
        for threshold in sorted(prior.keys() & current.keys())
    ]


def _measured(exam: Exam) -> dict[float, ImageStatistics]:
    return {step.threshold: step for step in measure_steps(exam.codes, exam.intensity, exam.image)}


def comparison_data(follow_up: FollowUp, steps: Sequence[FollowUp]) -> str:
    """Returns what the page's script reads of both exams, as JSON that may stand in a script element.

    Args:
        follow_up: At the operating threshold.
        steps: Of `compared_steps`.
    """
    content = {
        "unit": follow_up.unit,
        "aligned": _motion(follow_up),
        "regions": {side: getattr(follow_up, side).region.region.corners for side in ("prior", "current")},
        "statuses": [
            {"name": status.value, "text": f"{mark.letter} {status.value}",
             "shape": mark.shape, "colour": mark.colour, "letter": mark.letter}
            for status, mark in MARKS.items()
        ],
        "steps": [_step(step) for step in steps],
    }  # fmt: skip
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _motion(follow_up: FollowUp) -> dict[str, object] | None:
    """Returns matrix and offset that take (row, column) in px of the prior exam to px of the current one.

    "zoom" is how many times as many screen pixels a column of the prior exam takes as one of the current exam, where
    both show tissue of the same size.
    """
    if follow_up.transform is None:
        return None
    origin, down, right = follow_up.prior_in_current(np.array([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]))
    widths = [
        1.0 if follow_up.unit == "px" or exam.image.pixel_spacing_mm is None else exam.image.pixel_spacing_mm[1]
        for exam in (follow_up.prior, follow_up.current)
    ]
    return {
        "matrix": np.stack([down - origin, right - origin], axis=1).tolist(),
        "offset": origin.tolist(),
        "zoom": follow_up.transform.scale * widths[0] / widths[1],
    }


def _step(step: FollowUp) -> dict[str, object]:
    figures = {figure.name: figure for figure in step.table}
    return {
        "table": [
            (text, digits, figures[name].prior, figures[name].current, figures[name].difference)
            for name, digits, text in _TABLE[step.unit]
        ],
        "counts": step.counts(),
        "reason": step.reason,
        "changes": None if step.changes is None else [_change(step, change) for change in step.changes],
    }


def _change(step: FollowUp, change: Change) -> dict[str, object]:
    if change.prior is None:
        row, column = step.current_in_prior(np.array([change.place]))[0].tolist()
    else:
        row, column = change.prior.row, change.prior.column
    return {
        "status": change.status.value,
        "prior": change.prior and change.prior.id,
        "current": change.current and change.current.id,
        "places": {"prior": (row, column), "current": change.place},
        "distance": change.distance,
        "area_ratio": change.area_ratio,
    }


def _about(follow_up: FollowUp, compared_anyway: Sequence[str], notes: Sequence[str]) -> Markup:
    link = element("label", element("input", type="checkbox", name="link"),
                   element("span", "Move both exams together"), class_="link")  # fmt: skip
    warnings = [f"Compared although {each}." for each in compared_anyway]
    return element(
        "header",
        element("h1", _TITLE),
        element("p", describe_alignment(follow_up)),
        _list(warnings, "warnings"),
        _list([f"{note[0].upper()}{note[1:]}." for note in notes], "notes"),
        link,
        element("ul", class_="legend", aria_label="What became of the calcifications of the region"),
        class_="both",
    )


def _list(lines: Sequence[str], kind: str) -> Content:
    return element("ul", *(element("li", line) for line in lines), class_=kind) if lines else ""


def _changes() -> Markup:
    head = element("tr", *(element("th", name, scope="col") for name in ("", "Prior", "Current", "Difference")))
    figures = element("table", element("thead", head), element("tbody"), aria_label="Both regions")
    hint = (
        "Of the regions marked, at this threshold. At another threshold than the operating one the calcifications are "
        "matched anew, by the same motion. Select a row to see it in both exams."
    )
    return element(
        "section",
        element("div", element("h2", "Both regions"), element("div", figures, class_="table", aria_live="polite")),
        element(
            "div",
            element("h2", "Calcification by calcification"),
            element("p", hint, class_="hint"),
            element(
                "p",
                " ".join(f"{status.value.capitalize()}: {told}." for status, told in _MEANINGS.items()),
                class_="about",
            ),
            element("p", class_="reason"),
            element("div", scrolled_table("Changes"), class_="changes"),
        ),
        class_="follow_up",
    )
