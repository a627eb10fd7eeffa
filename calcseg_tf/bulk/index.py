"""predictions.csv: one row an image of the run, there whole or not at all."""

import io
import pathlib
from collections.abc import Iterable

from calcseg_tf.prediction import Outcome, Status
from data_prep.atomic import write_text
from data_prep.command import DISCLAIMER_COLUMN
from data_prep.tables import write_table

__all__ = ["INDEX_COLUMNS", "INDEX_FILE", "write_index"]

INDEX_FILE = "predictions.csv"
INDEX_COLUMNS = ("input", "result", "status", "reason", "count", "seconds", "megapixels", "notes", DISCLAIMER_COLUMN)


def write_index(output_dir: pathlib.Path, outcomes: Iterable[Outcome]) -> None:
    """Writes one row an image in order of its name, replacing an older index in one step.

    Cells: the image's place below what was predicted; the folder of its result below `output_dir`; "predicted", "kept"
    from an earlier run, or "failed"; why it failed; calcifications; seconds spent in this run; megapixels; notes.
    A cell without a value is empty; `write_table` says what becomes of a name that looks like a formula.
    """
    text = io.StringIO(newline="")
    rows = []
    for outcome in sorted(outcomes, key=lambda outcome: outcome.job.name):
        failed = outcome.status is Status.FAILED
        rows.append([
            outcome.job.name,
            "" if failed else outcome.job.result.relative_to(output_dir).as_posix(),
            outcome.status.value,
            outcome.reason,
            outcome.count,
            None if outcome.seconds is None else f"{outcome.seconds:.2f}",
            None if outcome.megapixels is None else f"{outcome.megapixels:.3f}",
            "; ".join(outcome.notes),
            None,
        ])  # fmt: skip
    write_table(text, INDEX_COLUMNS, rows)
    write_text(output_dir / INDEX_FILE, text.getvalue())
