"""Maps drawn by hand or by chance, and what is measured on them."""

import numpy as np

from calcseg_tf.clinical import ImageStatistics, measure
from data_prep.mammogram import SpacingSource


def draw(*rows: str) -> np.ndarray:
    """Returns a map in which every character but a dot is a calcification, float32."""
    return np.array([[0.0 if cell == "." else 0.9 for cell in row] for row in rows], np.float32)


def blocks(areas: list[int], width: int = 5, gap: int = 4) -> np.ndarray:
    """Returns a map of one column of calcifications with these areas in px, each filled row by row."""
    height = max(-(-area // width) for area in areas) + gap
    drawn = np.zeros((height * len(areas), width + gap), np.float32)
    for index, area in enumerate(areas):
        rows, columns = np.divmod(np.arange(area), width)
        drawn[index * height + rows, columns] = 0.9
    return drawn


def measured(
    probability: np.ndarray, spacing: tuple[float, float] | None = None, intensity: np.ndarray | None = None
) -> ImageStatistics:
    """Measures at threshold 0.5."""
    source = SpacingSource.FLAG if spacing else SpacingSource.UNKNOWN
    if intensity is None:
        intensity = np.full(probability.shape, 0.25, np.float32)
    return measure(probability, intensity, 0.5, spacing, source)
