"""The tables of CBIS-DDSM: one row an abnormality, which names an image, its patient and the DICOM series to join.

Only the tables of calcifications are read. The mass tables name images whose calcifications nobody has drawn:
converted, they would teach that there are none.
"""

import contextlib
import csv
import dataclasses
import difflib
import pathlib
import re
from collections.abc import Iterable, Sequence

from data_prep.errors import InputError
from data_prep.mammogram import Laterality, View

__all__ = ["TABLES", "BadRow", "Row", "Tables", "read_tables"]

# File name -> what the data set's own image names begin with.
TABLES = {
    "calc_case_description_train_set.csv": "Calc-Training",
    "calc_case_description_test_set.csv": "Calc-Test",
}

_PATIENT, _BREAST, _VIEW, _TYPE = "patient id", "left or right breast", "image view", "abnormality type"
_IMAGE, _CROP, _MASK = "image file path", "cropped image file path", "roi mask file path"
_COLUMNS = (_PATIENT, _BREAST, _VIEW, _TYPE, _IMAGE, _CROP, _MASK)

_LATERALITIES = {"LEFT": Laterality.LEFT, "RIGHT": Laterality.RIGHT}
_VIEWS = {"CC": View.CC, "MLO": View.MLO}
_PATIENT_ID = re.compile(r"P_\d+")
_UID = re.compile(r"\d+(?:\.\d+){4,}")
_MAX_BYTES = 1 << 26  # the published tables have less than a million


@dataclasses.dataclass(frozen=True)
class Row:
    """One abnormality of one image.

    Attributes:
        place: Table, relative to the data directory, and line, for messages.
        image: The image's name in the data set, such as "Calc-Training_P_00005_RIGHT_CC".
        patient: Such as "P_00005".
        laterality: Which breast.
        view: Which projection.
        image_series: Series Instance UID (0020,000E) of the full mammogram.
        mask_series: Those of the cropped image and of the mask: most often one and the same.
    """

    place: str
    image: str
    patient: str
    laterality: Laterality
    view: View
    image_series: str
    mask_series: frozenset[str]


@dataclasses.dataclass(frozen=True)
class BadRow:
    """A row that breaks a rule.

    Attributes:
        place: As in `Row`.
        rule: The rule it breaks; quotes no cell, which may name a patient where columns are mixed up.
        names: Every UID in it, and its image's name where that can be told: an image among them has an abnormality
            that nobody can locate.
    """

    place: str
    rule: str
    names: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Tables:
    """The rows of all tables, in order."""

    rows: tuple[Row, ...]
    bad: tuple[BadRow, ...]


def read_tables(files: Iterable[pathlib.Path], data_dir: pathlib.Path) -> Tables:
    """Reads the calcification tables among files, at whatever depth; one of the two is enough.

    Raises:
        InputError: No table, one twice, or one that is no such table at all.
    """
    found: dict[str, pathlib.Path] = {}
    others = []
    for path in files:
        name = path.name.lower()
        if name in TABLES:
            if name in found:
                raise InputError(f"a table must be there once; found another, {found[name]}", path)
            found[name] = path
        elif path.suffix.lower() == ".csv":
            others.append(path.name)
    if not found:
        near = [match for name in TABLES for match in difflib.get_close_matches(name, others, n=1)]
        hint = f"; is it {near[0]!r}?" if near else ""
        raise InputError(f"needs {' or '.join(TABLES)}; found neither{hint}", data_dir)
    rows: list[Row] = []
    bad: list[BadRow] = []
    for name in TABLES:
        if name in found:
            _read_table(found[name], found[name].relative_to(data_dir).as_posix(), TABLES[name], rows, bad)
    return Tables(tuple(rows), tuple(bad))


def _read_table(path: pathlib.Path, told: str, prefix: str, rows: list[Row], bad: list[BadRow]) -> None:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"a table has at most {_MAX_BYTES} bytes; found {path.stat().st_size}", path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = _columns(next(reader, []), path)
            line = reader.line_num + 1
            for cells in reader:
                # Paths end in a newline inside their quotes, so a row spans lines: it is told by its first.
                place, line = f"{told} line {line}", reader.line_num + 1
                if not any(cell.strip() for cell in cells):
                    continue
                row = dict(zip(columns, cells, strict=False))
                try:
                    if len(cells) != len(columns):
                        raise InputError(f"a row has {len(columns)} cells; found {len(cells)}")
                    rows.append(_row(row, prefix, place))
                except InputError as error:
                    bad.append(BadRow(place, error.rule, _names(row, cells, prefix)))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"not a table of comma-separated values in UTF-8 ({error})", path) from None


def _columns(header: Sequence[str], path: pathlib.Path) -> list[str]:
    """Returns the names in lower case with blanks for underscores: the files spell "breast density" in two ways."""
    columns = [" ".join(name.replace("_", " ").lower().split()) for name in header]
    for name in _COLUMNS:
        if columns.count(name) != 1:
            near = difflib.get_close_matches(name, columns, n=1) if name not in columns else []
            hint = f"; is it {near[0]!r}?" if near else ""
            raise InputError(f"needs the column {name!r} once; found it {columns.count(name)} times{hint}", path)
    return columns


def _row(row: dict[str, str], prefix: str, place: str) -> Row:
    if row[_TYPE].strip().lower() != "calcification":
        raise InputError(f"{_TYPE} must be calcification")
    return Row(
        place=place,
        image=_image_name(row, prefix),
        patient=row[_PATIENT].strip(),
        laterality=_LATERALITIES[row[_BREAST].strip().upper()],
        view=_VIEWS[row[_VIEW].strip().upper()],
        image_series=_series(row, _IMAGE),
        mask_series=frozenset(_series(row, column) for column in (_CROP, _MASK)),
    )


def _image_name(row: dict[str, str], prefix: str) -> str:
    patient, breast, view = (row.get(column, "").strip() for column in (_PATIENT, _BREAST, _VIEW))
    if not _PATIENT_ID.fullmatch(patient):
        raise InputError(f"{_PATIENT} must be P_ and digits")
    if breast.upper() not in _LATERALITIES:
        raise InputError(f"{_BREAST} must be one of {', '.join(_LATERALITIES)}")
    if view.upper() not in _VIEWS:
        raise InputError(f"{_VIEW} must be one of {', '.join(_VIEWS)}")
    return f"{prefix}_{patient}_{breast.upper()}_{view.upper()}"


def _series(row: dict[str, str], column: str) -> str:
    """Returns the Series Instance UID out of "<name>/<StudyInstanceUID>/<SeriesInstanceUID>/<file>"."""
    folders = row[column].strip().replace("\\", "/").split("/")[:-1]
    uids = [folder for folder in folders if _UID.fullmatch(folder)]
    if not uids or "\n" in row[column].strip():
        raise InputError(f"{column} must be one path, <name>/<StudyInstanceUID>/<SeriesInstanceUID>/<file>")
    return uids[-1]


def _names(row: dict[str, str], cells: Sequence[str], prefix: str) -> frozenset[str]:
    names = set(_UID.findall(" ".join(cells)))
    with contextlib.suppress(InputError):
        names.add(_image_name(row, prefix))
    return frozenset(names)
