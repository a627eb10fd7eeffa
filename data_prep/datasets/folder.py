"""The data set `folder`: DICOM or 16-bit PNG mammograms with a mask file each, as a hospital has them.

Two layouts:

* `images/` and `masks/` with the same sub-folders: `images/<stem>.dcm` or `.png`, `masks/<stem>` or `<stem>_mask` with
  the suffix of a mask;
* anything else, at any depth: image and mask in one folder, named likewise. Beside `<stem>.png` the mask as PNG is
  `<stem>_mask.png`.

A mask is a PNG, TIFF (`.tif`, `.tiff`) or NPY file, or a DICOM segmentation, which beside images ends in `_seg.dcm`
(`<stem>_seg.dcm`, `<stem>_ignore_seg.dcm`); in `masks/` it need not. `<stem>_ignore` in any of these forms marks
regions that enter no loss and no score. An image as DICOM may have any suffix or none. `cases.csv` (`cases_csv.py`)
says what the files do not. Everything else is passed over.
"""

import collections
import dataclasses
import difflib
import pathlib
from collections.abc import Iterable, Mapping
from typing import ClassVar

from data_prep.annotation import MaskImages
from data_prep.datasets.case import Case, Listing, Overrides
from data_prep.datasets.cases_csv import CASES_CSV, read_cases_csv
from data_prep.datasets.files import may_be_dicom, require_folder, walk_files
from data_prep.errors import InputError
from data_prep.mammogram import DICOM_SUFFIXES
from data_prep.manifest import Rejection
from data_prep.mask_files import MASK_SUFFIXES

__all__ = ["Folder"]

_IMAGES, _MASKS = "images", "masks"
_MASK, _IGNORE, _SEGMENTATION = "_mask", "_ignore", "_seg"
_ROLES = ("", _MASK, _IGNORE)

# (folder relative to its root, stem): what an image and its masks share.
_Place = tuple[str, str]
_Masks = Mapping[_Place, list[pathlib.Path]]


@dataclasses.dataclass(frozen=True)
class _Image:
    place: _Place
    path: pathlib.Path


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
    require_folder(data_dir)
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


def _separate(data_dir: pathlib.Path) -> tuple[list[_Image], _Masks]:
    root = data_dir / _IMAGES
    images = [
        _Image(_place(path, root), path) for path in walk_files(root) if _is_png(path) or may_be_dicom(path)
    ]  # fmt: skip
    masks = [path for path in walk_files(data_dir / _MASKS) if path.suffix.lower() in MASK_SUFFIXES]
    return images, _by_place(masks, data_dir / _MASKS)


def _together(data_dir: pathlib.Path) -> tuple[list[_Image], _Masks]:
    paths = list(walk_files(data_dir))
    masks = [path for path in paths if _is_mask(path)]
    pngs = [path for path in paths if _is_png(path)]
    others = [path for path in paths if not _is_mask(path) and not _is_png(path)]
    images = [_Image(_place(path, data_dir), path) for path in others if may_be_dicom(path)]
    places = {image.place for image in images}
    for path in pngs:
        place = _place(path, data_dir)
        if place[1].endswith((_MASK, _IGNORE)) or place in places:
            masks.append(path)
        else:
            images.append(_Image(place, path))
    return images, _by_place(masks, data_dir)


def _is_mask(path: pathlib.Path) -> bool:
    """Tells what can be no image beside images, by its name; a PNG can be either."""
    suffix = path.suffix.lower()
    if suffix in DICOM_SUFFIXES:
        return path.stem.endswith(_SEGMENTATION)
    return suffix in MASK_SUFFIXES and not _is_png(path)


def _by_place(masks: Iterable[pathlib.Path], root: pathlib.Path) -> _Masks:
    found: dict[_Place, list[pathlib.Path]] = {}
    for path in masks:
        folder, stem = _place(path, root)
        if path.suffix.lower() in DICOM_SUFFIXES:
            stem = stem.removesuffix(_SEGMENTATION)
        found.setdefault((folder, stem), []).append(path)
    return found


def _annotation(image: _Image, masks: _Masks) -> MaskImages:
    folder, stem = image.place
    found = [path for name in (stem, stem + _MASK) for path in masks.get((folder, name), [])]
    ignored = masks.get((folder, stem + _IGNORE), [])
    # The rule goes into the manifest and so must not repeat the name, which may tell who the patient is.
    if not found:
        expected = f"<stem>{_MASK}.png" if _is_png(image.path) else f"<stem>.png or <stem>{_MASK}.png"
        raise InputError(f"an image needs a mask: found no {expected}, nor one as .tif, .npy or {_SEGMENTATION}.dcm")
    for paths, what in ((found, "mask"), (ignored, "mask of what to ignore")):
        if len(paths) > 1:
            told = " and ".join(f"<stem>{path.name.removeprefix(stem)}" for path in paths)
            raise InputError(f"an image has one {what}; found both {told}")
    return MaskImages(found[0], next(iter(ignored), None), image.path)


def _without_image(images: list[_Image], masks: _Masks, data_dir: pathlib.Path) -> list[Rejection]:
    """Finds masks that no image asks for: most often the image is missing or has another name."""
    wanted = {(folder, stem + role) for folder, stem in (image.place for image in images) for role in _ROLES}
    return [
        Rejection(path.relative_to(data_dir).as_posix(), "a mask needs its image: found none of that name")
        for place, paths in masks.items()
        if place not in wanted
        for path in paths
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
                f"file must be an image of this data set, relative to its folder{hint}",
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
