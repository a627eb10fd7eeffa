"""INbreast's annotations: regions that OsiriX exported as an Apple property list, `AllXML/<id>.xml`.

`Images[0]` holds `NumberOfROIs` and `ROIs`; a ROI holds, beside statistics that nobody needs, `Name`, `NumberOfPoints`
and `Point_px`, a list of strings "(x, y)" with x the column. See `data_prep.roi` for what is drawn.
"""

import dataclasses
import difflib
import math
import pathlib
import plistlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from data_prep.datasets.files import read_small
from data_prep.errors import InputError
from data_prep.mask import BACKGROUND, CALCIFICATION, IGNORE
from data_prep.roi import count_outside, draw_roi, drawing_steps

__all__ = ["KNOWN_NAMES", "PlistRois", "RoiRules"]

# Every name in the release, some with its misspellings; compared without case.
KNOWN_NAMES = (
    "calcification", "calcifications", "cluster", "mass", "spiculated region", "espiculated region", "distortion",
    "asymmetry", "assymetry", "asimmetry", "unnamed", "", "point 1", "point 3",
)  # fmt: skip

_CALCIFICATION_FLAG, _IGNORE_FLAG = "--inbreast_calcification_names", "--inbreast_ignore_names"
_MAX_POINT_RADIUS_PX = 50.0

# Far above any annotation of the release, and low enough that a damaged one costs seconds and megabytes.
_MAX_BYTES = 8_000_000  # of nothing but brackets take 340 MB to parse
_MAX_STEPS = 100_000_000
_MAX_COORDINATE = 65_535  # Rows and Columns of DICOM have 16 bits: no image goes further

_POINT = re.compile(r"\(([^(),]{1,40}),([^(),]{1,40})\)")
_SHOWN_ROIS, _LIKE_CHARACTERS = 5, 40


@dataclasses.dataclass(frozen=True)
class RoiRules:
    """What is drawn of the regions.

    Attributes:
        calcification_names: ROIs that are calcifications, of `KNOWN_NAMES`, compared without case.
        ignore_names: ROIs that outline regions to ignore, likewise; calcifications are drawn on top.
        point_radius_px: Radius of the spot that stands for a ROI of one or two points; 0 is one pixel.
    """

    calcification_names: tuple[str, ...] = ("Calcification",)
    ignore_names: tuple[str, ...] = ("Calcifications", "Cluster")
    point_radius_px: float = 0.0

    def __post_init__(self) -> None:
        for flag, names in ((_CALCIFICATION_FLAG, self.calcification_names), (_IGNORE_FLAG, self.ignore_names)):
            for name in names:
                if _folded(name) not in KNOWN_NAMES:
                    near = difflib.get_close_matches(_folded(name), KNOWN_NAMES, n=1)
                    hint = f"did you mean {near[0]}?" if near else f"those are {', '.join(filter(None, KNOWN_NAMES))}"
                    raise InputError(f"a name must be one of the release's; found {name!r}; {hint}", flag)
        if not self.calcification_names:
            raise InputError("at least one name must count as calcification; found none", _CALCIFICATION_FLAG)
        if both := _all_folded(self.calcification_names) & _all_folded(self.ignore_names):
            raise InputError(f"what counts as calcification cannot be ignored; found {min(both)!r}", _IGNORE_FLAG)
        if not 0.0 <= self.point_radius_px <= _MAX_POINT_RADIUS_PX:
            raise InputError(
                f"must be 0 to {_MAX_POINT_RADIUS_PX:g} px; found {self.point_radius_px}", "--inbreast_point_radius_px"
            )

    def value(self, name: str) -> int | None:
        """Returns what a ROI of this name is drawn as, None where it is not."""
        if _folded(name) in _all_folded(self.calcification_names):
            return CALCIFICATION
        return IGNORE if _folded(name) in _all_folded(self.ignore_names) else None


@dataclasses.dataclass(frozen=True, eq=False)
class _Roi:
    """A ROI that is drawn: float64 [n, 2] points as (row, column), and the number of points that the file states."""

    value: int
    points: np.ndarray
    stated: object


@dataclasses.dataclass(frozen=True)
class PlistRois:
    """The annotation of one image of INbreast.

    Attributes:
        path: The property list; None where the image has none because it is normal: all background.
        rules: What is drawn.
        notes: What the reader of the data set has to say about the image; warnings begin with them.
        marked: Whether the release's spreadsheet marks microcalcifications in it.
    """

    path: pathlib.Path | None
    rules: RoiRules = dataclasses.field(default_factory=RoiRules)
    notes: tuple[str, ...] = ()
    marked: bool = False

    def check(self, size: tuple[int, int]) -> None:
        """See `Annotation.check`; what passes can be drawn."""
        self._rois(size)

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """See `Annotation.mask`."""
        mask = np.full(size, BACKGROUND, np.uint8)
        rois = self._rois(size)
        for value in (IGNORE, CALCIFICATION):
            for roi in rois:
                if roi.value == value:
                    draw_roi(mask, roi.points, value, self.rules.point_radius_px)
        return mask

    def warnings(self, size: tuple[int, int]) -> tuple[str, ...]:
        """See `Annotation.warnings`: regions left out or cut, and counts that disagree."""
        rois, found = self._rois(size), list(self.notes)
        if self.marked and not rois:
            found.append("no region of calcifications, but the release's spreadsheet marks microcalcifications")
        if self.path is None:
            return tuple(found)
        images = _images(self.path)
        if len(images) > 1:
            found.append(f"the first of {len(images)} Images is taken")
        if images and (stated := images[0].get("NumberOfROIs")) != (count := len(_entries(images[0]))):
            found.append(f"NumberOfROIs is {_told(stated)}, found {count}: the list is taken")
        unknown = {number: name for number, name in enumerate(_names(images), 1) if _folded(name) not in KNOWN_NAMES}
        if unknown:
            found.append(f"ROIs of an unknown name are left out, by number: {_listed(unknown)}")
        if empty := sum(not len(roi.points) for roi in rois):
            found.append(f"ROIs without a point are left out: {empty}")
        if differing := sum(roi.stated != len(roi.points) for roi in rois):
            found.append(f"NumberOfPoints differs from the points of a ROI, which are taken: {differing}")
        if outside := sum(count_outside(roi.points, size) for roi in rois):
            found.append(f"points outside the frame, spots left out and outlines cut: {outside}")
        return tuple(found)

    def has_outlined_calcification(self) -> bool:
        """Tells whether any calcification is outlined, that is has three or more points.

        Raises:
            InputError: As `check`.
        """
        return any(roi.value == CALCIFICATION and len(roi.points) > 2 for roi in self._read())

    def _rois(self, size: tuple[int, int]) -> list[_Roi]:
        rois = self._read()
        if (steps := sum(drawing_steps(roi.points, size) for roi in rois)) > _MAX_STEPS:
            raise InputError(f"outlines must take at most {_MAX_STEPS} steps to draw; found {steps}", self.path or "")
        return rois

    def _read(self) -> list[_Roi]:
        """Reads the ROIs that are drawn; of the others only the names must be in order."""
        if self.path is None:
            return []
        rois, images = [], _images(self.path)
        try:
            for number, name in enumerate(_names(images), 1):
                if (value := self.rules.value(name)) is not None:
                    entry = _entries(images[0])[number - 1]
                    points = np.array(list(_points(entry, number)), np.float64).reshape(-1, 2)
                    rois.append(_Roi(value, points, entry.get("NumberOfPoints")))
        except InputError as error:
            raise InputError(error.rule, self.path) from None
        return rois


def _images(path: pathlib.Path) -> list[dict]:
    """Reads `Images` and checks what is needed of the first: a list of ROIs, each with a name."""
    data = read_small(path, _MAX_BYTES, "an annotation")
    try:
        # Refuses entity declarations, so that nothing expands, and fetches nothing. XML alone: not the binary form.
        document = plistlib.loads(data, fmt=plistlib.FMT_XML)
    except Exception as error:
        # plistlib raises whatever a damaged file leads to; its text may quote the file, so only the kind is told.
        raise InputError(f"not a whole XML property list ({type(error).__name__})", path) from None
    images = document.get("Images") if isinstance(document, dict) else None
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise InputError("an annotation must hold Images, a list of dictionaries; found none", path)
    if images:
        entries = images[0].get("ROIs")
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise InputError("Images[0] must hold ROIs, a list of dictionaries; found none", path)
        if not all(isinstance(entry.get("Name"), str) for entry in entries):
            raise InputError("a ROI must have a Name, a text; found one without", path)
    return images


def _entries(image: dict) -> list[dict]:
    entries: list[dict] = image["ROIs"]
    return entries


def _names(images: Sequence[dict]) -> list[str]:
    return [entry["Name"] for entry in _entries(images[0])] if images else []


def _points(roi: dict, number: int) -> Iterator[tuple[float, float]]:
    """Yields (row, column) of each point; a ROI of no points may lack the list."""
    texts = roi.get("Point_px", [] if roi.get("NumberOfPoints") == 0 else None)
    if not isinstance(texts, list):
        raise InputError(f"ROI {number} must hold Point_px, a list; found a {type(texts).__name__}")
    for text in texts:
        match = _POINT.fullmatch(text.strip()) if isinstance(text, str) and len(text) < 100 else None
        try:
            x, y = (float(part) for part in match.groups()) if match else (math.nan, math.nan)
        except ValueError:
            x, y = math.nan, math.nan
        if not all(abs(coordinate) <= _MAX_COORDINATE for coordinate in (x, y)):
            raise InputError(
                f'a point must be a text "(x, y)" of two numbers from -{_MAX_COORDINATE} to {_MAX_COORDINATE}; found '
                f"another in ROI {number}"
            )
        yield y, x


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()


def _all_folded(names: Iterable[str]) -> set[str]:
    return {_folded(name) for name in names}


def _listed(unknown: Mapping[int, str]) -> str:
    """Returns numbers of ROIs, counted from 1, with the known names that theirs are like.

    A name is free text and might tell who the patient is, so that the file must be opened to see it.
    """
    shown = []
    for number, name in list(unknown.items())[:_SHOWN_ROIS]:
        near = difflib.get_close_matches(_folded(name[:_LIKE_CHARACTERS]), KNOWN_NAMES, n=1, cutoff=0.8)
        shown.append(f"{number} (like {near[0]})" if near else str(number))
    more = len(unknown) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more else [])])


def _told(count: object) -> str:
    return str(count) if isinstance(count, int) and abs(count) < 10**9 else "no whole number"
