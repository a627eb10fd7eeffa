"""Turns DICOM mammograms and their annotations into sharded TFRecords."""
