"""Scores predictions against annotations: FROC, per-pixel curves, confidence intervals. Free of TensorFlow."""

from calcseg_tf.evaluation.evaluation import Evaluation
from calcseg_tf.evaluation.evaluation_result import PRIMARY, EvaluationResult, choose_threshold
from calcseg_tf.evaluation.metrics import build_metrics, summary_table
from calcseg_tf.evaluation.paired import paired_differences
from calcseg_tf.evaluation.results import METRICS_FILE, write_results

__all__ = [
    "METRICS_FILE",
    "PRIMARY",
    "Evaluation",
    "EvaluationResult",
    "build_metrics",
    "choose_threshold",
    "paired_differences",
    "summary_table",
    "write_results",
]
