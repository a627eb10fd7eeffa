"""What a description of records says: the tables on the screen, and the same and more as CSV."""

import dataclasses
import io
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence

from data_prep.command import DISCLAIMER
from data_prep.description.figures import (
    TOGETHER,
    TRUNCATED_PX,
    Description,
    Figures,
    ImageFigures,
    Intensities,
    Spread,
    size_histogram,
    size_labels,
)
from data_prep.description.split_difference import (
    MIN_UNITS,
    Difference,
    difference_rule,
    drawn_units,
    split_differences,
)
from data_prep.mammogram import View
from data_prep.split import SplitBy
from data_prep.tables import write_table

__all__ = ["Findings", "calcifications_csv", "description_csv", "findings", "images_csv", "report_lines", "table_1"]

_UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a description warns of.

    Attributes:
        differences: Every comparison of the splits.
        warnings: One sentence each.
        comparison: One sentence on whether the splits differ much.
    """

    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]
    comparison: str


def findings(description: Description) -> Findings:
    """Compares the splits and looks for what makes them unusable."""
    train, test = description.splits
    together = description.together
    warnings = []
    for figures in description.splits:
        if not figures.images:
            warnings.append(f"the {figures.name} split is empty")
        elif not figures.areas_px:
            warnings.append(f"the {figures.name} split has no calcification")
    if shared := train.patients + test.patients - together.patients:
        warnings.append(f"patients with images in both splits: {shared}; scores on test are optimistic")
    by_patient = description.manifest.split_by != SplitBy.IMAGE.value
    differences = split_differences(together.images, by_patient) if train.images and test.images else ()
    large = [each for each in differences if each.large]
    warnings.extend(
        f"the splits differ much in {each.respect}: distance {each.distance:.2f}, p = {each.p_value:.4f}"
        for each in large
    )
    units = len(set(drawn_units(together.images, by_patient)))
    if large:
        comparison = f"The splits differ much in {len(large)} of {len(differences)} respects."
    elif units < MIN_UNITS:
        what = "patients" if by_patient else "images"
        comparison = f"Too few {what} to tell whether the splits differ by more than chance: {units} of {MIN_UNITS}."
    else:
        comparison = "The splits do not differ much."
    return Findings(differences, tuple(warnings), comparison)


def table_1(description: Description) -> list[list[str]]:
    """Returns the paper's Table 1, header first: a row a split and one for both together."""
    header = ["Table 1", "images", "patients", "CC", "MLO", "other views", "image sizes (rows x columns)"]
    return [header, *(_table_1_row(figures) for figures in description.columns)]


def report_lines(description: Description, found: Findings) -> list[str]:
    """Returns what is told on the screen."""
    manifest = description.manifest
    return [
        f"Data set {manifest.data_set}, split by {manifest.split_by}; {len(manifest.rejected)} files were rejected",
        "",
        *_aligned(table_1(description)),
        "",
        *_aligned(_figures_table(description)),
        "",
        *(f"warning: {warning}" for warning in found.warnings),
        found.comparison,
        *textwrap.wrap(difference_rule(), 120),
    ]


def description_csv(description: Description, found: Findings) -> str:
    """Returns describe.csv: one row a number, with the columns split, figure, category, statistic, value, unit."""
    rows: list[Sequence[object]] = [(TOGETHER, "disclaimer", "", "text", DISCLAIMER, "")]
    for figures in description.columns:
        rows.extend((figures.name, *row) for row in _rows(figures))
    for each in found.differences:
        rows.append((TOGETHER, "split_difference", each.respect, "distance", each.distance, ""))
        rows.append((TOGETHER, "split_difference", each.respect, "p_value", each.p_value, ""))
    rows.append((TOGETHER, "split_difference", "", "rule", difference_rule(), ""))
    rows.append((TOGETHER, "split_difference", "", "result", found.comparison, ""))
    rows.extend((TOGETHER, "warning", "", "text", warning, "") for warning in found.warnings)
    return _csv(("split", "figure", "category", "statistic", "value", "unit"), rows)


def images_csv(description: Description) -> str:
    """Returns images.csv: one row an image, for programs; an empty cell is unknown."""
    header = (
        "image_id", "patient_id", "split", "laterality", "view", "height", "width", "bits_stored", "row_spacing_mm",
        "column_spacing_mm", "spacing_source", "calcifications", "calcified_px", "ignored_px", "breast_px",
        "breast_mean_intensity",
    )  # fmt: skip
    return _csv(header, (
        (image.image_id, image.patient_id, image.split, image.laterality, image.view, image.height, image.width,
         image.bits_stored, *(image.pixel_spacing_mm or (None, None)), image.pixel_spacing_source, len(image.areas_px),
         sum(image.areas_px), image.ignored_px, image.tissue_px, image.tissue_intensity)
        for image in description.together.images
    ))  # fmt: skip


def calcifications_csv(description: Description) -> str:
    """Returns calcifications.csv: one row a calcification, for programs; an empty cell is unknown."""
    rows: list[tuple[object, ...]] = []
    for image in description.together.images:
        areas_mm2 = image.areas_mm2 or [None] * len(image.areas_px)
        rows.extend((image.image_id, image.split, *areas) for areas in zip(image.areas_px, areas_mm2, strict=True))
    return _csv(("image_id", "split", "area_px", "area_mm2"), rows)


def _table_1_row(figures: Figures) -> list[str]:
    patients = str(figures.patients)
    if figures.without_patient:
        patients = f"{patients} and {figures.without_patient} unnamed images" if figures.patients else _UNKNOWN
    views = figures.views("CC"), figures.views("MLO"), figures.other_views
    sizes = list(figures.tally(lambda image: image.size))
    # The paper names four; of digitised film, nearly every image has its own.
    more = f", and {len(sizes) - 4} more" if len(sizes) > 4 else ""
    return [figures.name, str(len(figures.images)), patients, *map(str, views), ", ".join(sizes[:4]) + more]


def _figures_table(description: Description) -> list[list[str]]:
    columns = description.columns

    def row(name: str, cell: Callable[[Figures], str]) -> list[str]:
        return [name, *map(cell, columns)]

    def tally(form: str, trait: Callable[[ImageFigures], str]) -> list[list[str]]:
        """A row a value; the six commonest, for of digitised film each image may have its own."""
        tallies = [figures.tally(trait) for figures in columns]
        return [[form.format(name), *(str(each.get(name, 0)) for each in tallies)] for name in list(tallies[-1])[:6]]

    def area(source: str) -> list[str]:
        return row(f"area in mm2 by {_short(source)}: mean, SD", lambda f: _area(f.areas_mm2.get(source, ())))

    return [
        row("", lambda f: f.name),
        row("calcifications", lambda f: f"{len(f.areas_px):,}"),
        row("images with any", lambda f: _share(f.images_with_calcifications, len(f.images))),
        row("per image: mean, median, most", lambda f: _mean_median_most(_per_image(f))),
        row("size in pixels: mean, median, most", lambda f: _mean_median_most(Spread.of(f.areas_px))),
        row("below 10 px", lambda f: _share(sum(area < 10 for area in f.areas_px), len(f.areas_px))),
        row(
            f"{TRUNCATED_PX} px or more",
            lambda f: _share(sum(area >= TRUNCATED_PX for area in f.areas_px), len(f.areas_px)),
        ),
        *(area(source) for source in description.together.areas_mm2),
        *tally("images of pixel spacing {}", lambda i: i.spacing + " mm" * (i.pixel_spacing_mm is not None)),
        *tally("images whose spacing is from {}", lambda image: _short(image.pixel_spacing_source)),
        row("background pixels to one calcified", lambda f: _number(f.negatives_per_positive, ",.0f")),
        row("ignored pixels", lambda f: _share(f.ignored_px, f.pixels)),
        row("images with any ignored", lambda f: _share(f.images_with_ignored, len(f.images))),
        *tally("images of {}", lambda image: f"{image.bits_stored} bits, full scale {(1 << image.bits_stored) - 1}"),
        row("intensity, all pixels: least, mean, most", lambda f: _range(f.all_pixels, (0, None, 100))),
        row("intensity, breast: 1 %, mean, 99 %", lambda f: _range(f.tissue, (1, None, 99))),
    ]


def _rows(figures: Figures) -> Iterator[tuple[str, str, str, object, str]]:
    """Yields (figure, category, statistic, value, unit); quantities that are undefined have an empty value."""
    yield "images", "", "count", len(figures.images), "images"
    yield "images", "with calcifications", "count", figures.images_with_calcifications, "images"
    yield "images", "with ignored pixels", "count", figures.images_with_ignored, "images"
    yield "images", "of unknown patients", "count", figures.without_patient, "images"
    yield "patients", "", "count", figures.patients, "patients"
    for view in View:
        if view in (View.CC, View.MLO) or figures.views(view.value):
            yield "view", view.value or _UNKNOWN, "count", figures.views(view.value), "images"
    for name, tally in (
        ("laterality", figures.tally(lambda image: image.laterality or _UNKNOWN)),
        ("image_size", figures.tally(lambda image: image.size)),
        ("bits_stored", figures.tally(lambda image: str(image.bits_stored))),
        ("full_scale", figures.tally(lambda image: str((1 << image.bits_stored) - 1))),
        ("pixel_spacing_mm", figures.tally(lambda image: image.spacing)),
        ("pixel_spacing_source", figures.tally(lambda image: image.pixel_spacing_source)),
    ):
        for category, count in tally.items():
            yield name, category, "count", count, "images"
    yield "calcifications", "", "count", len(figures.areas_px), "calcifications"
    yield from _spread("calcifications_per_image", "", _per_image(figures), "calcifications")
    yield from _spread("calcification_size", "", Spread.of(figures.areas_px), "px")
    for source, areas in figures.areas_mm2.items():
        yield from _spread("calcification_area", source, Spread.of(areas), "mm2")
    for label, count in zip(size_labels(), size_histogram(figures.areas_px).tolist(), strict=True):
        yield "calcification_size_histogram", f"{label} px", "count", count, "calcifications"
    yield "pixels", "", "count", figures.pixels, "px"
    yield "pixels", "calcified", "count", sum(figures.areas_px), "px"
    yield "pixels", "ignored", "count", figures.ignored_px, "px"
    yield "pixels", "ignored", "share", figures.ignored_px / figures.pixels if figures.pixels else None, ""
    yield "pixels", "background to one calcified", "ratio", figures.negatives_per_positive, ""
    yield "pixels", "breast", "count", figures.tissue.pixels, "px"
    for category, intensities in (("all pixels", figures.all_pixels), ("breast", figures.tissue)):
        yield "intensity", category, "mean", intensities.mean, "of full scale"
        for statistic, percent in (("minimum", 0), ("percentile 1", 1), ("percentile 99", 99), ("maximum", 100)):
            yield "intensity", category, statistic, intensities.percentile(percent), "of full scale"


def _spread(
    figure: str, category: str, spread: Spread | None, unit: str
) -> Iterator[tuple[str, str, str, object, str]]:
    for field in dataclasses.fields(Spread)[1:]:
        yield figure, category, field.name, None if spread is None else getattr(spread, field.name), unit


def _per_image(figures: Figures) -> Spread | None:
    return Spread.of(len(image.areas_px) for image in figures.images)


def _mean_median_most(spread: Spread | None) -> str:
    return "-" if spread is None else f"{spread.mean:.1f}, {spread.median:g}, {spread.maximum:g}"


def _area(areas_mm2: Sequence[float]) -> str:
    spread = Spread.of(areas_mm2)
    if spread is None:
        return "-"
    return f"{spread.mean:.3f}, {_number(spread.standard_deviation, '.3f')}"


def _range(intensities: Intensities, percents: Iterable[float | None]) -> str:
    values = [intensities.mean if percent is None else intensities.percentile(percent) for percent in percents]
    return ", ".join(_number(value, ".3f") for value in values)


def _share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.2%})" if total else "-"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _short(source: str) -> str:
    """Returns the name of a spacing's source without its tag; describe.csv has it in full."""
    return source.split(" (")[0]


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    write_table(buffer, header, rows)
    return buffer.getvalue()
