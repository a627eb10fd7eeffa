"""INbreast's tables, `INbreast.csv` and `INbreast.xls`: what the release says of its images, to check them against.

They decide nothing that goes into a record: patient, laterality and view come from the DICOM files' names, for the
tables have the word `removed` for every patient. The spreadsheet has the rows of the other and further columns.
"""

import csv
import dataclasses
import io
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import xlrd

from data_prep.datasets.files import read_small
from data_prep.errors import InputError

__all__ = ["TableRow", "read_table"]

_CSV, _SPREADSHEET = "INbreast.csv", "INbreast.xls"

_FILE, _LATERALITY, _VIEW, _BI_RADS, _MICROS = "File Name", "Laterality", "View", "Bi-Rads", "Micros"
_NEEDED = (_FILE, _LATERALITY, _VIEW, _BI_RADS)
_MARK = "X"
_MAX_BYTES = 16_000_000  # the release's have some 40,000 and 200,000
_IMAGE_ID = re.compile(r"\d{6,20}", re.ASCII)  # fewer digits are a total at the foot


@dataclasses.dataclass(frozen=True)
class TableRow:
    """What a table says of an image; texts as they stand there, without surrounding blanks.

    Attributes:
        file: The table.
        line: Line or row in it, from 1.
        laterality: "L" or "R".
        view: "CC" or "MLO".
        bi_rads: "1" to "6", of which 4 is "4a", "4b" or "4c"; 1 is normal.
        micros: Whether the spreadsheet marks microcalcifications; False where there is none.
    """

    file: str
    line: int
    laterality: str
    view: str
    bi_rads: str
    micros: bool


def read_table(data_dir: pathlib.Path) -> Mapping[str, TableRow] | None:
    """Reads INbreast.csv (UTF-8, semicolons) and INbreast.xls (BIFF) as far as they are there: a header, then rows.

    Columns may stand in any order, with others between them and with blanks around names and values; rows without an
    image's number, such as the spreadsheet's foot, are passed over.

    Returns:
        Image id -> its row, of INbreast.csv where both have one, with the spreadsheet's mark of microcalcifications;
        None where there is neither.

    Raises:
        InputError: A table breaks a rule.
    """
    tables = [
        _table(data_dir / name, read(data_dir / name))
        for name, read in ((_SPREADSHEET, _spreadsheet_rows), (_CSV, _csv_rows))
        if (data_dir / name).is_file()
    ]
    if not tables:
        return None
    merged = dict(tables[0])
    for table in tables[1:]:
        for image, row in table.items():
            marked = image in merged and merged[image].micros
            merged[image] = dataclasses.replace(row, micros=row.micros or marked)
    return merged


def _table(path: pathlib.Path, rows: Iterable[tuple[int, Sequence[str]]]) -> Mapping[str, TableRow]:
    """Makes rows of (line, cells), of which the first is the header."""
    lines = iter(rows)
    header = [name.strip() for name in next(lines, (1, []))[1]]
    places = {name: header.index(name) for name in (*_NEEDED, _MICROS) if name in header}
    if not set(_NEEDED) <= set(places):
        raise InputError(
            f"needs the columns {', '.join(_NEEDED)}, in a .csv separated by semicolons; found "
            f"{', '.join(places) or 'none of them'}",
            path,
        )
    table: dict[str, TableRow] = {}
    for line, cells in lines:
        row = {name: cells[place].strip() if place < len(cells) else "" for name, place in places.items()}
        if not _IMAGE_ID.fullmatch(row[_FILE]):
            continue  # a foot or an empty row
        if row[_FILE] in table:
            raise InputError("an image has one row; found another", f"{path} line {line}")
        table[row[_FILE]] = TableRow(
            file=path.name,
            line=line,
            laterality=row[_LATERALITY].upper(),
            view=re.sub("^ML$", "MLO", row[_VIEW].upper()),  # the files' names write ML
            bi_rads=row[_BI_RADS],
            micros=row.get(_MICROS, "").upper() == _MARK,
        )
    return table


def _csv_rows(path: pathlib.Path) -> Iterator[tuple[int, Sequence[str]]]:
    reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=";", strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise InputError(f"not a table of cells with semicolons between them ({error})", path) from None


def _spreadsheet_rows(path: pathlib.Path) -> Iterator[tuple[int, Sequence[str]]]:
    """Yields the rows of the first sheet."""
    data = read_small(path, _MAX_BYTES, "a table")
    try:
        # As ragged rows: a cell far down and far right does not fill the sheet with empty ones.
        book = xlrd.open_workbook(file_contents=data, logfile=io.StringIO(), ragged_rows=True)
        sheet = book.sheet_by_index(0)
        rows = [[_cell_text(value) for value in sheet.row_values(number)] for number in range(sheet.nrows)]
    except Exception as error:  # xlrd raises whatever a damaged file leads to
        raise InputError(f"not a readable spreadsheet of Excel 97 to 2003 ({type(error).__name__})", path) from None
    yield from enumerate(rows, start=1)


def _cell_text(value: object) -> str:
    """Returns a cell as a person sees it: a spreadsheet keeps every number as a float, an image's too."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _text(path: pathlib.Path) -> str:
    data = read_small(path, _MAX_BYTES, "a table")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("a table must be in UTF-8", path) from None
