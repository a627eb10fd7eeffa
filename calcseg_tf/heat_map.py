"""The colours of a heat map, blue to red as in the paper's figures: one scale for every picture of the project."""

import functools

import numpy as np

__all__ = ["heat_colours"]

# Bright at both ends: the dark blue and dark red of the usual maps drown in tissue.
_COLOURS = ("#2b4bff", "#00b7ff", "#3dffb0", "#ffe100", "#ff7a00", "#ff1a1a")
_TRANSPARENT_BELOW = 0.1
_ALPHA = (0.5, 0.9)  # from there to probability 1


def heat_colours(codes: np.ndarray) -> np.ndarray:
    """Returns the colours to lay over a mammogram, transparent below probability 0.1.

    Args:
        codes: uint16 [height, width], round(65535 p).

    Returns:
        RGBA, uint8 [height, width, 4].
    """
    return np.asarray(_table()[codes >> 8])


@functools.cache
def _table() -> np.ndarray:
    """Returns RGBA of 256 probabilities, uint8 [256, 4]."""
    from matplotlib.colors import LinearSegmentedColormap

    steps = np.arange(256) / 255.0
    table = np.asarray(LinearSegmentedColormap.from_list("probability", _COLOURS)(steps))
    ramp = (steps - _TRANSPARENT_BELOW) / (1.0 - _TRANSPARENT_BELOW)
    table[:, 3] = np.where(ramp < 0, 0.0, _ALPHA[0] + ramp * (_ALPHA[1] - _ALPHA[0]))
    return (table * 255).astype(np.uint8)
