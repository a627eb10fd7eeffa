"""Shape statistics of calcifications and their clusters (the paper's Fig. 1 and 7, section 4.2)."""

import dataclasses
import math

import numpy as np

from calcseg_tf.probability_map import FULL_SCALE, from_code, threshold_code, to_codes
from data_prep.components import label_components
from data_prep.errors import InputError
from data_prep.mammogram import SpacingSource

__all__ = [
    "CLUSTER_MIN_CALCIFICATIONS",
    "CLUSTER_RADIUS_MM",
    "Calcification",
    "Cluster",
    "ImageStatistics",
    "measure",
]

# ACR BI-RADS Atlas, 5th edition (2013), Mammography, distribution "grouped": at least 5 calcifications, within at most
# 2 cm of each other. A circle 2 cm across has a radius of 1 cm: DBSCAN starts or continues a cluster at a calcification
# that has at least 5, itself among them, within 10 mm. Neighbouring groups chain, so that a cluster may extend beyond
# 2 cm ("regional", "segmental"); its extent says so.
CLUSTER_RADIUS_MM = 10.0
CLUSTER_MIN_CALCIFICATIONS = 5

# DBSCAN holds every pair of neighbours: 10,000 finds within 1 cm are 0.8 GB. No mammogram has as many calcifications;
# a threshold that is far too low gives them.
_MAX_CLUSTERED = 10_000

_NO_SPACING = "the pixel spacing is unknown, and clusters are defined in mm"


@dataclasses.dataclass(frozen=True)
class Calcification:
    """One connected component (8-connected) of the pixels at or above the threshold.

    Attributes:
        id: 1 to count, by row, then column.
        row: Centroid in pixels; 0 is the centre of the first row.
        column: Likewise.
        area_px: Pixels.
        area_mm2: Pixels times row spacing times column spacing; None without spacing.
        equivalent_diameter_mm: Diameter of the circle of that area; None without spacing.
        max_probability: The highest in it, at 16-bit resolution.
        mean_probability: Over its pixels.
        mean_intensity: Over its pixels, of the mammogram, in [0, 1].
        cluster_id: None outside every cluster, and where clusters are undefined.
    """

    id: int
    row: float
    column: float
    area_px: int
    area_mm2: float | None
    equivalent_diameter_mm: float | None
    max_probability: float
    mean_probability: float
    mean_intensity: float
    cluster_id: int | None


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Calcifications that are grouped (BI-RADS, 5th edition).

    Attributes:
        id: From 1, in the order of their first calcification.
        count: Calcifications in it.
        row: Mean of their centroids, in pixels.
        column: Likewise.
        extent_mm: The largest distance between two of their centroids.
        mean_area_mm2: Of their areas.
        std_area_mm2: Of their areas; sample standard deviation (n - 1).
    """

    id: int
    count: int
    row: float
    column: float
    extent_mm: float
    mean_area_mm2: float
    std_area_mm2: float


@dataclasses.dataclass(frozen=True)
class ImageStatistics:
    """What is measured on one mammogram.

    Attributes:
        calcifications: By id.
        clusters: By id; None where they are undefined.
        clusters_reason: Why they are, or "".
        mean_area_px: None without a calcification.
        std_area_px: Sample standard deviation (n - 1); None below two calcifications.
        mean_area_mm2: None without a calcification or without spacing.
        std_area_mm2: None below two calcifications or without spacing.
        threshold: p >= threshold is a calcification.
        pixel_spacing_mm: (row, column), or None when unknown.
        spacing_source: What the areas in mm2 rest on.
    """

    calcifications: tuple[Calcification, ...]
    clusters: tuple[Cluster, ...] | None
    clusters_reason: str
    mean_area_px: float | None
    std_area_px: float | None
    mean_area_mm2: float | None
    std_area_mm2: float | None
    threshold: float
    pixel_spacing_mm: tuple[float, float] | None
    spacing_source: SpacingSource

    @property
    def count(self) -> int:
        """Calcifications in the image."""
        return len(self.calcifications)


@dataclasses.dataclass(frozen=True, eq=False)
class _Measured:
    """The components' figures as arrays, by id - 1."""

    row: np.ndarray
    column: np.ndarray
    area_px: np.ndarray
    max_code: np.ndarray
    mean_code: np.ndarray
    mean_intensity: np.ndarray


def measure(
    probability: np.ndarray,
    intensity: np.ndarray,
    threshold: float,
    pixel_spacing_mm: tuple[float, float] | None,
    spacing_source: SpacingSource,
) -> ImageStatistics:
    """Measures every calcification of a mammogram.

    Args:
        probability: float [height, width] in [0, 1], rounded to 16 bits first; or uint16 codes, round(65535 p).
        intensity: float [height, width] in [0, 1], brighter is denser.
        threshold: In (0, 1]; p >= threshold is a calcification.
        pixel_spacing_mm: (row, column), positive; None when unknown.
        spacing_source: Where the spacing comes from; UNKNOWN if and only if it is unknown.

    Raises:
        InputError: Sizes differ, a value is out of its range, or a spacing comes without its source.
    """
    codes = to_codes(probability)
    if intensity.shape != codes.shape:
        raise InputError(f"probability and intensity have one size; found {codes.shape} and {intensity.shape}")
    _check_spacing(pixel_spacing_mm, spacing_source)
    found = _measure_components(codes, intensity, threshold)
    cluster_ids, clusters_reason = _cluster_ids(found, pixel_spacing_mm)
    pixel_mm2 = pixel_spacing_mm[0] * pixel_spacing_mm[1] if pixel_spacing_mm else None
    mean_px, std_px = _mean_and_std(found.area_px)
    return ImageStatistics(
        calcifications=_calcifications(found, cluster_ids, pixel_mm2),
        clusters=_clusters(found, cluster_ids, pixel_spacing_mm) if pixel_spacing_mm and not clusters_reason else None,
        clusters_reason=clusters_reason,
        mean_area_px=mean_px,
        std_area_px=std_px,
        mean_area_mm2=mean_px * pixel_mm2 if mean_px is not None and pixel_mm2 else None,
        std_area_mm2=std_px * pixel_mm2 if std_px is not None and pixel_mm2 else None,
        threshold=float(threshold),
        pixel_spacing_mm=pixel_spacing_mm,
        spacing_source=spacing_source,
    )


def _check_spacing(spacing: tuple[float, float] | None, source: SpacingSource) -> None:
    if (spacing is None) != (source is SpacingSource.UNKNOWN):
        raise InputError(f"a pixel spacing needs its source, and a source its spacing; found {spacing}, {source.value}")
    if spacing is not None and not all(0.0 < value < math.inf for value in spacing):
        raise InputError(f"a pixel spacing is positive; found {spacing} mm")


def _measure_components(codes: np.ndarray, intensity: np.ndarray, threshold: float) -> _Measured:
    labels, count = label_components(codes >= threshold_code(threshold))
    rows, columns = np.nonzero(labels)
    component = labels[rows, columns].astype(np.int64) - 1
    pixel_codes = codes[rows, columns].astype(np.int64)
    area = np.bincount(component, minlength=count)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(component, weights=values, minlength=count) / area

    highest = np.zeros(count, np.int64)
    np.maximum.at(highest, component, pixel_codes)
    row, column = mean(rows), mean(columns)
    order = np.lexsort((area, column, row))
    return _Measured(
        row=row[order],
        column=column[order],
        area_px=area[order],
        max_code=highest[order],
        mean_code=mean(pixel_codes)[order],
        mean_intensity=mean(intensity[rows, columns])[order],
    )


def _cluster_ids(found: _Measured, spacing: tuple[float, float] | None) -> tuple[np.ndarray, str]:
    """Groups the centroids.

    Returns:
        ids: int64 [count]; 0 outside every cluster.
        reason: Why there are no clusters to speak of, or "".
    """
    from sklearn.cluster import DBSCAN
    from sklearn.neighbors import NearestNeighbors

    count = len(found.area_px)
    none = np.zeros(count, np.int64)
    if spacing is None:
        return none, _NO_SPACING
    if count > _MAX_CLUSTERED:
        return none, f"more than {_MAX_CLUSTERED} calcifications, which no mammogram has: the threshold is too low"
    if count < CLUSTER_MIN_CALCIFICATIONS:
        return none, ""
    points = np.stack([found.row * spacing[0], found.column * spacing[1]], axis=1)
    fitted = DBSCAN(eps=CLUSTER_RADIUS_MM, min_samples=CLUSTER_MIN_CALCIFICATIONS).fit(points)
    core, labels = fitted.core_sample_indices_, fitted.labels_
    if len(core) == 0:
        return none, ""
    # DBSCAN gives a calcification on the border of two clusters to the one it happens to meet first, which depends on
    # the order. The nearest core decides instead, so that a mirrored mammogram has the same clusters.
    border = np.setdiff1d(np.flatnonzero(labels >= 0), core)
    if len(border):
        nearest = NearestNeighbors(n_neighbors=1).fit(points[core]).kneighbors(points[border], return_distance=False)
        labels[border] = labels[core[nearest[:, 0]]]
    members, first = np.unique(labels[labels >= 0], return_index=True)
    new_id = np.zeros(int(labels.max()) + 2, np.int64)  # the last, for label -1, stays 0
    new_id[members[np.argsort(first)]] = np.arange(1, len(members) + 1)
    return new_id[labels], ""


def _calcifications(found: _Measured, cluster_ids: np.ndarray, pixel_mm2: float | None) -> tuple[Calcification, ...]:
    calcifications = []
    for index, area_px in enumerate(found.area_px.tolist()):
        area_mm2 = area_px * pixel_mm2 if pixel_mm2 else None
        calcifications.append(
            Calcification(
                id=index + 1,
                row=float(found.row[index]),
                column=float(found.column[index]),
                area_px=area_px,
                area_mm2=area_mm2,
                equivalent_diameter_mm=2.0 * math.sqrt(area_mm2 / math.pi) if area_mm2 is not None else None,
                max_probability=from_code(found.max_code[index]),
                mean_probability=float(found.mean_code[index]) / FULL_SCALE,
                mean_intensity=float(found.mean_intensity[index]),
                cluster_id=int(cluster_ids[index]) or None,
            )
        )
    return tuple(calcifications)


def _clusters(found: _Measured, cluster_ids: np.ndarray, spacing: tuple[float, float]) -> tuple[Cluster, ...]:
    clusters = []
    for cluster_id in range(1, int(cluster_ids.max(initial=0)) + 1):
        member = cluster_ids == cluster_id
        area_mm2 = found.area_px[member] * (spacing[0] * spacing[1])
        points = np.stack([found.row[member] * spacing[0], found.column[member] * spacing[1]], axis=1)
        clusters.append(
            Cluster(
                id=cluster_id,
                count=int(member.sum()),
                row=float(found.row[member].mean()),
                column=float(found.column[member].mean()),
                extent_mm=_extent(points),
                mean_area_mm2=float(area_mm2.mean()),
                std_area_mm2=float(area_mm2.std(ddof=1)),
            )
        )
    return tuple(clusters)


def _extent(points: np.ndarray) -> float:
    """Returns the largest distance between two points, float [points, 2]; it is between two corners of their hull."""
    from scipy.spatial import ConvexHull, QhullError
    from scipy.spatial.distance import pdist

    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError:  # all on one line: its ends are the extreme points
        order = np.lexsort((points[:, 1], points[:, 0]))
        corners = points[order[[0, -1]]]
    return float(pdist(corners).max())


def _mean_and_std(values: np.ndarray) -> tuple[float | None, float | None]:
    """Returns mean and sample standard deviation; None where there are too few values."""
    mean = float(values.mean()) if len(values) >= 1 else None
    std = float(values.std(ddof=1)) if len(values) >= 2 else None
    return mean, std
