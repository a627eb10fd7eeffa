"""Models scored without a network: maps drawn from the annotation, for tests of what is said of results."""

import pathlib
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from calcseg_tf.evaluation import Evaluation
from calcseg_tf.evaluation.comparison import Scored
from calcseg_tf.evaluation.froc import LOWEST_CODE
from calcseg_tf.evaluation.maps import KeptMaps
from data_prep.schema import Record

__all__ = ["drawn_map", "score_maps"]


def drawn_map(record: Record, blur: float, noise: float, seed: int = 0) -> np.ndarray:
    """Draws what a network might make of a record: its calcifications in all strengths, blurred, and noise."""
    rng = np.random.default_rng(seed)
    labels, count = ndimage.label(record.mask == 1, np.ones((3, 3)))
    strength = np.append(0.0, rng.uniform(0.1, 1.2, count))[labels]
    truth = ndimage.gaussian_filter(strength, blur) * (1 + blur)
    noisy = truth + noise * ndimage.gaussian_filter(rng.normal(size=record.mask.shape), 1.5)
    return np.rint(np.clip(noisy, 0, 1) * 65535).astype(np.uint16)


def score_maps(
    name: str, records: Sequence[Record], maps: Sequence[np.ndarray], folder: pathlib.Path, threshold: float = 0.4
) -> Scored:
    """Scores one map a record, with few resamples."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = KeptMaps(folder, LOWEST_CODE)
    evaluation = Evaluation(threshold)
    for record, codes in zip(records, maps, strict=True):
        evaluation.add(
            codes, record.mask, record.image_id, record.patient_id, 100.0 if record.pixel_spacing_mm else None,
            laterality=record.laterality, view=record.view, pixel_spacing_mm=record.pixel_spacing_mm,
        )  # fmt: skip
        kept.keep(record.image_id, codes)
    result = evaluation.result(bootstrap_samples=40)
    return Scored(name, result, f"the rule of {name}", kept, {"model": {"name": "drawn"}, "training": None})
