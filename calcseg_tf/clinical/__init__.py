"""Turns a probability map into what a reader works with: every calcification, clusters, statistics, a picture."""

from calcseg_tf.clinical.results import write_prediction
from calcseg_tf.clinical.statistics import Calcification, Cluster, ImageStatistics, measure

__all__ = ["Calcification", "Cluster", "ImageStatistics", "measure", "write_prediction"]
