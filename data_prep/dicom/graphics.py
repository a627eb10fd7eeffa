"""Regions that a person drew on an image: structured reports (PS3.3 C.18.6) and presentation states (C.10.5).

Both count (column, row) from the upper left corner of the first pixel, whose centre is (0.5, 0.5).
"""

import dataclasses
import math
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
from pydicom.dataset import Dataset

from data_prep.dicom.access import header_text, parse_dicom, read_items, read_numbers, tell_code
from data_prep.errors import InputError

__all__ = ["read_modality", "read_outline", "require_drawn_on"]

_MOST_BYTES = 1 << 26
_MOST_DEEP = 64  # levels of a content tree
_ROUND_CORNERS = 72  # of the polygon that stands for a circle or an ellipse


@dataclasses.dataclass(frozen=True, eq=False)
class _Outline:
    """A closed outline.

    Attributes:
        corners: float64 [corners, 2], (row, column) in px, (0, 0) being the centre of the first pixel; at least three.
        images: SOP Instance UIDs (0008,1155) of the images that it was drawn on.
    """

    corners: np.ndarray
    images: frozenset[str]


def read_modality(path: pathlib.Path) -> str:
    """Reads the Modality (0008,0060) of a DICOM file, "" where it tells none.

    Raises:
        InputError: Not readable as DICOM; `where` is the file.
    """
    return header_text(_parse(path, ("Modality",)), "Modality")


def require_drawn_on(images: frozenset[str], image: pathlib.Path) -> None:
    """Checks that an annotation was drawn on an image.

    Args:
        images: SOP Instance UIDs that the annotation names.
        image: The image's file.

    Raises:
        InputError: It names none, or others, or the image has none, as a PNG; never tells one.
    """
    own = "" if image.suffix.lower() == ".png" else header_text(_parse(image, ("SOPInstanceUID",)), "SOPInstanceUID")
    if not own:
        raise InputError("a DICOM annotation belongs to an image with a SOPInstanceUID (0008,0018); this one has none")
    if not images:
        raise InputError("an annotation must name its image by ReferencedSOPInstanceUID (0008,1155); found none")
    if own not in images:
        raise InputError(
            "the annotation was drawn on another image: its ReferencedSOPInstanceUID (0008,1155) is not this one's"
        )


def read_outline(path: pathlib.Path, image: pathlib.Path) -> np.ndarray:
    """Reads the one closed outline that a structured report or a presentation state has of an image.

    Of a report these are the spatial coordinates (SCOORD) of its whole content, such as the regions of TID 1500; of a
    presentation state the graphic objects in pixels of the image. Points and open lines are passed over, and outlines
    of other images.

    Args:
        path: The annotation.
        image: The file of the image that it was drawn on.

    Returns:
        float64 [corners, 2], (row, column) in px, (0, 0) being the centre of the first pixel; circles and ellipses have
        72 corners.

    Raises:
        InputError: Unreadable, of another modality than SR and PR, damaged, of another image, or none or several are
            drawn; `where` is the file.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"an annotation is a file of at most {_MOST_BYTES} bytes; found {path.stat().st_size}")
        found = _outlines(_parse(path))
        if not found:
            raise InputError("an annotation must hold a closed outline; found none")
        require_drawn_on(frozenset().union(*(each.images for each in found)), image)
        own = [each for each in found if _is_drawn_on(each, image)]
        if len(own) > 1:
            raise InputError(f"an annotation must hold one closed outline of its image; found {len(own)}")
        return own[0].corners
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
    except InputError as error:
        raise InputError(error.rule, path) from None


def _is_drawn_on(outline: _Outline, image: pathlib.Path) -> bool:
    try:
        require_drawn_on(outline.images, image)
    except InputError:
        return False
    return True


def _parse(path: pathlib.Path, only: tuple[str, ...] = ()) -> Dataset:
    try:
        with path.open("rb") as file:
            return parse_dicom(file, only)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
    except InputError as error:
        raise InputError(error.rule, path) from None


def _outlines(dataset: Dataset) -> list[_Outline]:
    kind = header_text(dataset, "Modality")
    if kind == "SR":
        return list(_of_report(dataset))
    if kind == "PR":
        return list(_of_presentation_state(dataset))
    raise InputError(f"an annotation has Modality (0008,0060) SR or PR; found {tell_code(kind)}")


def _of_report(dataset: Dataset) -> Iterator[_Outline]:
    for item in _content(dataset):
        if header_text(item, "ValueType") != "SCOORD":
            continue
        corners = _corners(item)
        if corners is not None:
            # What a coordinate was selected from is its child, or what its child names by the place in the tree.
            images = [_reference(dataset, child) for child in read_items(item, "ContentSequence")]
            yield _Outline(corners, _images(image for found in images for image in found))


def _content(item: Dataset, depth: int = 0) -> Iterator[Dataset]:
    yield item
    if depth > _MOST_DEEP:
        raise InputError(f"the content of a report nests at most {_MOST_DEEP} deep; found more")
    for child in read_items(item, "ContentSequence"):
        yield from _content(child, depth + 1)


def _reference(root: Dataset, child: Dataset) -> tuple[Dataset, ...]:
    """Returns the references to images of a content item, or of the item that it names."""
    if (numbers := read_numbers(child, "ReferencedContentItemIdentifier")) is not None:
        child = root
        for number in numbers[1:]:  # the first is the root, which is 1
            items = read_items(child, "ContentSequence")
            if not 1 <= number <= len(items):
                return ()
            child = items[int(number) - 1]
    return read_items(child, "ReferencedSOPSequence") if header_text(child, "ValueType") == "IMAGE" else ()


def _of_presentation_state(dataset: Dataset) -> Iterator[_Outline]:
    everywhere = [
        image
        for series in read_items(dataset, "ReferencedSeriesSequence")
        for image in read_items(series, "ReferencedImageSequence")
    ]
    for annotation in read_items(dataset, "GraphicAnnotationSequence"):
        own = read_items(annotation, "ReferencedImageSequence")
        for drawn in read_items(annotation, "GraphicObjectSequence"):
            if (corners := _corners(drawn)) is None:
                continue
            if (units := header_text(drawn, "GraphicAnnotationUnits")) != "PIXEL":
                raise InputError(
                    "the outlines of a presentation state must have GraphicAnnotationUnits (0070,0005) PIXEL; found "
                    f"{units if units in ('DISPLAY', 'MATRIX') else tell_code(units)}"
                )
            yield _Outline(corners, _images(own or everywhere))


def _images(references: Iterable[Dataset]) -> frozenset[str]:
    return frozenset(header_text(each, "ReferencedSOPInstanceUID") for each in references) - {""}


def _corners(item: Dataset) -> np.ndarray | None:
    """Returns the corners of a closed outline, None for what is none."""
    kind = header_text(item, "GraphicType")
    if kind not in ("POLYLINE", "INTERPOLATED", "CIRCLE", "ELLIPSE"):
        return None
    numbers = read_numbers(item, "GraphicData") or ()
    if len(numbers) % 2 or not all(map(math.isfinite, numbers)):
        raise InputError("GraphicData (0070,0022) must hold pairs of numbers; found something else")
    points = np.array(numbers, np.float64).reshape(-1, 2)[:, ::-1] - 0.5
    if kind in ("CIRCLE", "ELLIPSE"):
        if len(points) != (needed := 2 if kind == "CIRCLE" else 4):
            raise InputError(f"GraphicData (0070,0022) of a {kind} must hold {needed} points; found {len(points)}")
        return _round(points)
    if len(points) < 4 or not np.array_equal(points[0], points[-1]):
        return None  # a line, such as that of a length
    return points[:-1]


def _round(points: np.ndarray) -> np.ndarray:
    """Returns a polygon for a circle, [2, 2] centre and a point of it, or an ellipse, [4, 2] ends of both axes."""
    if len(points) == 2:
        centre, first = points[0], points[1] - points[0]
        second = np.array([first[1], -first[0]])
    else:
        centre = points.mean(axis=0)
        first, second = (points[1] - points[0]) / 2, (points[3] - points[2]) / 2
    angles = np.arange(_ROUND_CORNERS) * 2 * math.pi / _ROUND_CORNERS
    return np.asarray(centre + np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * second)
