"""Predicts a split of the records and scores it; the operating threshold is chosen the same way, on training data."""

import dataclasses
import pathlib

import tqdm

from calcseg_tf.evaluation import Evaluation, EvaluationResult, choose_threshold
from calcseg_tf.inference.predictor import Predictor
from calcseg_tf.model_directory import ModelInfo, write_info
from data_prep.breast import breast_mask
from data_prep.errors import InputError
from data_prep.manifest import Manifest, read_manifest
from data_prep.schema import Record, from_example
from data_prep.tfrecord import read_tfrecord

__all__ = ["choose_operating_threshold", "score_split"]


def score_split(
    predictor: Predictor,
    manifest: Manifest,
    split: str,
    extra_thresholds: tuple[float, ...] = (),
    most_images: int | None = None,
) -> EvaluationResult:
    """Predicts the mammograms of a split at full resolution and scores them, one at a time.

    Args:
        predictor: The model.
        manifest: The records.
        split: "train" or "test".
        extra_thresholds: Thresholds to count at beside the fixed grid.
        most_images: Take the first so many, in the order of the shards; None takes all.

    Raises:
        InputError: The split is empty, or a shard is missing or damaged.
    """
    count = min(manifest.images[split], most_images or manifest.images[split])
    if count == 0:
        raise InputError(f"the {split} split must hold a mammogram; found none", manifest.directory)
    evaluation = Evaluation(extra_thresholds=extra_thresholds)
    records = (from_example(record) for shard in manifest.shards(split) for record in read_tfrecord(shard))
    with tqdm.tqdm(total=count, unit="mammogram", desc=f"Predicting {split}") as bar:
        for _, record in zip(range(count), records, strict=False):
            _score(predictor, record, evaluation, bar)
    return evaluation.result()


def _score(predictor: Predictor, record: Record, evaluation: Evaluation, bar: tqdm.tqdm) -> None:
    intensity = record.intensity()
    height = len(intensity)
    probability = predictor.probability(intensity, lambda rows: bar.update(rows / height))
    area_mm2 = None
    if record.pixel_spacing_mm is not None:
        row_mm, column_mm = record.pixel_spacing_mm
        area_mm2 = float(breast_mask(intensity).sum()) * row_mm * column_mm or None
    evaluation.add(probability, record.mask, record.image_id, record.patient_id, area_mm2)


def choose_operating_threshold(
    model_dir: pathlib.Path, records_dir: pathlib.Path, false_alarms_per_image: float, most_images: int
) -> ModelInfo:
    """Chooses the operating threshold on training mammograms and keeps it in the model directory.

    Args:
        model_dir: A trained model.
        records_dir: What it was trained on.
        false_alarms_per_image: The most false alarms a mammogram, on average.
        most_images: Training mammograms to look at.

    Returns:
        What `config.json` holds now; the threshold stays as it was where no threshold keeps the limit.
    """
    predictor = Predictor.load(model_dir)
    result = score_split(predictor, read_manifest(records_dir), "train", most_images=most_images)
    images = len(result.images)
    try:
        threshold = choose_threshold(result, false_alarms_per_image)
        rule = (
            f"the lowest from which on {images} training mammograms have at most {false_alarms_per_image:g} false "
            "alarms each on average (paper's protocol)"
        )
    except InputError as error:
        threshold, rule = predictor.info.operating_threshold, f"kept as it was: {error.rule} ({images} mammograms)"
    info = dataclasses.replace(predictor.info, operating_threshold=threshold, operating_threshold_rule=rule)
    write_info(model_dir, info)
    return info
