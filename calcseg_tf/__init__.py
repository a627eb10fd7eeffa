"""Microcalcification segmentation in mammograms: models, training, inference, evaluation, clinical results."""

__version__ = "0.1.0"
