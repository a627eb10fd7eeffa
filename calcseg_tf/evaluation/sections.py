"""The parts of evaluation.html: figures with their definitions, differences, curves, images, provenance."""

import json
from collections.abc import Mapping, Sequence

from calcseg_tf.evaluation.bootstrap import LEVEL, ONE_PATIENT, few_patients
from calcseg_tf.evaluation.comparison import (
    Difference,
    Scored,
    difference_text,
    errors_by_image,
    headline_paths,
    p_text,
    protocol_paths,
    undefined,
    with_interval,
)
from calcseg_tf.evaluation.definitions import definition_of, definitions
from calcseg_tf.evaluation.evaluation_result import PRIMARY, EvaluationResult
from calcseg_tf.evaluation.line_plots import Plot
from calcseg_tf.evaluation.metrics import cautions
from calcseg_tf.evaluation.page import Section
from calcseg_tf.evaluation.strata import DIMENSIONS
from calcseg_tf.evaluation.wording import counted
from calcseg_tf.html import Content, Markup, element, picture, table
from calcseg_tf.html import definitions as definition_list

__all__ = [
    "caution_notices",
    "curves_section",
    "differences_section",
    "figures_section",
    "images_section",
    "intervals_told",
    "lead",
    "notes",
    "patients_caution",
    "protocols_section",
    "provenance_section",
    "strata_section",
    "what_was_counted",
]

_MOST_IMAGES = 300

_FIGURES = (
    ("Pixel ROC AUC", "pixel.roc_auc"),
    ("Pixel average precision", "pixel.average_precision"),
    ("Sensitivity at 1 false alarm a mammogram", f"froc.{PRIMARY}.operating_points.1.sensitivity"),
    ("Sensitivity at the operating threshold", "at_threshold.sensitivity"),
    ("False alarms a mammogram there", "at_threshold.false_positives_per_image"),
    ("False alarms per cm² of breast there", "at_threshold.false_positives_per_cm2"),
    ("Pixel Dice there", "at_threshold.dice"),
    ("Pixel IoU there", "at_threshold.iou"),
    ("Object IoU there", "at_threshold.object_iou"),
    ("Mean IoU of both classes there", "at_threshold.mean_iou_classes"),
    ("Mean IoU of the images there", "at_threshold.mean_iou_images"),
)

_STRATA_TITLES = {
    "area_px": "Area in px",
    "diameter_mm": "Diameter in mm",
    "view": "View",
    "neighbours": "Calcifications nearby",
}


def lead(scored: Sequence[Scored]) -> Content:
    """Says what was counted, and the operating threshold of every model."""
    result = scored[0].result
    thresholds = [
        element("li", element("strong", each.name), f": operating threshold {each.result.threshold:.4f}, ",
                each.threshold_rule, ".")
        for each in scored
    ]  # fmt: skip
    return [
        element("p", f"{what_was_counted(result)} {intervals_told(result)}{patients_caution(result)}"),
        element("ul", *thresholds),
    ]


def what_was_counted(result: EvaluationResult) -> str:
    """Says how many mammograms, patients and calcifications there are."""
    return (
        f"{counted(len(result.images), 'mammogram')} of {counted(len(result.patients), 'patient')} with "
        f"{counted(result.calcifications, 'annotated calcification')}."
    )


def intervals_told(result: EvaluationResult) -> str:
    """Says what stands in brackets."""
    return f"Brackets hold {LEVEL:.0%} intervals over {result.bootstrap_samples:,} resamples of the patients."


def patients_caution(result: EvaluationResult) -> str:
    """Says that intervals over few patients cannot be relied on; "" where they are many."""
    few = few_patients(len(result.patients))
    return f" Caution: {few}." if few else ""


def caution_notices(scored: Sequence[Scored]) -> list[Markup]:
    """Says of which models the sensitivities cannot be believed."""
    return [
        element("p", f"Caution, {each.name}: {caution}.", class_="notice")
        for each in scored
        for caution in cautions(each.result)
    ]


def figures_section(scored: Sequence[Scored]) -> Section:
    """The figures that a reader asks for first, with what each means."""
    result = scored[0].result
    sentences = definitions(result.threshold_figures, result.protocols, result.connectivity)
    header = ["Figure", *(each.name for each in scored)]
    rows = [[label, *(with_interval(each.result, path) for each in scored)] for label, path in _FIGURES]
    meanings: list[tuple[Content, Content]] = [
        (label, definition_of(path, sentences) or "") for label, path in _FIGURES
    ]
    meanings += [(key, sentences[key]) for key in ("resolution", "ignored pixels", f"froc.{PRIMARY}")]
    reasons = undefined(scored, [path for _, path in _FIGURES])
    if len(result.patients) < 2:
        reasons.append(f"No intervals: {ONE_PATIENT}.")
    return Section(
        "figures",
        "Figures",
        [
            *caution_notices(scored),
            table("Figures of every model, with intervals; “there” is at its operating threshold.", header, rows),
            notes(reasons),
            element("details", element("summary", "What each figure means"), definition_list(meanings), open=True),
        ],
    )


def protocols_section(scored: Sequence[Scored]) -> Section:
    """Sensitivities at limits on the false alarms under every protocol."""
    result = scored[0].result
    sentences = definitions(result.threshold_figures, result.protocols, result.connectivity)
    rows = [[label, *(with_interval(each.result, path) for each in scored)] for label, path in protocol_paths(result)]
    meanings: list[tuple[Content, Content]] = [(name, sentences[f"froc.{name}"]) for name in result.protocols]
    caption = (
        "Sensitivity at the lowest threshold that keeps the limit on the mean false alarms, as all higher ones do."
    )
    return Section(
        "protocols",
        "Sensitivity by protocol",
        [
            table(caption, ["Protocol and limit", *(each.name for each in scored)], rows),
            notes(undefined(scored, [path for _, path in protocol_paths(result)])),
            definition_list(meanings),
        ],
    )


def differences_section(scored: Sequence[Scored], differences: Sequence[Difference]) -> Section:
    """What differs between two models, with paired intervals."""
    labelled = [*_FIGURES[:2], *headline_paths(scored[0].result), *_FIGURES[3:]]
    parts: list[Content] = [
        element(
            "p",
            "Both models are resampled with the same patients: an interval that leaves out 0 is a difference by more "
            "than chance. p is of each figure alone; among twenty that do not differ, one falls below 0.05."
            + (f" Not here: {few}." if (few := few_patients(len(scored[0].result.patients))) else ""),
        )
    ]
    for pair in differences:
        rows = [[label, difference_text(pair.figures[path]), p_text(pair.figures[path])]
                for label, path in labelled if path in pair.figures]  # fmt: skip
        caption = f"{pair.first} less {pair.second}"
        parts.append(table(caption, ["Figure", f"Difference [{LEVEL:.0%}]", "p"], rows))
    parts.append(element("p", "Every other figure is in comparison.csv.", class_="muted"))
    return Section("differences", "Paired differences", parts)


def curves_section(plots: Mapping[str, Plot], pngs: Mapping[str, bytes]) -> Section:
    """Fig. 6 a-c."""
    figures = [picture(pngs[name], _curve_text(plot), plot.title.replace("\n", "; ")) for name, plot in plots.items()]
    note = (
        "Bands hold the interval at each point of the horizontal axis. A marker is a model's operating threshold; "
        "the dotted part is where false alarms merge as the threshold falls."
    )
    return Section("curves", "Curves", [element("p", note), element("div", *figures, class_="plots")])


def strata_section(scored: Sequence[Scored], png: bytes) -> Section:
    """Sensitivities by size, view and neighbourhood."""
    parts: list[Content] = [
        picture(png, "Bar charts of the tables below.", "Calcifications found at the operating threshold, by kind.")
    ]
    for dimension in DIMENSIONS:
        classes = [stratum for stratum in scored[0].result.strata if stratum.dimension == dimension.name]
        rows = [
            [stratum.name, f"{stratum.objects:,}", *(with_interval(each.result, stratum.path) for each in scored)]
            for stratum in classes
        ]
        header = [_STRATA_TITLES[dimension.name], "Calcifications", *(each.name for each in scored)]
        parts.append(table(f"Sensitivity by class. {dimension.sentence}", header, rows))
    return Section("strata", "By size, view and neighbourhood", parts)


def images_section(scored: Sequence[Scored]) -> Section:
    """Every image, worst first."""
    errors = [errors_by_image(each.result) for each in scored]
    worst = {image_id: max(each[image_id] for each in errors) for image_id in errors[0]}
    by_id = [{image.case.image_id: image for image in each.result.images} for each in scored]
    rows = []
    for image_id in sorted(worst, key=lambda each: (-worst[each], each))[:_MOST_IMAGES]:
        image = by_id[0][image_id]
        cells: list[Content] = [image_id, image.case.view or "-", f"{len(image.calcifications):,}"]
        for images in by_id:
            at = images[image_id].protocols[PRIMARY]
            cells += [f"{at.objects - at.detected:,}", f"{at.false_positives:,}"]
        rows.append(cells)
    header: list[Content] = ["Image", "View", "Calcifications"]
    for each in scored:
        header += [f"{each.name}: missed", f"{each.name}: false alarms"]
    left_out = len(worst) - len(rows)
    remarks = [f"{left_out:,} more images, with fewer errors, are in images.csv."] if left_out else []
    caption = "Errors at the operating threshold, under the paper's protocol; worst first."
    return Section("images", "Images", [table(caption, header, rows, numeric_from=2), notes(remarks)])


def provenance_section(scored: Sequence[Scored], context: Mapping[str, object]) -> Section:
    """Where it all comes from."""
    parts: list[Content] = []
    for title, content in (*((each.name, each.provenance) for each in scored), ("This evaluation", context)):
        parts += [element("h3", title), definition_list([(key, _value(value)) for key, value in content.items()])]
    return Section("provenance", "Provenance", parts)


def _value(value: object) -> Content:
    if isinstance(value, Mapping | list | tuple) and value:
        text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
        return element("pre", text, tabindex=0) if len(text) > 60 else element("code", json.dumps(value, default=str))
    return "none" if value is None or value in ({}, [], ()) else str(value)


def _curve_text(plot: Plot) -> str:
    lines = "; ".join(
        f"{line.name or 'the model'}: {f'undefined, {line.reason}' if line.reason else line.figure}"
        for line in plot.lines
    )
    title = plot.title.split("\n")[0]
    return f"{title}: {plot.y_label} against {plot.x_label}. {lines}."


def notes(lines: Sequence[str]) -> Markup:
    """Builds a list of remarks, or nothing."""
    return element("ul", *(element("li", line) for line in lines), class_="muted") if lines else Markup("")
