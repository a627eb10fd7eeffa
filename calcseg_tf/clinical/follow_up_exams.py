"""One exam of a follow-up, and what speaks against comparing two."""

import dataclasses
import pathlib

import numpy as np

from calcseg_tf.clinical.region import Region, RegionStatistics, measure_region
from calcseg_tf.clinical.statistics import ImageStatistics, measure
from calcseg_tf.probability_map import to_codes
from data_prep.dicom.access import header_text, parse_dicom
from data_prep.errors import InputError
from data_prep.mammogram import Mammogram, is_dicom

__all__ = ["Exam", "at_threshold", "describe_differences", "describe_notes", "exam_date", "measure_exam"]

# The first that is told: when the image was taken, before when the study was begun.
_DATES = ("AcquisitionDate", "ContentDate", "SeriesDate", "StudyDate")


@dataclasses.dataclass(frozen=True, eq=False)
class Exam:
    """A mammogram, what was found in it, and the region that is compared.

    Attributes:
        intensity: float32 [height, width] in [0, 1].
        codes: uint16 [height, width], the probability map.
        image: Statistics of the whole image.
        region: Statistics of the region.
        sha256: Hex digest of the file.
    """

    intensity: np.ndarray
    codes: np.ndarray
    image: ImageStatistics
    region: RegionStatistics
    sha256: str


def measure_exam(mammogram: Mammogram, probability: np.ndarray, threshold: float, region: Region) -> Exam:
    """Measures a mammogram and its region.

    Args:
        mammogram: The mammogram.
        probability: float [height, width] in [0, 1], or uint16 codes.
        threshold: In (0, 1].
        region: In pixels of the mammogram.

    Raises:
        InputError: See `measure` and `measure_region`.
    """
    intensity, codes = mammogram.intensity(), to_codes(probability)
    image = measure(codes, intensity, threshold, mammogram.pixel_spacing_mm, mammogram.spacing_source)
    return Exam(intensity, codes, image, measure_region(image, region), mammogram.source_sha256)


def at_threshold(exam: Exam, image: ImageStatistics) -> Exam:
    """Returns an exam with what was measured on it at another threshold."""
    return dataclasses.replace(exam, image=image, region=measure_region(image, exam.region.region))


def exam_date(path: pathlib.Path) -> str:
    """Returns the day of an exam as YYYYMMDD, "" where the file does not tell one; never to be shown or written."""
    try:
        if path.suffix.lower() == ".png" or not is_dicom(path):
            return ""
        with path.open("rb") as file:
            header = parse_dicom(file, only=_DATES)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
    except InputError as error:
        raise InputError(error.rule, path) from None
    for keyword in _DATES:
        try:
            date = header_text(header, keyword)
        except InputError:
            continue
        if len(date) == 8 and date.isascii() and date.isdigit():
            return date
    return ""


def describe_differences(prior: Mammogram, current: Mammogram, prior_date: str, current_date: str) -> tuple[str, ...]:
    """Returns why two exams cannot be compared, a line each without patient data; none where they can.

    What one of them does not tell is no difference, but for the spacing.
    """
    found = []
    for name, one, other in (("laterality", prior.laterality, current.laterality), ("view", prior.view, current.view)):
        if one.value and other.value and one is not other:
            found.append(f"the {name} differs: prior {one.value}, current {other.value}")
    if (prior.pixel_spacing_mm is None) != (current.pixel_spacing_mm is None):
        without = "prior" if prior.pixel_spacing_mm is None else "current"
        found.append(f"the pixel spacing of the {without} exam is unknown, that of the other is not")
    if prior.patient_id and current.patient_id and prior.patient_id != current.patient_id:
        found.append("the patients differ: PatientID (0010,0020)")
    if prior_date and current_date and prior_date > current_date:
        found.append("the prior exam was made after the current one: are they swapped?")
    if prior.source_sha256 == current.source_sha256:
        found.append("both exams are the same file")
    return tuple(found)


def describe_notes(prior: Mammogram, current: Mammogram, prior_date: str, current_date: str) -> tuple[str, ...]:
    """Returns what a reader of the comparison should know, a line each without patient data."""
    notes = []
    for what, one, other in (
        ("laterality", prior.laterality.value, current.laterality.value),
        ("view", prior.view.value, current.view.value),
        ("date", prior_date, current_date),
    ):
        if not (one and other):
            which = "both exams" if not one and not other else "the prior exam" if not one else "the current exam"
            notes.append(f"{what} not told by {which}: not checked")
    if prior.pixel_spacing_mm is None or current.pixel_spacing_mm is None:
        notes.append("without the pixel spacing of both exams, places and areas are compared in pixels")
    elif prior.spacing_source is not current.spacing_source:
        notes.append(
            f"the pixel spacings have different sources: {prior.spacing_source.value}, {current.spacing_source.value}"
        )
    for name, mammogram in (("prior", prior), ("current", current)):
        notes += [f"{name}: {warning}" for warning in mammogram.warnings]
    return tuple(notes)
