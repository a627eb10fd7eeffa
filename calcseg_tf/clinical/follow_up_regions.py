"""Reads the regions of a follow-up: pixels told on the command line, a JSON file, or a DICOM annotation."""

import json
import math
import pathlib
import re

import numpy as np

from calcseg_tf.clinical.region import Region
from data_prep.dicom.graphics import read_modality, read_outline, require_drawn_on
from data_prep.dicom.segmentation import read_segmentation, read_segmentation_header
from data_prep.errors import InputError
from data_prep.mammogram import DICOM_SUFFIXES
from data_prep.mask import BACKGROUND

__all__ = ["read_region"]

_PAIR = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?),([+-]?[0-9]+(?:\.[0-9]+)?)")
_MOST_BYTES = 1 << 20
_RULE = (
    "a region is 'row,column row,column' (two corners of a rectangle, both inside; three or more of a polygon), a JSON "
    "file or a DICOM annotation (SEG, SR or PR)"
)


def read_region(told: str, size: tuple[int, int], image: pathlib.Path) -> Region:
    """Reads a region and checks it against its image.

    Args:
        told: `row,column` pairs in px, separated by blanks: two opposite corner pixels of a rectangle, both part of it,
            or three or more corners of a polygon, (0, 0) being the centre of the first pixel. Else a file: JSON with a
            list of such pairs, as it is or under "corners"; or a DICOM file (`.dcm`) that names the image as what it
            was drawn on: a segmentation, whose region is the convex hull of all that is drawn, or a structured report
            or presentation state with one closed outline.
        size: (height, width) of the image.
        image: The image's file.

    Raises:
        InputError: Unreadable, no region, of another image, outside the image, or of one pixel.
    """
    words = told.split()
    pairs = [_PAIR.fullmatch(word) for word in words]
    if words and all(pairs):
        region = _of_corners([(float(pair[1]), float(pair[2])) for pair in pairs if pair])
    elif pathlib.Path(told).suffix.lower() in DICOM_SUFFIXES:
        region = _of_dicom(pathlib.Path(told), size, image)
    elif pathlib.Path(told).suffix.lower() == ".json":
        region = _of_json(pathlib.Path(told))
    else:
        raise InputError(f"{_RULE}; found {told!r}")
    if (pixels := region.pixels_in(*size)) < 2:
        raise InputError(f"a region to compare has more than one pixel in its image; found {pixels}")
    return region


def _of_corners(corners: list[tuple[float, float]]) -> Region:
    if len(corners) != 2:
        return Region.polygon(corners)
    if not all(value.is_integer() for corner in corners for value in corner):
        raise InputError("the two corners of a rectangle are whole pixels; found a fraction")
    (top, bottom), (left, right) = (sorted((int(first), int(last))) for first, last in zip(*corners, strict=True))
    return Region.rectangle(top, left, bottom, right)


def _of_json(path: pathlib.Path) -> Region:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"a region is a file of at most {_MOST_BYTES} bytes; found {path.stat().st_size}", path)
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
    except (ValueError, RecursionError):
        raise InputError("not readable as JSON in UTF-8", path) from None
    corners = content.get("corners") if isinstance(content, dict) else content
    if not isinstance(corners, list) or not all(map(_is_pair, corners)):
        raise InputError('a region as JSON is a list of [row, column], as it is or under "corners"', path)
    try:
        return _of_corners([(float(row), float(column)) for row, column in corners])
    except InputError as error:
        raise InputError(error.rule, path) from None


def _is_pair(corner: object) -> bool:
    return (
        isinstance(corner, list)
        and len(corner) == 2
        and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in corner)
        and all(abs(value) < 1e9 and math.isfinite(value) for value in corner)
    )


def _of_dicom(path: pathlib.Path, size: tuple[int, int], image: pathlib.Path) -> Region:
    if read_modality(path) == "SEG":
        return _of_segmentation(path, size, image)
    try:
        return Region.polygon(read_outline(path, image))
    except InputError as error:
        raise InputError(error.rule, path) from None


def _of_segmentation(path: pathlib.Path, size: tuple[int, int], image: pathlib.Path) -> Region:
    try:
        require_drawn_on(read_segmentation_header(path).images, image)
    except InputError as error:
        raise InputError(error.rule, path) from None
    drawn = read_segmentation(path) != BACKGROUND
    if drawn.shape != size:
        raise InputError(
            f"a segmentation must have the size of its image, {size[0]} x {size[1]} (rows x columns); found "
            f"{drawn.shape[0]} x {drawn.shape[1]}",
            path,
        )
    rows = np.flatnonzero(drawn.any(axis=1))
    if not len(rows):
        raise InputError("a segmentation that marks a region has pixels drawn; found none", path)
    # The hull is that of the first and last pixel of each row.
    first, last = drawn[rows].argmax(axis=1), size[1] - 1 - drawn[rows, ::-1].argmax(axis=1)
    corners = [(row + up, column + side) for row, left, right in zip(rows, first, last, strict=True)
               for up in (-0.5, 0.5) for column, side in ((left, -0.5), (right, 0.5))]  # fmt: skip
    from scipy.spatial import ConvexHull

    points = np.array(corners)
    return Region.polygon(points[ConvexHull(points).vertices])
