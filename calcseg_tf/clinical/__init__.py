"""Turns a probability map into what a reader works with: every calcification, clusters, statistics, a picture."""

from calcseg_tf.clinical.calcification import Calcification, SizeClass
from calcseg_tf.clinical.clusters import Cluster, Distribution
from calcseg_tf.clinical.region import Region, RegionStatistics, measure_region
from calcseg_tf.clinical.results import write_prediction
from calcseg_tf.clinical.shape_statistics import Distances, ShapeStatistics, SizeHistogram
from calcseg_tf.clinical.statistics import ImageStatistics, measure

__all__ = [
    "Calcification",
    "Cluster",
    "Distances",
    "Distribution",
    "ImageStatistics",
    "Region",
    "RegionStatistics",
    "ShapeStatistics",
    "SizeClass",
    "SizeHistogram",
    "measure",
    "measure_region",
    "write_prediction",
]
