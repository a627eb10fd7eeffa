"""The optional table `cases.csv` of a folder data set: what the files themselves do not say, or say wrongly."""

import csv
import difflib
import pathlib
from collections.abc import Mapping

from data_prep.datasets.case import Overrides
from data_prep.dicom.terms import is_spacing_mm
from data_prep.errors import InputError
from data_prep.mammogram import Laterality, View
from data_prep.schema import SPLITS

__all__ = ["CASES_CSV", "read_cases_csv"]

CASES_CSV = "cases.csv"
_FILE = "file"
_COLUMNS = (_FILE, "patient", "laterality", "view", "pixel_spacing_mm", "split")
_LATERALITIES = {
    "": None,
    "L": Laterality.LEFT,
    "LEFT": Laterality.LEFT,
    "R": Laterality.RIGHT,
    "RIGHT": Laterality.RIGHT,
}


def read_cases_csv(data_dir: pathlib.Path) -> Mapping[str, tuple[int, Overrides]]:
    """Reads `<data_dir>/cases.csv`: UTF-8, commas, a header with `file` and any of the other columns in any order.

    `file` is relative to the data directory, `pixel_spacing_mm` one length in mm or "row;column", `split` the side that
    the image's patient is on, "train" or "test". An empty cell leaves what the DICOM header says, or the side open.

    Returns:
        file -> (line in the table, overrides); empty where there is no table.

    Raises:
        InputError: The table, a column, or a cell breaks a rule; names the line but quotes no cell, which may name a
            patient where columns were mixed up.
    """
    path = data_dir / CASES_CSV
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_columns(header, path)
            table: dict[str, tuple[int, Overrides]] = {}
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    _add_row(table, header, cells, reader.line_num, f"{path} line {reader.line_num}")
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"not a table of comma-separated values in UTF-8 ({error})", path) from None
    return table


def _check_columns(header: list[str], path: pathlib.Path) -> None:
    for number, name in enumerate(header, start=1):
        if name not in _COLUMNS:
            near = difflib.get_close_matches(name.lower(), _COLUMNS, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            # In a table without a header this is a patient's row.
            raise InputError(f"a column is one of {', '.join(_COLUMNS)}; column {number} is none{hint}", path)
    if _FILE not in header or len(set(header)) != len(header):
        raise InputError(f"needs the column {_FILE!r} and no column twice; found {', '.join(header) or 'none'}", path)


def _add_row(
    table: dict[str, tuple[int, Overrides]], header: list[str], cells: list[str], line: int, where: str
) -> None:
    if len(cells) != len(header):
        raise InputError(f"a row has {len(header)} cells; found {len(cells)}", where)
    row = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    file = pathlib.PurePosixPath(row[_FILE].replace("\\", "/")).as_posix()
    if not row[_FILE] or file in table:
        raise InputError(f"{_FILE} must name an image, and each only once", where)
    laterality, view = row.get("laterality", "").upper(), row.get("view", "").upper()
    if laterality not in _LATERALITIES:
        raise InputError("laterality must be L or R, or empty", where)
    if view not in View._value2member_map_:
        raise InputError(f"view must be one of {', '.join(v.value for v in View if v.value)}, or empty", where)
    split = row.get("split", "").lower()
    if split and split not in SPLITS:
        raise InputError(f"split must be {' or '.join(SPLITS)}, or empty", where)
    table[file] = (
        line,
        Overrides(
            patient=row.get("patient") or None,
            laterality=_LATERALITIES[laterality],
            view=View(view) if view else None,
            pixel_spacing_mm=_spacing(row.get("pixel_spacing_mm", ""), where),
            split=split or None,
        ),
    )


def _spacing(text: str, where: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        lengths = [float(part) for part in text.split(";")]
    except ValueError:
        lengths = []
    if len(lengths) not in (1, 2) or not all(map(is_spacing_mm, lengths)):
        raise InputError("pixel_spacing_mm must be a length of 0.001 to 10 or row;column, or empty", where)
    return lengths[0], lengths[-1]
