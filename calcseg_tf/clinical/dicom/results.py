"""The DICOM objects of one result, as files."""

import dataclasses
import datetime
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from calcseg_tf.clinical.dicom.equipment import ResultIdentity
from calcseg_tf.clinical.dicom.identifiers import digest_result
from calcseg_tf.clinical.dicom.source import SourceImage
from calcseg_tf.clinical.statistics import ImageStatistics
from calcseg_tf.probability_map import to_codes
from data_prep.quiet import quiet

__all__ = ["FRACTIONAL_FILE", "REPORT_FILE", "SEGMENTATION_FILE", "DicomOptions", "write_dicom_results"]

SEGMENTATION_FILE = "segmentation.dcm"
FRACTIONAL_FILE = "segmentation_fractional.dcm"
REPORT_FILE = "report.dcm"


@dataclasses.dataclass(frozen=True)
class DicomOptions:
    """What is asked of DICOM results.

    Attributes:
        show_patient: Name, birth date and the like of the patient go into them (`read_source`).
        fractional_segmentation: The probabilities are written too.
    """

    show_patient: bool = False
    fractional_segmentation: bool = False


def write_dicom_results(
    folder: pathlib.Path,
    source: SourceImage,
    probability: np.ndarray,
    statistics: ImageStatistics,
    model: Mapping[str, object],
    fractional: bool = False,
    created: datetime.datetime | None = None,
) -> tuple[str, ...]:
    """Writes segmentation and report of one mammogram.

    The UIDs follow from the mammogram, the map, threshold, spacing and model, and from what is told of the patient: an
    archive that receives the same result twice keeps one. Only the moments of creation differ.

    Args:
        folder: Exists.
        source: The mammogram, as read for this purpose.
        probability: [height, width], as `measure` takes it.
        statistics: Measured on it.
        model: What made the prediction, ready for JSON.
        fractional: Writes the probabilities too.
        created: Now, where it is not given.

    Returns:
        The names of the files written.
    """
    codes = to_codes(probability)
    # highdicom warns about a name of one component by quoting it.
    with quiet("highdicom"), quiet("pydicom"):
        made = _make(source, codes, statistics, model, fractional, created or datetime.datetime.now())
    for name, dataset in made.items():
        dataset.save_as(folder / name, enforce_file_format=True)
    return tuple(made)


def _make(
    source: SourceImage,
    codes: np.ndarray,
    statistics: ImageStatistics,
    model: Mapping[str, object],
    fractional: bool,
    created: datetime.datetime,
) -> dict[str, Any]:
    from calcseg_tf.clinical.dicom.report import make_report
    from calcseg_tf.clinical.dicom.segmentation import make_probabilities, make_segmentation

    digest = digest_result(source.sha256, codes, statistics, model, source.shows_patient)
    identity = ResultIdentity(digest, created)
    segmentation = make_segmentation(source, codes, statistics, model, identity)
    made = {
        SEGMENTATION_FILE: segmentation,
        REPORT_FILE: make_report(source, segmentation, codes, statistics, model, identity),
    }
    if fractional:
        made[FRACTIONAL_FILE] = make_probabilities(source, codes, statistics, model, identity)
    return made
