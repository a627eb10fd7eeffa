"""Artificial mammograms without calcifications: shape, tissue, detector, hard negatives, and the files written."""
