"""Several data sets in one run: a row for each pair of data set and model, as in the paper's Fig. 6d, and a page."""

import dataclasses
import io
import pathlib
from collections.abc import Sequence
from urllib.parse import quote

from calcseg_tf.evaluation.comparison import (
    AUC,
    AVERAGE_PRECISION,
    PIXEL_HEADER,
    Scored,
    aligned,
    pixel_rows,
    undefined,
)
from calcseg_tf.evaluation.definitions import definition_of, definitions
from calcseg_tf.evaluation.page import Section, render_page
from calcseg_tf.evaluation.report import DATA_SETS_TABLE, PAGE_FILE, Report, remove_old
from calcseg_tf.evaluation.sections import (
    caution_notices,
    curves_section,
    intervals_told,
    notes,
    patients_caution,
    what_was_counted,
)
from calcseg_tf.html import Content, element, table
from calcseg_tf.html import definitions as definition_list
from data_prep.atomic import write_text
from data_prep.tables import write_table

__all__ = ["DataSetReport", "overview_table", "write_overview"]

_HEADER = ("figure", "data_set", "model", "value", "low", "high", "samples", "reason")


@dataclasses.dataclass(frozen=True, eq=False)
class DataSetReport:
    """What is told of one data set beside others; holds neither its images nor their components.

    Attributes:
        name: Unique, and the name of its folder.
        pixel_rows: As `comparison.pixel_rows` has them.
        figures: Rows of the table of all: every figure of every model.
        meanings: What AUC and average precision are.
        brackets: What the intervals are.
        content: What was counted, what is undefined, cautions, and Fig. 6 a-c, for the page.
    """

    name: str
    pixel_rows: tuple[tuple[str, ...], ...]
    figures: tuple[tuple[object, ...], ...]
    meanings: tuple[tuple[str, str], ...]
    brackets: str
    content: Content

    @classmethod
    def of(cls, name: str, scored: Sequence[Scored], report: Report) -> "DataSetReport":
        """Takes it from what was scored and written."""
        result = scored[0].result
        sentences = definitions(result.threshold_figures, result.protocols, result.connectivity)
        page = element("a", "All of this data set", href=f"{quote(name)}/{PAGE_FILE}")
        labels = {"Pixel ROC AUC": AUC, "Pixel average precision": AVERAGE_PRECISION}
        return cls(
            name=name,
            pixel_rows=tuple(pixel_rows(name, scored)),
            figures=tuple(
                (path, name, each.name, figure.value, interval.low, interval.high, interval.samples,
                 figure.reason or interval.reason)
                for each in scored
                for path, figure in each.result.figures.items()
                for interval in [each.result.intervals[path]]
            ),
            meanings=tuple((label, definition_of(path, sentences) or "") for label, path in labels.items()),
            brackets=intervals_told(result),
            content=[
                element("p", f"{what_was_counted(result)}{patients_caution(result)}"),
                element("p", page, " is on a page of its own."),
                *caution_notices(scored),
                notes(undefined(scored, labels.values())),
                curves_section(report.plots, report.pngs).content,
            ],
        )  # fmt: skip


def overview_table(reports: Sequence[DataSetReport]) -> str:
    """Returns what is printed: the paper's Fig. 6d."""
    return aligned([PIXEL_HEADER, *(row for report in reports for row in report.pixel_rows)])


def write_overview(reports: Sequence[DataSetReport], output_dir: pathlib.Path, title: str) -> None:
    """Writes the table and the page of all data sets into a folder, beside the folders of each.

    Args:
        reports: At least two, of the same models.
        output_dir: Made if it does not exist; other files in it are left alone.
        title: Of the page.
    """
    remove_old(output_dir)
    text = io.StringIO()
    write_table(text, _HEADER, (row for report in reports for row in report.figures))
    write_text(output_dir / DATA_SETS_TABLE, text.getvalue())
    figures = Section(
        "figures",
        "Figures",
        [
            table(
                "Every model on every data set, with intervals.",
                [cell[0].upper() + cell[1:] for cell in PIXEL_HEADER],
                [row for report in reports for row in report.pixel_rows],
                numeric_from=2,
            ),
            element("p", f"Every other figure of every model and data set is in {DATA_SETS_TABLE}.", class_="muted"),
            definition_list(reports[0].meanings),
        ],
    )
    sections = [Section(f"set-{number}", report.name, report.content) for number, report in enumerate(reports, 1)]
    write_text(output_dir / PAGE_FILE, render_page(title, element("p", reports[0].brackets), [figures, *sections]))
