"""The data set `folder`: DICOM or 16-bit PNG mammograms with a mask image each.

Two layouts:

* `images/` and `masks/` with the same sub-folders: `images/<stem>.dcm` or `.png`, `masks/<stem>.png`;
* anything else, at any depth: image and mask in one folder, `<stem>.dcm` with `<stem>.png` or `<stem>_mask.png`,
  `<stem>.png` with `<stem>_mask.png`.

`<stem>_ignore.png` beside the mask marks regions that enter no loss and no score. A DICOM file may have any suffix or
none. `cases.csv` (`cases_csv.py`) says what the files do not. Everything else is passed over.
"""

import collections
import dataclasses
import difflib
import pathlib
from collections.abc import Mapping
from typing import ClassVar

from data_prep.annotation import MaskImages
from data_prep.datasets.case import Case, Listing, Overrides
from data_prep.datasets.cases_csv import CASES_CSV, read_cases_csv
from data_prep.datasets.files import may_be_dicom, walk_files
from data_prep.errors import InputError
from data_prep.mammogram import DICOM_SUFFIXES
from data_prep.manifest import Rejection

__all__ = ["Folder"]

_IMAGES, _MASKS = "images", "masks"
_MASK, _IGNORE = "_mask", "_ignore"

# (folder relative to its root, stem): what an image and its masks share.
_Place = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class _Image:
    place: _Place
    path: pathlib.Path
    mask_stems: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Folder:
    """The data set `folder`."""

    name: ClassVar[str] = "folder"

    def list_cases(self, data_dir: pathlib.Path) -> Listing:
        """See `DataSet.list_cases`."""
        return _list_cases(data_dir)

    def recorded(self) -> Mapping[str, object]:
        """See `DataSet.recorded`: it has no options."""
        return {}


def _list_cases(data_dir: pathlib.Path) -> Listing:
    if not data_dir.is_dir():
        raise InputError("no such folder", data_dir)
    if (data_dir / _IMAGES).is_dir() and (data_dir / _MASKS).is_dir():
        images, masks = _separate(data_dir)
    else:
        images, masks = _together(data_dir)
    table = _overrides(data_dir, {image.path.relative_to(data_dir).as_posix() for image in images})
    cases, rejected = [], _without_image(images, masks, data_dir)
    same_place = collections.Counter(image.place for image in images)
    for image in images:
        file = image.path.relative_to(data_dir).as_posix()
        try:
            if same_place[image.place] > 1:
                raise InputError("several images have this name and differ in the suffix alone")
            annotation = _annotation(image, masks)
        except InputError as error:
            rejected.append(Rejection(file, error.rule))
            continue
        key = "/".join(part for part in image.place if part)
        cases.append(Case(key, file, image.path, annotation, table.get(file, Overrides())))
    return Listing(tuple(sorted(cases, key=lambda case: case.key)), tuple(sorted(rejected)))


def _separate(data_dir: pathlib.Path) -> tuple[list[_Image], dict[_Place, pathlib.Path]]:
    root = data_dir / _IMAGES
    images = []
    for path in walk_files(root):
        if _is_png(path) or may_be_dicom(path):
            folder, stem = _place(path, root)
            images.append(_Image((folder, stem), path, (stem, stem + _MASK)))
    return images, {_place(path, data_dir / _MASKS): path for path in walk_files(data_dir / _MASKS) if _is_png(path)}


def _together(data_dir: pathlib.Path) -> tuple[list[_Image], dict[_Place, pathlib.Path]]:
    paths = list(walk_files(data_dir))
    pngs = {_place(path, data_dir): path for path in paths if _is_png(path)}
    images = []
    for path in paths:
        if not _is_png(path) and may_be_dicom(path):
            folder, stem = _place(path, data_dir)
            images.append(_Image((folder, stem), path, (stem, stem + _MASK)))
    masks_of_dicoms = {image.place for image in images}
    for place, path in pngs.items():
        if not place[1].endswith((_MASK, _IGNORE)) and place not in masks_of_dicoms:
            images.append(_Image(place, path, (place[1] + _MASK,)))
    own = {image.path for image in images}
    return images, {place: path for place, path in pngs.items() if path not in own}


def _annotation(image: _Image, masks: Mapping[_Place, pathlib.Path]) -> MaskImages:
    folder, stem = image.place
    found = [masks[folder, name] for name in image.mask_stems if (folder, name) in masks]
    if not found:
        # The rule goes into the manifest and so must not repeat the name, which may tell who the patient is.
        expected = " or ".join(f"<stem>{name.removeprefix(stem)}.png" for name in image.mask_stems)
        raise InputError(f"an image needs a mask: found no {expected}")
    if len(found) > 1:
        raise InputError(f"an image has one mask; found both <stem>.png and <stem>{_MASK}.png")
    return MaskImages(found[0], masks.get((folder, stem + _IGNORE)))


def _without_image(
    images: list[_Image], masks: Mapping[_Place, pathlib.Path], data_dir: pathlib.Path
) -> list[Rejection]:
    """Finds masks that no image asks for: most often the image is missing or has another name."""
    wanted = {
        (image.place[0], stem) for image in images for stem in (*image.mask_stems, image.place[1] + _IGNORE)
    }  # fmt: skip
    return [
        Rejection(path.relative_to(data_dir).as_posix(), "a mask needs its image: found none of that name")
        for place, path in masks.items()
        if place not in wanted
    ]


def _overrides(data_dir: pathlib.Path, files: set[str]) -> dict[str, Overrides]:
    table = {}
    for name, (line, overrides) in read_cases_csv(data_dir).items():
        # Beside images/ and masks/ the table may name an image with or without the folder.
        file = name if name in files else f"{_IMAGES}/{name}"
        if file not in files:
            near = difflib.get_close_matches(name, sorted(files), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(
                f"file must be an image of this data set, relative to its folder; found {name!r}{hint}",
                f"{data_dir / CASES_CSV} line {line}",
            )
        table[file] = overrides
    return table


def _is_png(path: pathlib.Path) -> bool:
    return path.suffix.lower() == ".png"


def _place(path: pathlib.Path, root: pathlib.Path) -> _Place:
    # Names that are UIDs end in ".123": that is no suffix.
    known = path.suffix.lower() in (*DICOM_SUFFIXES, ".png") or path.suffix[1:].isalpha()
    folder = path.parent.relative_to(root).as_posix()
    return "" if folder == "." else folder, path.stem if known else path.name
