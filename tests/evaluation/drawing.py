"""Probability maps and masks drawn as text, and how counts are read at the levels drawn."""

import numpy as np

from calcseg_tf.evaluation.froc import LOWEST_CODE
from data_prep.mask import BACKGROUND, CALCIFICATION, IGNORE

__all__ = ["LEVELS", "at", "codes_of", "mask_of"]

LEVELS = (1000, 2000, 3000, 4000)
"""The codes of the figures 1 to 4."""

_CODES = {".": 0} | {str(figure): code for figure, code in enumerate(LEVELS, start=1)}
_MASK = {".": BACKGROUND, "x": CALCIFICATION, "?": IGNORE}


def codes_of(*rows: str) -> np.ndarray:
    return np.array([[_CODES[cell] for cell in row] for row in rows], np.uint16)


def mask_of(*rows: str) -> np.ndarray:
    return np.array([[_MASK[cell] for cell in row] for row in rows], np.uint8)


def at(counts: np.ndarray, codes: tuple[int, ...] = LEVELS) -> list[float]:
    """Reads a sweep's counts, or a curve, at codes."""
    return counts[np.array(codes) - LOWEST_CODE].tolist()
