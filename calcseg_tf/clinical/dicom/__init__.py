"""Results as DICOM objects in the study of the mammogram: a segmentation and a structured report."""

from calcseg_tf.clinical.dicom.results import (
    FRACTIONAL_FILE,
    REPORT_FILE,
    SEGMENTATION_FILE,
    DicomOptions,
    write_dicom_results,
)
from calcseg_tf.clinical.dicom.source import SourceImage, read_source

__all__ = [
    "FRACTIONAL_FILE",
    "REPORT_FILE",
    "SEGMENTATION_FILE",
    "DicomOptions",
    "SourceImage",
    "read_source",
    "write_dicom_results",
]
