"""Figures of a set of calcifications, whether of an image, a cluster or a region (the paper's Fig. 1 and 7)."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from calcseg_tf.clinical.calcification import MICRO_BELOW_MM

__all__ = ["Distances", "ShapeStatistics", "SizeHistogram", "describe_shapes"]

# Equivalent diameters from each edge to the next, the last class open; 0.5 mm parts micro from macro. Without spacing
# the same edges at 50 um a pixel.
_EDGES = {
    "mm": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0),
    "px": (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0, 30.0, 40.0),
}


@dataclasses.dataclass(frozen=True)
class SizeHistogram:
    """How many calcifications have which equivalent diameter.

    Attributes:
        unit: "mm", or "px" without spacing.
        edges: Class i holds edges[i] <= diameter < edges[i + 1]; the last has no upper end.
        counts: Of each class; as many as edges.
    """

    unit: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Distances:
    """Distances from each calcification's centroid to the nearest other's in the set."""

    mean: float
    std: float  # sample standard deviation (n - 1)
    minimum: float
    maximum: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShapeStatistics:
    """What is said of a set of calcifications.

    Attributes:
        count: Calcifications in the set.
        micro_count: Those of them with an equivalent diameter below 0.5 mm; None without spacing.
        macro_count: The others; None without spacing.
        mean_area_px: None without a calcification.
        std_area_px: Sample standard deviation (n - 1); None below two calcifications.
        mean_area_mm2: None without a calcification or without spacing.
        std_area_mm2: Sample standard deviation (n - 1); None below two calcifications or without spacing.
        size_histogram: Of the equivalent diameters.
        extent_px: The largest distance between two centroids; 0 for one calcification, None for none.
        extent_mm: Likewise; None without spacing.
        nearest_neighbour_px: None below two calcifications.
        nearest_neighbour_mm: None below two calcifications or without spacing.
        reference_area_cm2: What the density refers to: the breast, the hull of the cluster, the region within the
            image; None without spacing, and where no breast is found.
        density_per_cm2: count / reference_area_cm2.
    """

    count: int
    micro_count: int | None
    macro_count: int | None
    mean_area_px: float | None
    std_area_px: float | None
    mean_area_mm2: float | None
    std_area_mm2: float | None
    size_histogram: SizeHistogram
    extent_px: float | None
    extent_mm: float | None
    nearest_neighbour_px: Distances | None
    nearest_neighbour_mm: Distances | None
    reference_area_cm2: float | None
    density_per_cm2: float | None


def describe_shapes(
    places: np.ndarray,
    area_px: Sequence[int] | np.ndarray,
    spacing_mm: tuple[float, float] | None,
    reference_area_cm2: float | None,
) -> ShapeStatistics:
    """Describes a set of calcifications by their centroids and areas alone.

    Args:
        places: float [calcifications, 2], centroids (row, column) in px.
        area_px: [calcifications].
        spacing_mm: (row, column), or None when unknown.
        reference_area_cm2: Positive; None where the density is undefined.
    """
    area = np.asarray(area_px, np.int64)
    mean_px, std_px = _mean_and_std(area)
    pixel_mm2 = None if spacing_mm is None else spacing_mm[0] * spacing_mm[1]
    places_mm = None if spacing_mm is None else places * spacing_mm
    diameter = 2.0 * np.sqrt(area / math.pi * (pixel_mm2 or 1.0))
    micro = None if spacing_mm is None else int((diameter < MICRO_BELOW_MM).sum())
    return ShapeStatistics(
        count=len(area),
        micro_count=micro,
        macro_count=None if micro is None else len(area) - micro,
        mean_area_px=mean_px,
        std_area_px=std_px,
        mean_area_mm2=None if mean_px is None or pixel_mm2 is None else mean_px * pixel_mm2,
        std_area_mm2=None if std_px is None or pixel_mm2 is None else std_px * pixel_mm2,
        size_histogram=_histogram(diameter, "px" if spacing_mm is None else "mm"),
        extent_px=_extent(places),
        extent_mm=None if places_mm is None else _extent(places_mm),
        nearest_neighbour_px=_nearest(places),
        nearest_neighbour_mm=None if places_mm is None else _nearest(places_mm),
        reference_area_cm2=reference_area_cm2,
        density_per_cm2=None if reference_area_cm2 is None else len(area) / reference_area_cm2,
    )


def _extent(points: np.ndarray) -> float | None:
    """Returns the largest distance between two points, float [points, 2]; None for none.

    It is between two corners of their hull.
    """
    from scipy.spatial import ConvexHull, QhullError
    from scipy.spatial.distance import pdist

    if len(points) < 2:
        return 0.0 if len(points) else None
    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:  # too few, or all on one line: its ends are the extreme points
        order = np.lexsort((points[:, 1], points[:, 0]))
        corners = points[order[[0, -1]]]
    return float(pdist(corners).max())


def _mean_and_std(values: np.ndarray) -> tuple[float | None, float | None]:
    """Returns mean and sample standard deviation; None where there are too few values."""
    mean = float(values.mean()) if len(values) >= 1 else None
    std = float(values.std(ddof=1)) if len(values) >= 2 else None
    return mean, std


def _histogram(diameters: np.ndarray, unit: str) -> SizeHistogram:
    edges = _EDGES[unit]
    counts, _ = np.histogram(diameters, (*edges, math.inf))
    return SizeHistogram(unit, edges, tuple(counts.tolist()))


def _nearest(points: np.ndarray) -> Distances | None:
    from scipy.spatial import cKDTree

    if len(points) < 2:
        return None
    distance = cKDTree(points).query(points, k=2)[0][:, 1]
    mean, std = float(distance.mean()), float(distance.std(ddof=1))
    return Distances(mean, std, float(distance.min()), float(distance.max()))
