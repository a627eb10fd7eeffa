"""Predicts a split of the records and scores it; the operating threshold is chosen the same way, on training data."""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterable

import numpy as np
import tqdm

from calcseg_tf.evaluation import PRIMARY, Evaluation, EvaluationResult, choose_threshold
from calcseg_tf.inference.predictor import Predictor
from calcseg_tf.model_directory import ModelInfo, write_info
from calcseg_tf.split_records import split_records
from data_prep.breast import breast_mask
from data_prep.errors import InputError
from data_prep.manifest import Manifest, read_manifest
from data_prep.schema import Record

__all__ = ["add_record", "choose_operating_threshold", "score_records", "score_split"]


def score_split(
    predictor: Predictor,
    manifest: Manifest,
    split: str,
    evaluation: Evaluation,
    most_images: int | None = None,
    what: str = "",
    seen: Callable[[Record, np.ndarray], None] = lambda *_: None,
) -> EvaluationResult:
    """Predicts the mammograms of a split at full resolution and scores them, one at a time.

    Args:
        predictor: The model.
        manifest: The records.
        split: "train" or "test".
        evaluation: Takes them; its workers end with it.
        most_images: Take the first so many, in the order of the shards; None takes all.
        what: What the progress bar calls it, where not by the split's name.
        seen: As `score_records` has it.

    Raises:
        InputError: The split is empty, or a shard is missing or damaged.
    """
    count = min(manifest.images[split], most_images or manifest.images[split])
    if count == 0:
        raise InputError(f"the {split} split must hold a mammogram; found none", manifest.directory)
    records = itertools.islice(split_records(manifest, split), count)
    return score_records(predictor, records, evaluation, what or f"Predicting {split}", count, seen)


def score_records(
    predictor: Predictor,
    records: Iterable[Record],
    evaluation: Evaluation,
    what: str,
    count: int | None = None,
    seen: Callable[[Record, np.ndarray], None] = lambda *_: None,
    check: Callable[[], None] = lambda: None,
) -> EvaluationResult:
    """Predicts mammograms at full resolution and scores them, one at a time.

    Args:
        predictor: The model.
        records: At least one.
        evaluation: Takes them; its workers end with it.
        what: What the progress bar calls it.
        count: How many records there are, where it is known.
        seen: Called with each record and its probabilities, float32 [height, width].
        check: Called after each band of rows; what it raises ends the scoring.

    Raises:
        InputError: There is no record, or a shard is missing or damaged.
    """
    # None: no bar where it is no terminal.
    with evaluation, tqdm.tqdm(total=count, unit="mammogram", desc=what, disable=None) as bar:
        for record in records:

            def band_done(rows: int, height: int = len(record.pixels)) -> None:
                bar.update(rows / height)
                check()

            intensity = record.intensity()
            probability = predictor.probability(intensity, band_done)
            add_record(evaluation, record, intensity, probability)
            seen(record, probability)
        return evaluation.result()


def add_record(evaluation: Evaluation, record: Record, intensity: np.ndarray, probability: np.ndarray) -> None:
    """Scores the prediction of one record.

    Args:
        evaluation: Takes it.
        record: With its annotation.
        intensity: float32 [height, width] in [0, 1], the record's.
        probability: float [height, width] in [0, 1], or uint16 codes.

    Raises:
        InputError: As `Evaluation.add`.
    """
    area_mm2 = None
    if record.pixel_spacing_mm is not None:
        row_mm, column_mm = record.pixel_spacing_mm
        area_mm2 = float(breast_mask(intensity).sum()) * row_mm * column_mm or None
    evaluation.add(
        probability,
        record.mask,
        record.image_id,
        record.patient_id,
        area_mm2,
        laterality=record.laterality,
        view=record.view,
        pixel_spacing_mm=record.pixel_spacing_mm,
    )


def choose_operating_threshold(
    model_dir: pathlib.Path,
    records_dir: pathlib.Path,
    false_alarms_per_image: float,
    most_images: int,
    held_out: frozenset[str] = frozenset(),
) -> ModelInfo:
    """Chooses the operating threshold and keeps it in the model directory.

    Args:
        model_dir: A trained model.
        records_dir: What it was trained on.
        false_alarms_per_image: The most false alarms a mammogram, on average.
        most_images: Mammograms to look at.
        held_out: Ids of the mammograms to choose on, held out of training; where there are none, those trained on.

    Returns:
        What `config.json` holds now; the threshold stays as it was where no threshold keeps the limit.
    """
    predictor, manifest = Predictor.load(model_dir), read_manifest(records_dir)
    evaluation = Evaluation(protocols=(PRIMARY,))
    if held_out:
        count = min(len(held_out), most_images)
        records = itertools.islice(split_records(manifest, "train", held_out), count)
        result = score_records(predictor, records, evaluation, "Predicting validation", count)
    else:
        result = score_split(predictor, manifest, "train", evaluation, most_images)
    images, kind = len(result.images), "validation" if held_out else "training"
    try:
        threshold = choose_threshold(result, false_alarms_per_image)
        rule = (
            f"the lowest from which on {images} {kind} mammograms have at most {false_alarms_per_image:g} false "
            "alarms each on average (paper's protocol)"
        )
    except InputError as error:
        threshold, rule = predictor.info.operating_threshold, f"kept as it was: {error.rule} ({images} mammograms)"
    info = dataclasses.replace(predictor.info, operating_threshold=threshold, operating_threshold_rule=rule)
    write_info(model_dir, info)
    return info
