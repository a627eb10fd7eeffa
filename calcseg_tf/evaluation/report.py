"""Writes everything that one or several evaluations come to: figures, tables, pictures, comparison and page."""

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence

from calcseg_tf.evaluation.comparison import (
    Difference,
    Scored,
    build_comparison,
    compare,
    comparison_csv,
    errors_by_image,
)
from calcseg_tf.evaluation.crops import CROP_PX, png_of
from calcseg_tf.evaluation.evaluation_result import PRIMARY, EvaluationResult
from calcseg_tf.evaluation.finds import Find, disputed_images, strongest_false_alarms, worst_misses
from calcseg_tf.evaluation.line_plots import Plot
from calcseg_tf.evaluation.page import Section, render_page
from calcseg_tf.evaluation.pictures import Look, Pictures, draw_pictures, draw_sheet, wanted_images
from calcseg_tf.evaluation.plots import STRATA_PLOT, curve_plots, plot_all
from calcseg_tf.evaluation.results import METRICS_FILE, PARTIAL_PREFIX, remove_results, write_results
from calcseg_tf.evaluation.sections import (
    curves_section,
    differences_section,
    figures_section,
    images_section,
    lead,
    protocols_section,
    provenance_section,
    strata_section,
)
from calcseg_tf.html import Content, element, picture
from data_prep.atomic import temporary_beside, write_json, write_text
from data_prep.schema import Record

__all__ = ["COMPARISON_FILE", "DATA_SETS_TABLE", "PAGE_FILE", "Report", "remove_old", "write_report"]

PAGE_FILE = "evaluation.html"
COMPARISON_FILE = "comparison.json"
DATA_SETS_TABLE = "data_sets.csv"
_COMPARISON_TABLE = "comparison.csv"

_MOST_EXAMPLES = 4
_MOST_FINDS = 12

_MISSES, _FALSE_ALARMS = "worst_misses", "strongest_false_alarms"
_KINDS = {
    _MISSES: "Worst misses: annotated calcifications with the lowest probability",
    _FALSE_ALARMS: "Strongest false alarms: predicted where nothing is annotated, with the highest probability",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """What was written.

    Attributes:
        differences: Every two models compared.
        plots: The curves, by the name of the file.
        pngs: Their files.
    """

    differences: list[Difference]
    plots: Mapping[str, Plot]
    pngs: Mapping[str, bytes]


def write_report(
    scored: Sequence[Scored],
    records: Callable[[frozenset[str]], Iterable[Record]],
    output_dir: pathlib.Path,
    title: str,
    context: Mapping[str, object],
) -> Report:
    """Writes a folder; one that holds evaluation.html holds all of it.

    One model's results lie in the folder itself. Several models' tables lie in folders of their names; above them are
    the comparison and the curves, on common axes.

    Args:
        scored: At least one, of the same images.
        records: Gives the records of these ids again, for their pixels.
        output_dir: Made if it does not exist; other files in it are left alone.
        title: Of the page.
        context: What was evaluated and how, without paths; for metrics.json and the page.

    Raises:
        InputError: The folder cannot be made, a shard or a map changed meanwhile.
    """
    remove_old(output_dir)
    several = len(scored) > 1
    differences = compare(scored)
    for each in scored:
        folder = output_dir / each.name if several else output_dir
        write_results(
            each.result, folder, {**context, **each.provenance, "operating_threshold_rule": each.threshold_rule}
        )
    results = {each.name if several else "": each.result for each in scored}
    if several:
        _write_plots(results, output_dir)
        write_text(output_dir / _COMPARISON_TABLE, comparison_csv(scored, differences))
    looks = [_look(each) for each in scored]
    examples = _examples(scored)
    pictures = draw_pictures(records(wanted_images(looks, examples)), looks, examples)
    _write_pictures(pictures, looks, output_dir, several)
    plots = curve_plots(results)
    pngs = {name: (output_dir / f"{name}.png").read_bytes() for name in plots}
    sections = [
        figures_section(scored),
        *([differences_section(scored, differences)] if several else []),
        protocols_section(scored),
        curves_section(plots, pngs),
        strata_section(scored, (output_dir / f"{STRATA_PLOT}.png").read_bytes()),
        _examples_section(pictures, examples, several),
        *(_finds_section(kind, looks, pictures, several) for kind in _KINDS),
        images_section(scored),
        provenance_section(scored, context),
    ]
    if several:
        write_json(output_dir / COMPARISON_FILE, build_comparison(scored, differences, context))
    write_text(output_dir / PAGE_FILE, render_page(title, lead(scored), sections))
    return Report(differences, plots, pngs)


def remove_old(output_dir: pathlib.Path) -> None:
    """Removes an earlier evaluation from a folder, the page first; folders of its models stay."""
    evaluated = any((output_dir / name).exists() for name in (PAGE_FILE, METRICS_FILE, COMPARISON_FILE))
    sheets = [f"{kind}.png" for kind in _KINDS]
    for pattern in (PAGE_FILE, COMPARISON_FILE, _COMPARISON_TABLE, DATA_SETS_TABLE, "example_*.p??", *sheets):
        for file in output_dir.glob(pattern):
            file.unlink()
    if evaluated:
        remove_results(output_dir)


def _write_plots(results: Mapping[str, EvaluationResult], output_dir: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory(prefix=PARTIAL_PREFIX, dir=output_dir) as folder:
        plot_all(results, pathlib.Path(folder))
        for file in sorted(pathlib.Path(folder).iterdir()):
            os.replace(file, output_dir / file.name)


def _look(scored: Scored) -> Look:
    result = scored.result
    finds = {
        _MISSES: worst_misses(
            {image.case.image_id: image.calcifications for image in result.images}, result.code, _MOST_FINDS
        ),
        _FALSE_ALARMS: strongest_false_alarms(
            {image.case.image_id: image.candidates for image in result.images}, _MOST_FINDS
        ),
    }
    return Look(scored.name, scored.maps, result.code, finds)


def _examples(scored: Sequence[Scored]) -> dict[str, str]:
    """Returns the title of every mammogram that is drawn whole, by its id."""
    chosen = disputed_images([errors_by_image(each.result) for each in scored], _MOST_EXAMPLES)
    by_id = [{image.case.image_id: image.protocols[PRIMARY] for image in each.result.images} for each in scored]
    return {
        image_id: f"{image_id}: " + "; ".join(
            f"{each.name} misses {at.objects - at.detected} of {at.objects}, {at.false_positives} false alarms"
            for each, images in zip(scored, by_id, strict=True) for at in [images[image_id]]
        )
        for image_id in chosen
    }  # fmt: skip


def _write_pictures(pictures: Pictures, looks: Sequence[Look], output_dir: pathlib.Path, several: bool) -> None:
    for number, example in enumerate(pictures.examples, 1):
        _write_bytes(output_dir / f"example_{number}.png", example.png)
        _write_bytes(output_dir / f"example_{number}.pdf", example.pdf)
    for look in looks:
        for kind, finds in look.finds.items():
            title = f"{look.name}: {_KINDS[kind].split(':')[0].lower()}"
            folder = output_dir / look.name if several else output_dir
            _write_bytes(folder / f"{kind}.png", draw_sheet(finds, pictures.crops[look.name, kind], title))


def _write_bytes(path: pathlib.Path, content: bytes) -> None:
    with temporary_beside(path) as temporary:
        temporary.write_bytes(content)


def _examples_section(pictures: Pictures, examples: Mapping[str, str], several: bool) -> Section:
    figures = [
        element("div", picture(each.png, _example_text(examples[each.image_id], several), examples[each.image_id]),
                class_="wide strip", tabindex=0, role="region", aria_label=f"Mammogram {each.image_id}")
        for each in pictures.examples
    ]  # fmt: skip
    rule = (
        "The mammograms on which the models differ most in the number of errors at their operating thresholds, each at "
        "the window in which their predictions differ in the most pixels of the breast."
        if several
        else "The mammograms with the most errors at the operating threshold, each at the window in which the "
        "prediction differs from the annotation in the most pixels of the breast."
    )
    nothing = [] if figures else [element("p", "No mammogram has an error.")]
    return Section("examples", "Mammograms to look at", [element("p", rule), *nothing, *figures])


def _example_text(title: str, several: bool) -> str:
    maps = "the maps of the models" if several else "the model's map"
    return f"{title}. From left to right: the mammogram, a window of it nine times enlarged, the annotation, {maps}."


def _finds_section(kind: str, looks: Sequence[Look], pictures: Pictures, several: bool) -> Section:
    title, rule = _KINDS[kind].split(": ")
    key = f"{CROP_PX} x {CROP_PX} px around each. Blue line: annotation; orange line: prediction."
    parts: list[Content] = [element("p", f"{rule[0].upper()}{rule[1:]}; at most {_MOST_FINDS}. {key}")]
    for look in looks:
        finds = look.finds[kind]
        if several:
            parts.append(element("h3", look.name))
        items = [
            element("li", picture(png_of(crop), f"Crop of mammogram {find.image_id}", _told(find)))
            for find, crop in zip(finds, pictures.crops[look.name, kind], strict=True)
        ]
        parts.append(element("ol", *items, class_="crops") if items else element("p", "None."))
    return Section(kind, title, parts)


def _told(find: Find) -> Content:
    place = f"row {find.row:.0f}, column {find.column:.0f}; {find.area_px:,} px; probability {find.probability:.4f}"
    return [element("strong", find.image_id), " ", place]
