"""Regions that a person marks crudely around what is to be measured (the paper's section 4.2, Fig. 7)."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from calcseg_tf.clinical.shape_statistics import ShapeStatistics, describe_shapes
from calcseg_tf.clinical.statistics import ImageStatistics
from data_prep.errors import InputError
from data_prep.roi import draw_roi

__all__ = ["Region", "RegionStatistics", "measure_region"]

_ON_OUTLINE_PX = 1e-9
_FARTHEST_PX = 1e6  # larger than any image, small enough to calculate with


@dataclasses.dataclass(frozen=True)
class Region:
    """A part of an image: a polygon that may be concave; where it crosses itself the even-odd rule tells its inside.

    Attributes:
        corners: (row, column) in px, at least three; (0, 0) is the centre of the first pixel, so that the image reaches
            from -0.5 to height - 0.5 and width - 0.5. The last is joined to the first.
    """

    corners: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if len(self.corners) < 3:
            raise InputError(f"a region is a polygon of at least 3 corners; found {len(self.corners)}")
        # Written so that NaN fails.
        if not all(abs(value) <= _FARTHEST_PX for corner in self.corners for value in corner):
            raise InputError(f"the corners of a region lie within {_FARTHEST_PX:.0f} px; found one that does not")
        if np.ptp(np.array(self.corners), axis=0).min() <= 0.0:
            raise InputError("a region has an area; found one whose corners lie on one row or column")

    @staticmethod
    def rectangle(first_row: int, first_column: int, last_row: int, last_column: int) -> "Region":
        """Returns the rectangle of whole pixels, last row and column included; one pixel is a region.

        Raises:
            InputError: The last row or column lies before the first.
        """
        if last_row < first_row or last_column < first_column:
            raise InputError(
                "a rectangle's first row and column are not after its last; "
                f"found rows {first_row} to {last_row}, columns {first_column} to {last_column}"
            )
        top, left, bottom, right = first_row - 0.5, first_column - 0.5, last_row + 0.5, last_column + 0.5
        return Region(((top, left), (top, right), (bottom, right), (bottom, left)))

    @staticmethod
    def polygon(corners: Sequence[Sequence[float]] | np.ndarray) -> "Region":
        """Returns the polygon of these corners, [corners, 2]: (row, column) in px each."""
        return Region(tuple((float(row), float(column)) for row, column in corners))

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Tells which points, float [points, 2], lie inside or on the outline; bool [points]."""
        rows, columns = np.asarray(points, np.float64).reshape(-1, 2).T
        inside, on_outline = np.zeros((2, len(rows)), bool)
        for (r0, c0), (r1, c1) in zip(self.corners, (*self.corners[1:], self.corners[0]), strict=True):
            crosses = (r0 > rows) != (r1 > rows)
            # Twice the signed area of the triangle of edge and point; its sign tells on which side the point is.
            side = (c1 - c0) * (rows - r0) - (r1 - r0) * (columns - c0)
            inside ^= crosses & ((side > 0) == (r1 > r0))
            length = math.hypot(r1 - r0, c1 - c0)
            along = (r1 - r0) * (rows - r0) + (c1 - c0) * (columns - c0)
            reach = _ON_OUTLINE_PX * length
            on_outline |= (np.abs(side) <= reach) & (along >= -reach) & (along <= length**2 + reach)
        return inside | on_outline

    def pixels_in(self, height: int, width: int) -> int:
        """Counts the pixels of an image whose centre is inside; a sliver that holds none counts those it passes.

        Raises:
            InputError: The region lies outside the image.
        """
        mask = np.zeros((height, width), np.uint8)
        draw_roi(mask, np.array(self.corners) + 0.5, 1)
        if (count := int(np.count_nonzero(mask))) == 0:
            rows, columns = np.array(self.corners).T
            raise InputError(
                f"a region must overlap its image of {height} rows and {width} columns; found rows {rows.min():g} to "
                f"{rows.max():g}, columns {columns.min():g} to {columns.max():g}"
            )
        return count

    def leaves(self, height: int, width: int) -> bool:
        """Tells whether a part of it lies outside an image."""
        corners = np.array(self.corners)
        return bool(((corners < -0.5) | (corners > (height - 0.5, width - 0.5))).any())


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegionStatistics(ShapeStatistics):
    """The calcifications whose centroid lies in a region or on its outline; each counts with its whole area.

    Attributes:
        region: The region.
        leaves_image: Whether a part of it lies outside the image; the density refers to the part inside.
        calcification_ids: Ascending.
    """

    region: Region
    leaves_image: bool
    calcification_ids: tuple[int, ...]


def measure_region(statistics: ImageStatistics, region: Region) -> RegionStatistics:
    """Measures the calcifications of a region: the table of the paper's Fig. 7 for one examination.

    Args:
        statistics: Of the image.
        region: In pixels of the image.

    Raises:
        InputError: The region lies outside the image.
    """
    pixels = region.pixels_in(statistics.height, statistics.width)
    places = np.array([(found.row, found.column) for found in statistics.calcifications]).reshape(-1, 2)
    members = np.flatnonzero(region.contains(places))
    area_px = [statistics.calcifications[member].area_px for member in members]
    spacing = statistics.pixel_spacing_mm
    reference = None if spacing is None else pixels * spacing[0] * spacing[1] / 100.0
    shapes = describe_shapes(places[members], area_px, spacing, reference)
    return RegionStatistics(
        **vars(shapes),
        region=region,
        leaves_image=region.leaves(statistics.height, statistics.width),
        calcification_ids=tuple(statistics.calcifications[member].id for member in members),
    )
