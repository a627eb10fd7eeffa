"""DICOM: checked access to attributes, what a header says, encoded pixels, segmentations."""
