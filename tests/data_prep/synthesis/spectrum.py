"""Measures a picture's power spectrum, as Burgess (2001) does."""

import itertools

import numpy as np

__all__ = ["exponent"]


def exponent(patch, spacing_mm, lowest, highest):
    """Returns beta of power = 1 / f^beta, fitted between two frequencies in 1/mm, over a Hann window."""
    window = np.outer(*(np.hanning(side) for side in patch.shape))
    power = np.abs(np.fft.fft2((patch - patch.mean()) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(side, spacing_mm) for side in patch.shape), indexing="ij"))
    edges = np.geomspace(lowest, highest, 9)
    rings = [(frequency >= low) & (frequency < high) for low, high in itertools.pairwise(edges)]
    means = [(frequency[ring].mean(), power[ring].mean()) for ring in rings if ring.any()]
    logarithms = np.log(np.array(means))
    return -np.polyfit(logarithms[:, 0], logarithms[:, 1], 1)[0]
