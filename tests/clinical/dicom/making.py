"""DICOM results of fake mammograms, as tests want them."""

import datetime
import pathlib

import numpy as np

from calcseg_tf.clinical.dicom import read_source, write_dicom_results
from calcseg_tf.clinical.statistics import ImageStatistics, measure
from data_prep.mammogram import read_mammogram
from tests.fakes.checker import object_errors

__all__ = ["CREATED", "MODEL", "drawn", "make", "specks"]

CREATED = datetime.datetime(2024, 2, 29, 23, 59, 59, 7)
MODEL = {"name": "fcn", "training_data": {"data_set": "none"}}


def drawn(*rows: str) -> np.ndarray:
    """A probability map: a digit is so many tenths, a dot 0."""
    return np.array([[0.0 if sign == "." else int(sign) / 10 for sign in row] for row in rows], np.float32)


def specks(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A probability map with a dozen specks about 0.5 and noise below."""
    rng = np.random.default_rng(seed)
    probability = 0.2 * rng.random(shape)
    probability.flat[rng.integers(0, probability.size, 12)] = rng.uniform(0.3, 1.0, 12)
    return probability.astype(np.float32)


def make(
    folder: pathlib.Path,
    image: pathlib.Path,
    probability: np.ndarray | None = None,
    *,
    show_patient: bool = False,
    fractional: bool = True,
    threshold: float = 0.5,
) -> ImageStatistics:
    """Writes the results of an image and has every object checked."""
    mammogram = read_mammogram(image)
    source = read_source(image, mammogram, show_patient)
    assert source is not None
    probability = specks(mammogram.pixels.shape) if probability is None else probability
    statistics = measure(
        probability, mammogram.intensity(), threshold, mammogram.pixel_spacing_mm, mammogram.spacing_source
    )
    folder.mkdir(parents=True, exist_ok=True)
    names = write_dicom_results(folder, source, probability, statistics, MODEL, fractional, CREATED)
    assert {name: object_errors(folder / name) for name in names} == {name: [] for name in names}
    return statistics
