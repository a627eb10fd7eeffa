"""Microcalcification segmentation in mammograms: models, training, inference, evaluation, clinical results."""
