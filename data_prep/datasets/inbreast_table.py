"""INbreast's table, `INbreast.csv`: what the release says of its images, to check the files against.

It decides nothing that goes into a record: patient, laterality and view come from the DICOM files' names, for the table
has the word `removed` for every patient. `INbreast.xls` has the same rows with further columns that nothing here needs.
"""

import csv
import dataclasses
import io
import pathlib
import re
from collections.abc import Mapping

from data_prep.datasets.files import read_small
from data_prep.errors import InputError

__all__ = ["TABLE", "TableRow", "read_table"]

TABLE = "INbreast.csv"
_SPREADSHEET = "INbreast.xls"

_FILE, _LATERALITY, _VIEW, _BI_RADS = "File Name", "Laterality", "View", "Bi-Rads"
_MAX_BYTES = 16_000_000  # the release's has some 40,000
_IMAGE_ID = re.compile(r"\d{1,20}", re.ASCII)


@dataclasses.dataclass(frozen=True)
class TableRow:
    """What the table says of an image; texts as they stand there, without surrounding blanks.

    Attributes:
        line: Line in the table.
        laterality: "L" or "R".
        view: "CC" or "MLO".
        bi_rads: "1" to "6", of which 4 is "4a", "4b" or "4c"; 1 is normal.
    """

    line: int
    laterality: str
    view: str
    bi_rads: str


def read_table(data_dir: pathlib.Path) -> Mapping[str, TableRow] | None:
    """Reads `<data_dir>/INbreast.csv`: UTF-8, semicolons, a header, rows without an image's number at its foot.

    Columns may stand in any order, with others between them and with blanks around names and values.

    Returns:
        Image id -> its row; None where there is no table.

    Raises:
        InputError: The table breaks a rule, or there is INbreast.xls alone.
    """
    path = data_dir / TABLE
    if not path.is_file():
        if (data_dir / _SPREADSHEET).is_file():
            raise InputError(
                f"the spreadsheet cannot be read: save it as {TABLE} with semicolons between the cells, or take it "
                f"away to convert without a table to check the files against",
                data_dir / _SPREADSHEET,
            )
        return None
    reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=";", strict=True)
    table: dict[str, TableRow] = {}
    try:
        header = [name.strip() for name in next(reader, [])]
        places = {name: header.index(name) for name in (_FILE, _LATERALITY, _VIEW, _BI_RADS) if name in header}
        if len(places) < 4:
            raise InputError(
                f"needs the columns {_FILE}, {_LATERALITY}, {_VIEW} and {_BI_RADS}, separated by semicolons; found "
                f"{', '.join(places) or 'none of them'}",
                path,
            )
        for cells in reader:
            row = {name: cells[place].strip() if place < len(cells) else "" for name, place in places.items()}
            if _IMAGE_ID.fullmatch(row[_FILE]):  # else a foot or an empty row
                if row[_FILE] in table:
                    raise InputError("an image has one row; found another", f"{path} line {reader.line_num}")
                view = re.sub("^ML$", "MLO", row[_VIEW].upper())  # the files' names write ML
                table[row[_FILE]] = TableRow(reader.line_num, row[_LATERALITY].upper(), view, row[_BI_RADS])
    except csv.Error as error:
        raise InputError(f"not a table of cells with semicolons between them ({error})", path) from None
    return table


def _text(path: pathlib.Path) -> str:
    data = read_small(path, _MAX_BYTES, "a table")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("a table must be in UTF-8", path) from None
