"""What is summed over the images of each patient: all that figures, curves and the bootstrap need."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from calcseg_tf.evaluation import strata
from calcseg_tf.evaluation.froc import SweepCounts
from calcseg_tf.evaluation.image_score import ImageResult
from calcseg_tf.probability_map import FULL_SCALE

__all__ = ["PatientCounts", "sums_by_patient"]


@dataclasses.dataclass(frozen=True, eq=False)
class PatientCounts:
    """The sums of all images, by patient; 1 MB of histograms and 0.5 MB a sweep each, never copied as a whole.

    Attributes:
        patients: Sorted ids.
        sweeps: By protocol, one a patient.
        histograms: One a patient, int64 [2, 65536]: calcification and background pixels by code.
        sums: float64 [patients] each, by name: what `threshold_figures` takes, and
            `strata.<dimension>.<class>.{objects, detected}`.
        strata: Names of the classes by dimension.
        area_reason: Why there is no figure per cm2, or "".
    """

    patients: tuple[str, ...]
    sweeps: Mapping[str, Sequence[SweepCounts]]
    histograms: Sequence[np.ndarray]
    sums: Mapping[str, np.ndarray]
    strata: Mapping[str, tuple[str, ...]]
    area_reason: str

    @property
    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """The pooled histograms of calcification and of background pixels, int64 [65536] each."""
        positive, negative = sum(self.histograms, np.zeros((2, FULL_SCALE + 1), np.int64))
        return positive, negative


def sums_by_patient(
    images: Sequence[ImageResult], patients: Sequence[str], code: int
) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]], str]:
    """Sums what is kept of the images.

    Args:
        images: Sorted; sums of floats are rounded once, so that their order does not matter either.
        patients: Sorted.
        code: The operating threshold.

    Returns:
        `sums`, `strata` and `area_reason` of `PatientCounts`.
    """
    names = {each.name: strata.class_names(each, [image.case for image in images]) for each in strata.DIMENSIONS}
    rows = {patient: row for row, patient in enumerate(patients)}
    values: dict[str, list[list[float]]] = {}
    for image in images:
        for name, value in {**_of_image(image), **_of_strata(image, names, code)}.items():
            values.setdefault(name, [[] for _ in patients])[rows[image.case.patient_id]].append(value)
    unknown = sum(image.case.breast_area_mm2 is None for image in images)
    reason = f"the breast area of {unknown} of {len(images)} images is unknown" if unknown else ""
    return {name: np.array([math.fsum(each) for each in lists]) for name, lists in values.items()}, names, reason


def _of_image(image: ImageResult) -> dict[str, float]:
    iou = image.iou
    sums: dict[str, float] = {
        "images": 1,
        "area_cm2": (image.case.breast_area_mm2 or 0.0) / 100.0,
        "tp": image.true_positive_px,
        "fn": image.false_negative_px,
        "fp": image.false_positive_px,
        "tn": image.true_negative_px,
        "image_iou": iou or 0.0,
        "image_iou_count": iou is not None,
        "objects": len(image.calcifications),
        "object_iou": math.fsum(image.calcifications.iou),
    }
    for protocol, counts in image.protocols.items():
        sums[f"{protocol}.objects"] = counts.objects
        sums[f"{protocol}.detected"] = counts.detected
        sums[f"{protocol}.false_positives"] = counts.false_positives
    return sums


def _of_strata(image: ImageResult, names: Mapping[str, tuple[str, ...]], code: int) -> dict[str, float]:
    sums: dict[str, float] = {}
    detected = image.calcifications.detection_code >= code
    for dimension in strata.DIMENSIONS:
        classes = strata.class_of(dimension, image.case, image.calcifications, names[dimension.name])
        for index, name in enumerate(names[dimension.name]):
            member = classes == index
            sums[f"strata.{dimension.name}.{name}.objects"] = np.count_nonzero(member)
            sums[f"strata.{dimension.name}.{name}.detected"] = np.count_nonzero(member & detected)
    return sums
