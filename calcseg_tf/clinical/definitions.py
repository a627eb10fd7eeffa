"""What each figure of statistics.json and calcifications.csv means: one sentence a key, written into the file."""

from calcseg_tf.clinical.calcification import MICRO_BELOW_MM
from calcseg_tf.clinical.clusters import (
    CLUSTER_MIN_CALCIFICATIONS,
    CLUSTER_RADIUS_MM,
    DIFFUSE_SHARE,
    GROUPED_EXTENT_MM,
    LINEAR_ELONGATION,
    SEGMENTAL_ELONGATION,
)
from calcseg_tf.clinical.components import SURROUNDINGS_MM, SURROUNDINGS_PX
from data_prep.command import DISCLAIMER_COLUMN

__all__ = ["DEFINITIONS"]

_CALCIFICATION = {
    "calcification": "An 8-connected component of the pixels whose probability, rounded to 16 bits, is >= threshold.",
    "row, column": "Centroid in pixels; (0, 0) is the centre of the first pixel.",
    "px, mm": (
        "Figures in px take pixels as squares of side 1; figures in mm rest on pixel_spacing_mm and its source, and "
        "are empty without; ratios and angles are of the shape in mm, or in px without spacing."
    ),
    "pixel_spacing_mm, pixel_spacing_source": "Distance of pixel centres, (row, column), and what states it.",
    "area_px": "Pixels.",
    "area_mm2": "Pixels x row spacing x column spacing; worth as much as the spacing's source.",
    "equivalent_diameter": "Diameter of the circle of the same area.",
    "longest_diameter": "Largest distance between two points of the calcification, outer edges of pixels included.",
    "calcification.elongation": (
        "Longer over shorter axis of the ellipse of the same second moments, a pixel being a square with its own; 1 is "
        "round."
    ),
    "circularity": (
        "area^2 / (2 pi (m_rr + m_cc)) of the central second moments m, not divided by the area; 1 for a disc, less "
        "for all else (Zunic, Hirota, Rosin, Pattern Recognition 43, 2010, 47-57)."
    ),
    "orientation_deg": (
        "Direction of the longer axis in [0, 180): 0 along a row, 90 along a column, 45 from lower left to upper "
        "right; empty where both axes are equal."
    ),
    "size_class": f"micro: equivalent diameter below {MICRO_BELOW_MM:g} mm; macro: all else.",
    "mean_intensity, peak_intensity": "Mean and maximum over its pixels of the mammogram's intensity, in [0, 1].",
    "local_contrast": (
        "mean_intensity less the mean intensity of the pixels in no calcification within the bounding box widened by "
        f"{SURROUNDINGS_MM:g} mm on each side ({SURROUNDINGS_PX} px without spacing)."
    ),
    "max_probability, mean_probability": "Maximum and mean over its pixels of the probability.",
    "top, left, bottom, right": "Bounding box: first row and column, and one past the last.",
}

_SETS = {
    "count": "Calcifications.",
    "micro_count, macro_count": "Calcifications of either size_class.",
    "mean_area": "Mean over the calcifications.",
    "mean_area_mm2": "Mean over the calcifications.",
    "std_area": "Sample standard deviation over the calcifications (n - 1).",
    "std_area_mm2": "Sample standard deviation over the calcifications (n - 1).",
    "size_histogram": (
        "Calcifications by equivalent diameter; counts[i] from edges[i] up to, but without, edges[i + 1], the last "
        "without an upper end."
    ),
    "extent": "Largest distance between two centroids.",
    "nearest_neighbour": (
        "Distance from each centroid to the nearest other of the same set: mean, sample standard deviation (n - 1), "
        "minimum, maximum."
    ),
    "reference_area_cm2": (
        "What density_per_cm2 refers to: the breast for the image (found by Otsu's threshold), the hull for a cluster."
    ),
    "density_per_cm2": "count / reference_area_cm2.",
}

_CLUSTERS = {
    "clusters": (
        f"DBSCAN of the centroids: at least {CLUSTER_MIN_CALCIFICATIONS} calcifications within {CLUSTER_RADIUS_MM:g} "
        'mm of one of them, after "grouped" of BI-RADS, 5th edition (lower limit 5 within 1 cm, upper limit larger '
        "numbers within 2 cm); neighbouring groups chain."
    ),
    "clusters.hull": "Corners (row, column) in px of the convex hull of the bounding boxes.",
    "clusters.elongation": (
        "Longer over shorter axis of the ellipse of the second moments of the centroids, in mm; null where they lie on "
        "one line."
    ),
    "clusters.distribution": (
        "A descriptor in BI-RADS' words by stated rules, not a diagnosis; the first that applies: diffuse, hull over "
        f"at least {DIFFUSE_SHARE:.0%} of the breast; linear, elongation of at least {LINEAR_ELONGATION:g}; grouped, "
        f"extent of at most {GROUPED_EXTENT_MM:g} mm; segmental, elongation of at least {SEGMENTAL_ELONGATION:g}; "
        "regional, all else."
    ),
}

_TABLE = {DISCLAIMER_COLUMN: "Last column of the table, always empty: its name says it where there is no row too."}

DEFINITIONS = {**_CALCIFICATION, **_SETS, **_CLUSTERS, **_TABLE, "undefined": "Why a figure is null."}
