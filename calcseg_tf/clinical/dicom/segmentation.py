"""DICOM Segmentation (PS3.3 A.51) of one mammogram: its calcifications, or their probabilities."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation

from calcseg_tf import __version__
from calcseg_tf.clinical.dicom.equipment import ALGORITHM_FAMILY, SOFTWARE, ResultIdentity, algorithm_parameters
from calcseg_tf.clinical.dicom.source import SourceImage
from calcseg_tf.clinical.dicom.terms import BREAST, CALCIFICATION, FINDING_CATEGORY
from calcseg_tf.clinical.statistics import ImageStatistics
from calcseg_tf.probability_map import FULL_SCALE, threshold_code
from data_prep.command import DISCLAIMER

__all__ = ["SEGMENT_NUMBER", "TRACKING_ID", "make_probabilities", "make_segmentation", "tracking_uid"]

SEGMENT_NUMBER = 1
TRACKING_ID = "calcifications"
_RED = (53.2, 80.1, 67.2)  # CIELab, the hot end of the paper's heat map
_STEPS = 255  # of a fraction: as many as 8 bits hold, the most that the standard allows


def make_segmentation(
    source: SourceImage,
    codes: np.ndarray,
    statistics: ImageStatistics,
    model: Mapping[str, object],
    identity: ResultIdentity,
) -> Any:
    """Makes the BINARY segmentation: one segment, one frame, which is empty where nothing was found.

    Row and column of a pixel are those of the image, stated as Spatial Locations Preserved (0028,135A); a mammogram has
    no frame of reference.

    Args:
        source: The mammogram.
        codes: uint16 [height, width], the probability map.
        statistics: Measured on it; tells the threshold.
        model: What made the prediction.
        identity: Of the result.

    Returns:
        `highdicom.seg.Segmentation`.
    """
    found = codes >= threshold_code(statistics.threshold)
    return _segmentation("BINARY", found, source, statistics, model, identity)


def make_probabilities(
    source: SourceImage,
    codes: np.ndarray,
    statistics: ImageStatistics,
    model: Mapping[str, object],
    identity: ResultIdentity,
) -> Any:
    """Makes the FRACTIONAL segmentation of the probabilities, in steps of 1/255; arguments as `make_segmentation`.

    `probability.png` is 257 times finer: what is counted from this one may differ at the rim of a calcification.
    """
    fraction = codes.astype(np.float32) / np.float32(FULL_SCALE)
    return _segmentation("FRACTIONAL", fraction, source, statistics, model, identity)


def tracking_uid(identity: ResultIdentity) -> str:
    """Returns the UID under which report and segmentation speak of the same segment."""
    return identity.uid("tracking", TRACKING_ID)


def _segmentation(
    kind: str,
    pixels: np.ndarray,
    source: SourceImage,
    statistics: ImageStatistics,
    model: Mapping[str, object],
    identity: ResultIdentity,
) -> Any:
    import highdicom
    from highdicom.seg import Segmentation, SegmentDescription

    algorithm = highdicom.AlgorithmIdentificationSequence(
        SOFTWARE, ALGORITHM_FAMILY, __version__, parameters=algorithm_parameters(statistics, model)
    )
    segment = SegmentDescription(
        SEGMENT_NUMBER, TRACKING_ID, FINDING_CATEGORY, CALCIFICATION, "AUTOMATIC", algorithm,
        tracking_uid=tracking_uid(identity), tracking_id=TRACKING_ID, anatomic_regions=[BREAST],
        display_color=highdicom.color.CIELabColor(*_RED),
    )  # fmt: skip
    number = 1 if kind == "BINARY" else 2
    # Of enhanced images highdicom wants a frame of reference, which a result without plane positions cannot share: all
    # classes pass as a projection image until the references are made.
    image = copy.deepcopy(source.dataset)
    image.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    made = Segmentation(
        [image], pixels[None], kind, [segment], max_fractional_value=_STEPS, omit_empty_frames=False,
        content_label="CALCIFICATIONS" if kind == "BINARY" else "PROBABILITIES", content_description=DISCLAIMER,
        **identity.arguments("SEG", kind, number),
    )  # fmt: skip
    for element in made.iterall():
        if element.keyword == "ReferencedSOPClassUID":
            element.value = source.dataset.SOPClassUID
    # Type 2C of PS3.3 C.7.6.1: without a patient coordinate system, as the image has it, or empty.
    made.PatientOrientation = source.dataset.get("PatientOrientation")
    identity.complete(made)
    return made
