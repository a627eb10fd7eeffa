"""Writes report.html, the page of one mammogram."""

import pathlib

import numpy as np

from calcseg_tf.clinical.page.frame import document, exam_section
from calcseg_tf.clinical.page.steps import measure_steps
from calcseg_tf.clinical.statistics import ImageStatistics

__all__ = ["write_report"]


def write_report(
    path: pathlib.Path, intensity: np.ndarray, codes: np.ndarray, statistics: ImageStatistics, title: str
) -> None:
    """Writes the page of one mammogram; its figures are those of `measure` at each threshold of `measure_steps`.

    Args:
        path: The file to write.
        intensity: float [height, width] in [0, 1].
        codes: uint16 [height, width], the probability map.
        statistics: Measured on both at the operating threshold.
        title: Shown above, as text.
    """
    steps = measure_steps(codes, intensity, statistics)
    exam = exam_section(title, intensity, codes, steps, statistics)
    page = document(f"{title}: calcifications", "overlay.png and statistics.json", exam)
    path.write_text(page, encoding="utf-8")
