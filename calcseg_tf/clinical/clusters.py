"""Clusters of calcifications: which belong together, their hull, and how they lie in BI-RADS' words; no diagnosis."""

import dataclasses
import enum
import math

import numpy as np

from calcseg_tf.clinical.components import Components
from calcseg_tf.clinical.shape_statistics import ShapeStatistics, describe_shapes

__all__ = [
    "CLUSTER_MIN_CALCIFICATIONS",
    "CLUSTER_RADIUS_MM",
    "DIFFUSE_SHARE",
    "GROUPED_EXTENT_MM",
    "LINEAR_ELONGATION",
    "SEGMENTAL_ELONGATION",
    "Cluster",
    "Distribution",
    "cluster_calcifications",
    "describe_clusters",
]

# ACR BI-RADS Atlas, 5th edition (2013), Mammography, distribution "grouped": the lower limit is usually 5
# calcifications within 1 cm of each other, the upper limit larger numbers within 2 cm of each other. DBSCAN starts or
# continues a cluster at a calcification that has at least 5, itself among them, within 1 cm: whatever meets the lower
# limit is in a cluster, and 5 that make one lie within 2 cm. Neighbouring groups chain: a cluster may extend further.
CLUSTER_RADIUS_MM = 10.0
CLUSTER_MIN_CALCIFICATIONS = 5

# The same, upper limit of "grouped" and lower of "regional" ("more than 2 cm in greatest dimension").
GROUPED_EXTENT_MM = 20.0

# BI-RADS says "arrayed in a line" and has no figure. Of five calcifications drawn at random in a disc 4 % are as
# elongated as this, of seven 0.4 %, of ten none in 20,000.
LINEAR_ELONGATION = 5.0

# Nor for "segmental", deposits in a duct and its branches. As elongated as this are 2.4 % of ten in a disc.
SEGMENTAL_ELONGATION = 2.5

# "Distributed randomly throughout the breast": over at least half of it.
DIFFUSE_SHARE = 0.5

# DBSCAN holds every pair of neighbours, 8 bytes each. 50,000 calcifications spread over a breast have fewer.
_MAX_PAIRS = 40_000_000

_NO_SPACING = "the pixel spacing is unknown, and clusters are defined in mm"


class Distribution(enum.StrEnum):
    """How the calcifications of a cluster lie: descriptors of BI-RADS, 5th edition, by the rules of `Cluster`."""

    DIFFUSE = "diffuse"
    REGIONAL = "regional"
    GROUPED = "grouped"
    LINEAR = "linear"
    SEGMENTAL = "segmental"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster(ShapeStatistics):
    """Calcifications that lie together, found by DBSCAN of their centroids in mm.

    The descriptor is the first of these that applies; it describes positions, does not know where the nipple is, and
    is no diagnosis:

    - diffuse: the hull covers at least half of the breast;
    - linear: `elongation` of at least 5;
    - grouped: `extent_mm` of at most 20;
    - segmental: `elongation` of at least 2.5;
    - regional: all else.

    Attributes:
        id: From 1, in the order of their first calcification.
        row: Mean of their centroids, in pixels.
        column: Likewise.
        calcification_ids: Ascending.
        hull: Corners (row, column) in px of the convex hull of their bounding boxes, against the clock as displayed;
            (0, 0) is the centre of the first pixel, so that corners lie on halves.
        elongation: Longer over shorter axis of the ellipse with the second moments of the centroids, in mm; None where
            the centroids lie on one line, which is longer than any ellipse.
        distribution: The descriptor.
    """

    id: int
    row: float
    column: float
    calcification_ids: tuple[int, ...]
    hull: tuple[tuple[float, float], ...]
    elongation: float | None
    distribution: Distribution


def cluster_calcifications(found: Components, spacing_mm: tuple[float, float] | None) -> tuple[np.ndarray, str]:
    """Groups the centroids.

    Returns:
        ids: int64 [components]; 0 outside every cluster.
        reason: Why there are no clusters to speak of, or "".
    """
    from scipy.spatial import cKDTree
    from sklearn.cluster import DBSCAN

    none = np.zeros(len(found), np.int64)
    if spacing_mm is None:
        return none, _NO_SPACING
    if len(found) < CLUSTER_MIN_CALCIFICATIONS:
        return none, ""
    points = np.stack([found.row, found.column], axis=1) * spacing_mm
    tree = cKDTree(points)
    pairs = int(tree.count_neighbors(tree, CLUSTER_RADIUS_MM))
    if pairs > _MAX_PAIRS:
        return none, f"{len(found)} calcifications lie closer than in any mammogram: the threshold is too low"
    fitted = DBSCAN(eps=CLUSTER_RADIUS_MM, min_samples=CLUSTER_MIN_CALCIFICATIONS).fit(points)
    core, labels = fitted.core_sample_indices_, fitted.labels_
    if len(core) == 0:
        return none, ""
    # DBSCAN gives a calcification on the border of two clusters to the one it happens to meet first, which depends on
    # the order. The nearest core decides instead, so that a mirrored mammogram has the same clusters.
    border = np.setdiff1d(np.flatnonzero(labels >= 0), core)
    if len(border):
        labels[border] = labels[core[cKDTree(points[core]).query(points[border])[1]]]
    members, first = np.unique(labels[labels >= 0], return_index=True)
    new_id = np.zeros(int(labels.max()) + 2, np.int64)  # the last, for label -1, stays 0
    new_id[members[np.argsort(first)]] = np.arange(1, len(members) + 1)
    return new_id[labels], ""


def describe_clusters(
    found: Components, cluster_ids: np.ndarray, spacing_mm: tuple[float, float], breast_cm2: float | None
) -> tuple[Cluster, ...]:
    """Describes each cluster.

    Args:
        found: The components.
        cluster_ids: int64 [components]; 0 outside every cluster.
        spacing_mm: (row, column).
        breast_cm2: Area of the breast, or None where none is found: no cluster is diffuse then.
    """
    places = np.stack([found.row, found.column], axis=1)
    by_cluster = np.argsort(cluster_ids, kind="stable")
    last = int(cluster_ids.max(initial=0))
    bounds = np.searchsorted(cluster_ids[by_cluster], np.arange(1, last + 2))
    clusters = []
    for cluster_id in range(1, last + 1):
        members = by_cluster[bounds[cluster_id - 1] : bounds[cluster_id]]
        hull, hull_px = _hull(found.box[members])
        hull_cm2 = hull_px * spacing_mm[0] * spacing_mm[1] / 100.0
        shapes = describe_shapes(places[members], found.area_px[members], spacing_mm, hull_cm2)
        elongation = _elongation(places[members] * spacing_mm)
        assert shapes.extent_mm is not None
        share = 0.0 if breast_cm2 is None else hull_cm2 / breast_cm2
        row, column = places[members].mean(axis=0).tolist()
        clusters.append(
            Cluster(
                **vars(shapes),
                id=cluster_id,
                row=row,
                column=column,
                calcification_ids=tuple((members + 1).tolist()),
                hull=hull,
                elongation=elongation if math.isfinite(elongation) else None,
                distribution=_distribution(elongation, shapes.extent_mm, share),
            )
        )
    return tuple(clusters)


def _distribution(elongation: float, extent_mm: float, share: float) -> Distribution:
    """Returns the descriptor; `Cluster` has the rules.

    Args:
        elongation: Infinite on one line.
        extent_mm: Largest distance of two centroids.
        share: Hull over breast.
    """
    if share >= DIFFUSE_SHARE:
        return Distribution.DIFFUSE
    if elongation >= LINEAR_ELONGATION:
        return Distribution.LINEAR
    if extent_mm <= GROUPED_EXTENT_MM:
        return Distribution.GROUPED
    return Distribution.SEGMENTAL if elongation >= SEGMENTAL_ELONGATION else Distribution.REGIONAL


def _elongation(points: np.ndarray) -> float:
    """Returns longer over shorter axis of the points' second moments, infinite on one line."""
    rows, columns = (points - points.mean(axis=0)).T
    middle = float((rows @ rows + columns @ columns) / 2)
    half = math.hypot((rows @ rows - columns @ columns) / 2, rows @ columns)
    # Points on a slanting line leave a rounding.
    return math.sqrt((middle + half) / (middle - half)) if middle - half > 1e-12 * middle else math.inf


def _hull(boxes: np.ndarray) -> tuple[tuple[tuple[float, float], ...], float]:
    """Returns the corners of the convex hull of pixel boxes, int [boxes, 4], and its area in px."""
    from scipy.spatial import ConvexHull

    top, left, bottom, right = boxes.T - 0.5
    points = np.concatenate([np.stack([r, c], axis=1) for r in (top, bottom) for c in (left, right)])
    hull = ConvexHull(points)  # two-dimensional: a box has an area
    corners = points[hull.vertices]
    return tuple((row, column) for row, column in corners.tolist()), float(hull.volume)
