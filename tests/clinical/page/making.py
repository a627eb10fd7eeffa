"""Mammograms of report.html, and numbers as the page prints them."""

import decimal
import pathlib

import numpy as np

from calcseg_tf.clinical import ImageStatistics, measure
from calcseg_tf.clinical.page import write_report
from data_prep.mammogram import SpacingSource

OPERATING = 0.62  # none of those offered anyway


def case(seed: int = 0, shape: tuple[int, int] = (300, 220), spots: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Returns (intensity, codes) of a bright half with spots of all probabilities and sizes."""
    rng = np.random.default_rng(seed)
    intensity = (0.05 + 0.5 * (np.arange(shape[1]) < shape[1] // 2) + 0.1 * rng.random(shape)).astype(np.float32)
    probability = 0.05 * rng.random(shape)
    for row, column in rng.integers(0, [shape[0] - 5, shape[1] - 5], (spots, 2)):
        high, wide = rng.integers(1, 5, 2)
        probability[row : row + high, column : column + wide] = rng.uniform(0.06, 1.0, (high, wide))
    return intensity, np.rint(probability * 65535).astype(np.uint16)


def measured(intensity: np.ndarray, codes: np.ndarray, spacing=(0.05, 0.07), threshold=OPERATING) -> ImageStatistics:
    source = SpacingSource.UNKNOWN if spacing is None else SpacingSource.PIXEL_SPACING
    return measure(codes, intensity, threshold, spacing, source)


def written(
    path: pathlib.Path, intensity: np.ndarray, codes: np.ndarray, spacing=(0.05, 0.07), title="a"
) -> pathlib.Path:
    write_report(path, intensity, codes, measured(intensity, codes, spacing), title)
    return path


def printed(value: float | None, digits: int, unit: str) -> str:
    """Returns a figure with its unit, rounded half away from zero as JavaScript's toFixed does."""
    if value is None:
        return "–"
    rounded = decimal.Decimal(value).quantize(decimal.Decimal(1).scaleb(-digits), decimal.ROUND_HALF_UP)
    return f"{rounded} {unit}".strip()
