"""Predicts many files: finds them, spreads them over processes, threads or Beam, and can be stopped and resumed."""

from calcseg_tf.bulk.running import BulkConfig, Report, Runner, predict_bulk
from calcseg_tf.bulk.threads import InThreads

__all__ = ["BulkConfig", "InThreads", "Report", "Runner", "predict_bulk"]
