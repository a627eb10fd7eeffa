"""DICOM Segmentation objects as code, written by highdicom, and by hand where it refuses what others write."""

import pathlib
from collections.abc import Sequence

import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import Code
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

from tests.fakes.dicom import fake_dicom, fake_uid

__all__ = ["ANATOMY", "CALCIFICATION_CODE", "CLUSTER_CODE", "FINDING", "LESION_CODE", "write_segmentation"]

FINDING = Code("49755003", "SCT", "Morphologically Altered Structure")
ANATOMY = Code("91723000", "SCT", "Anatomical Structure")
CALCIFICATION_CODE = Code("129770007", "SCT", "Individual Calcification")
CLUSTER_CODE = Code("129769006", "SCT", "Calcification Cluster")
LESION_CODE = Code("52988006", "SCT", "Lesion")


def write_segmentation(
    path: pathlib.Path,
    segments: Sequence[np.ndarray],
    *,
    kind: str = "BINARY",
    codes: Sequence[tuple[Code, Code]] = (),
    image: Dataset | None = None,
    syntax: UID = ExplicitVRLittleEndian,
) -> pathlib.Path:
    """Writes a segmentation of one mammogram.

    Args:
        path: File to write.
        segments: For each segment its pixels [height, width]: truth values, or fractions in [0, 1] for FRACTIONAL.
        kind: BINARY, FRACTIONAL or LABELMAP.
        codes: (category, type) of each segment; individual calcifications where there are too few.
        image: The mammogram; a fake one of the same size where there is none.
        syntax: Transfer syntax of the pixels.
    """
    height, width = segments[0].shape
    image = image or fake_dicom(np.zeros((height, width), np.uint16))
    for keyword in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"):
        image.setdefault(keyword, None)
    image.setdefault("ReferringPhysicianName", None)
    image.setdefault("InstanceNumber", 1)
    image.setdefault("SeriesNumber", 1)
    told = [*codes, *[(FINDING, CALCIFICATION_CODE)] * (len(segments) - len(codes))]
    descriptions = [
        SegmentDescription(
            segment_number=number,
            segment_label=f"segment {number}",
            segmented_property_category=category,
            segmented_property_type=what,
            algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, (category, what) in enumerate(told, 1)
    ]
    pixels = np.stack(segments, axis=-1)[np.newaxis]
    dataset = Segmentation(
        source_images=[image],
        pixel_array=pixels if kind == "FRACTIONAL" else pixels.astype(np.uint8),
        segmentation_type=kind,
        segment_descriptions=descriptions,
        series_instance_uid=fake_uid(5),
        series_number=2,
        sop_instance_uid=fake_uid(6),
        instance_number=1,
        manufacturer="fake",
        manufacturer_model_name="fake",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=False,
    )
    if syntax.is_compressed:
        plugin = "pydicom" if syntax == RLELossless else ""  # GDCM's encoder ends the process on images this small
        dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    dataset.save_as(path)
    return path
