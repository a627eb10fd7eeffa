"""Tables of comma-separated values in which no text is a formula."""

import csv
import re
from collections.abc import Iterable, Sequence
from typing import TextIO

__all__ = ["write_table"]

# With these a spreadsheet begins a formula, which may start a program (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t")
# Where the decimal sign is a comma, spreadsheets begin a cell behind each semicolon.
_FORMULA_BEHIND_SEMICOLON = re.compile(r";(?=[=+\-@\t])")


def write_table(file: TextIO, header: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Writes a header and rows: lines end in LF, a cell without a value (None, NaN) is empty.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, as names of files or images may
    begin with anything; numbers stay as they are. A carriage return becomes a blank.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(map(_cell, row) for row in rows)


def _cell(value: object) -> object:
    if isinstance(value, str):
        text = value.replace("\r", " ")  # Python's writer leaves it unquoted, and readers take it for the end of a row
        text = _FORMULA_BEHIND_SEMICOLON.sub(";'", text)
        return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text
    return "" if value is None or value != value else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
