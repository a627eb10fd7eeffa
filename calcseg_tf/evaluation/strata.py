"""Which calcifications are found: by size, by view, by density of the neighbourhood."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from calcseg_tf.evaluation.image_score import ImageCase
from calcseg_tf.evaluation.objects import NEIGHBOUR_MM, NEIGHBOUR_PX, Calcifications

__all__ = ["DIMENSIONS", "UNKNOWN_VIEW", "Dimension", "class_names", "class_of", "diameter_mm"]

UNKNOWN_VIEW = "unknown"

_AREA_PX = (1.0, 2.0, 5.0, 10.0, 25.0, 100.0, math.inf)
# From 0.5 mm on BI-RADS calls calcifications coarse; 0.1 mm is about one pixel and a half.
_DIAMETER_MM = (0.0, 0.1, 0.25, 0.5, 1.0, math.inf)
_NEIGHBOURS = (0.0, 1.0, 5.0, 10.0, 20.0, math.inf)


@dataclasses.dataclass(frozen=True)
class Dimension:
    """By what calcifications are divided.

    Attributes:
        name: In paths of metrics.json, `strata.<name>.<class>`.
        edges: Of the classes, lower ends inclusive; empty for the view, whose classes are the terms that occur.
        sentence: What it measures.
    """

    name: str
    edges: tuple[float, ...]
    sentence: str


DIMENSIONS = (
    Dimension("area_px", _AREA_PX, "Area of the annotated calcification in pixels."),
    Dimension(
        "diameter_mm",
        _DIAMETER_MM,
        "Diameter in mm of the circle of the annotated calcification's area; calcifications of images without a pixel "
        "spacing are in no class.",
    ),
    Dimension("view", (), "View Position (0018,5101) of the mammogram."),
    Dimension(
        "neighbours",
        _NEIGHBOURS,
        f"Other annotated calcifications whose centroid lies within {NEIGHBOUR_MM:g} mm of its own, or within "
        f"{NEIGHBOUR_PX:g} px in images without a pixel spacing.",
    ),
)


def class_names(dimension: Dimension, cases: Sequence[ImageCase]) -> tuple[str, ...]:
    """Returns the names of a dimension's classes, such as "2 to 4", "from 100" or "MLO"."""
    if not dimension.edges:
        return tuple(sorted({case.view or UNKNOWN_VIEW for case in cases}))
    whole = dimension.name != "diameter_mm"
    names = []
    for low, high in zip(dimension.edges[:-1], dimension.edges[1:], strict=True):
        if math.isinf(high):
            names.append(f"from {low:g}")
        elif whole:
            names.append(f"{low:g}" if high == low + 1 else f"{low:g} to {high - 1:g}")
        else:
            names.append(f"{low:g} to below {high:g}")
    return tuple(names)


def class_of(dimension: Dimension, case: ImageCase, found: Calcifications, names: Sequence[str]) -> np.ndarray:
    """Returns int64 [calcifications]: the index of each calcification's class among `names`, -1 where it is in none."""
    if not dimension.edges:
        return np.full(len(found), names.index(case.view or UNKNOWN_VIEW))
    values = {"area_px": found.area_px, "neighbours": found.neighbours}.get(dimension.name)
    if values is None:
        if case.pixel_spacing_mm is None:
            return np.full(len(found), -1)
        values = diameter_mm(found.area_px, case.pixel_spacing_mm)
    return np.searchsorted(dimension.edges, values, side="right") - 1


def diameter_mm(area_px: np.ndarray, pixel_spacing_mm: tuple[float, float]) -> np.ndarray:
    """Returns the diameters in mm of the circles of areas in px, both [n]; the spacing is (row, column)."""
    row_mm, column_mm = pixel_spacing_mm
    return np.asarray(2.0 * np.sqrt(area_px * (row_mm * column_mm) / np.pi))
