"""Compares a region of two exams: reads both, predicts, measures, aligns, and writes what became of it."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import tqdm

from calcseg_tf.bulk.local_model import LocalModel
from calcseg_tf.clinical.alignment import Motion
from calcseg_tf.clinical.follow_up import FollowUp, compare_exams
from calcseg_tf.clinical.follow_up_exams import describe_differences, describe_notes, exam_date, measure_exam
from calcseg_tf.clinical.follow_up_figure import describe_alignment, table_lines
from calcseg_tf.clinical.follow_up_regions import read_region
from calcseg_tf.clinical.follow_up_results import COMPARISON_FILE, write_comparison
from calcseg_tf.clinical.results import require_replaceable
from calcseg_tf.prediction import describe_other_reading
from data_prep.dicom.header import ReadOptions
from data_prep.errors import InputError
from data_prep.mammogram import Mammogram, read_mammogram

__all__ = ["CompareConfig", "compare"]


@dataclasses.dataclass(frozen=True)
class CompareConfig:
    """What is compared, and how.

    Attributes:
        prior: DICOM or 16-bit PNG file of the exam before.
        current: Of the exam after.
        prior_roi: Region of the prior exam, as `read_region` takes it.
        current_roi: Region of the current one.
        model: Predicts.
        output_dir: Receives the result.
        motion: How the breast may have moved.
        anyway: Compares even what cannot be compared, and says so.
        read_options: How DICOM files are read.
    """

    prior: pathlib.Path
    current: pathlib.Path
    prior_roi: str
    current_roi: str
    model: LocalModel
    output_dir: pathlib.Path
    motion: Motion
    anyway: bool
    read_options: ReadOptions


def compare(config: CompareConfig, say: Callable[[str], None]) -> FollowUp:
    """Compares two exams and writes the result.

    Args:
        config: What to compare.
        say: Takes what a person should read, line by line.

    Raises:
        InputError: A file, a region or the model is unfit, or the exams cannot be compared.
    """
    require_replaceable(config.output_dir, COMPARISON_FILE)
    paths = {"prior": config.prior, "current": config.current}
    told = {"prior": config.prior_roi, "current": config.current_roi}
    mammograms = {name: read_mammogram(path, config.read_options) for name, path in paths.items()}
    dates = [exam_date(path) for path in paths.values()]
    differences = describe_differences(mammograms["prior"], mammograms["current"], dates[0], dates[1])
    if differences and not config.anyway:
        raise InputError(f"these exams cannot be compared: {'; '.join(differences)} (--compare_anyway goes on)")
    regions = {}
    for name, mammogram in mammograms.items():
        try:
            size = (mammogram.pixels.shape[0], mammogram.pixels.shape[1])
            regions[name] = read_region(told[name], size, paths[name])
        except InputError as error:
            raise InputError(f"{error.rule}{f' ({error.where})' if error.where else ''}", f"--{name}_roi") from None
    threshold, model = config.model.describe()
    notes = describe_notes(mammograms["prior"], mammograms["current"], dates[0], dates[1])
    if note := describe_other_reading(model, config.read_options):
        notes = (*notes, note)
    for line in (*(f"compared although {each}" for each in differences), *notes):
        say(f"note: {line}")
    probabilities = _predict(config.model, mammograms)
    exams = {
        name: measure_exam(mammogram, probabilities[name], threshold, regions[name])
        for name, mammogram in mammograms.items()
    }
    follow_up = compare_exams(exams["prior"], exams["current"], config.motion)
    write_comparison(config.output_dir, follow_up, model, differences, notes)
    for line in (*table_lines(follow_up), describe_alignment(follow_up)):
        say(line)
    if (counts := follow_up.counts()) is not None:
        say(", ".join(f"{count} {status}" for status, count in counts.items()))
    say(f"The comparison is in {config.output_dir}")
    return follow_up


def _predict(model: LocalModel, mammograms: dict[str, Mammogram]) -> dict[str, np.ndarray]:
    """Returns the probability map of each mammogram, under a progress bar."""
    predictor = model.load()
    rows = sum(mammogram.pixels.shape[0] for mammogram in mammograms.values())
    with tqdm.tqdm(total=rows, unit="row", desc="predicting", disable=None) as bar:
        return {name: predictor.probability(each.intensity(), bar.update) for name, each in mammograms.items()}
