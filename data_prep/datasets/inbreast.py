"""The data set `inbreast`: INbreast release 1.0 (Moreira et al., Academic Radiology 19(2), 2012) as it is distributed.

    AllDICOMs/<id>_<16 hex digits of the patient>_MG_<L|R>_<CC|ML>_ANON.dcm
    AllXML/<id>.xml        property lists of regions (`inbreast_rois.py`); a normal image has none
    INbreast.csv           optional: the files are checked against it (`inbreast_table.py`)

Patient, laterality and view come from the DICOM file's name: Patient ID is the word `removed` in all of them. The view
`ML` of the names means MLO. Files that are no DICOM and no XML are passed over, and so is everything elsewhere, such as
PectoralMuscle.
"""

import collections
import dataclasses
import enum
import pathlib
import re
from collections.abc import Mapping
from typing import ClassVar

from data_prep.datasets.case import Case, Listing, Overrides
from data_prep.datasets.files import may_be_dicom, walk_files
from data_prep.datasets.inbreast_rois import PlistRois, RoiRules
from data_prep.datasets.inbreast_table import TableRow, read_table
from data_prep.errors import InputError
from data_prep.mammogram import Laterality, View
from data_prep.manifest import Rejection

__all__ = ["InBreast", "Subset"]

_IMAGES, _ANNOTATIONS = "AllDICOMs", "AllXML"
_NAME = re.compile(r"(\d{1,20})_([0-9a-f]{16})_MG_([LR])_(CC|MLO?)_ANON\.dcm", re.ASCII | re.IGNORECASE)
_NORMAL = "1"  # BI-RADS

_MISNAMED = "a DICOM file must be named <id>_<16 hex digits>_MG_<L|R>_<CC|ML>_ANON.dcm, which tells the patient"
_TWICE = "an image has one file; found several of its id"


class Subset(enum.Enum):
    """Which images are converted; the value is what `--inbreast_subset` takes."""

    ALL = "all"
    OUTLINED = "outlined"  # those in which at least one calcification is outlined, by three points or more


@dataclasses.dataclass(frozen=True)
class _Image:
    """A DICOM file, relative to the data directory, as its name describes it; the patient as 16 hex digits."""

    id: str
    file: str
    patient: str
    laterality: Laterality
    view: View


@dataclasses.dataclass(frozen=True)
class InBreast:
    """The data set `inbreast`.

    Attributes:
        rules: Which regions are drawn, and as what.
        subset: Which images are converted.
    """

    name: ClassVar[str] = "inbreast"

    rules: RoiRules = dataclasses.field(default_factory=RoiRules)
    subset: Subset = Subset.ALL

    def list_cases(self, data_dir: pathlib.Path) -> Listing:
        """See `DataSet.list_cases`; the key of a case is the image's id in the release."""
        for name in (_IMAGES, _ANNOTATIONS):
            if not (data_dir / name).is_dir():
                raise InputError(f"INbreast is a folder with {_IMAGES} and {_ANNOTATIONS}; found no {name}", data_dir)
        table = read_table(data_dir)
        images, rejected = _images(data_dir)
        annotations = _annotations(data_dir)
        cases = []
        for image in images:
            paths = annotations.get(image.id, [])
            if len(paths) > 1:
                rejected.append(Rejection(image.file, f"an image has one annotation; found {len(paths)} of its name"))
                continue
            marked = table is not None and image.id in table and table[image.id].micros
            annotation = PlistRois(next(iter(paths), None), self.rules, _notes(image, bool(paths), table), marked)
            if self._wants(annotation):
                overrides = Overrides(image.patient, image.laterality, image.view)
                cases.append(Case(image.id, image.file, data_dir / image.file, annotation, overrides))
        rejected += _without_image(data_dir, annotations, table)
        return Listing(tuple(sorted(cases, key=lambda case: case.key)), tuple(sorted(rejected)))

    def recorded(self) -> Mapping[str, object]:
        """See `DataSet.recorded`."""
        return {
            "inbreast_calcification_names": list(self.rules.calcification_names),
            "inbreast_ignore_names": list(self.rules.ignore_names),
            "inbreast_point_radius_px": self.rules.point_radius_px,
            "inbreast_subset": self.subset.value,
        }

    def _wants(self, annotation: PlistRois) -> bool:
        if self.subset is Subset.ALL:
            return True
        try:
            return annotation.has_outlined_calcification()
        except InputError:
            return True  # stays in, to be rejected with its reason where every annotation is checked


def _images(data_dir: pathlib.Path) -> tuple[list[_Image], list[Rejection]]:
    images, rejected = [], []
    for path in walk_files(data_dir / _IMAGES):
        file = path.relative_to(data_dir).as_posix()
        if match := _NAME.fullmatch(path.name):
            laterality, view = Laterality(match[3].upper()), View.CC if match[4].upper() == "CC" else View.MLO
            images.append(_Image(match[1], file, match[2].lower(), laterality, view))
        elif may_be_dicom(path):
            rejected.append(Rejection(file, _MISNAMED))
    count = collections.Counter(image.id for image in images)
    rejected += [Rejection(image.file, _TWICE) for image in images if count[image.id] > 1]
    return [image for image in images if count[image.id] == 1], rejected


def _annotations(data_dir: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Returns image id -> its property lists, of which there should be one at most."""
    found: dict[str, list[pathlib.Path]] = {}
    for path in walk_files(data_dir / _ANNOTATIONS):
        if path.suffix.lower() == ".xml":
            found.setdefault(path.stem, []).append(path)
    return found


def _notes(image: _Image, annotated: bool, table: Mapping[str, TableRow] | None) -> tuple[str, ...]:
    """Returns what the table says against the files; what the files say is taken."""
    if table is None:
        return ()
    if (row := table.get(image.id)) is None:
        return ("the release's table has no row for it",)
    notes = []
    if row.laterality != image.laterality.value:
        notes.append(f"laterality is {image.laterality.value} by the file's name; {row.file} differs")
    if row.view != image.view.value:
        notes.append(f"view is {image.view.value} by the file's name; {row.file} differs")
    if not annotated and row.bi_rads != _NORMAL:
        notes.append(f"taken as normal for want of an annotation, but {row.file} has no BI-RADS 1")
    return tuple(notes)


def _without_image(
    data_dir: pathlib.Path, annotations: Mapping[str, list[pathlib.Path]], table: Mapping[str, TableRow] | None
) -> list[Rejection]:
    """Finds annotations whose image is missing, and rows of the table of which there is neither."""
    images = {match[1] for path in walk_files(data_dir / _IMAGES) if (match := _NAME.fullmatch(path.name))}
    rejected = [
        Rejection(path.relative_to(data_dir).as_posix(), f"an annotation needs its image: found none in {_IMAGES}")
        for image, paths in annotations.items()
        if image not in images
        for path in paths
    ]
    for image, row in (table or {}).items():
        if image not in images and image not in annotations:
            place = f"{row.file} line {row.line}"
            rejected.append(Rejection(place, f"an image of the table must be there: found none in {_IMAGES}"))
    return rejected
