"""The 16-bit probability map: the one resolution at which results are written, measured and scored.

A probability p is stored as the code round(65535 p). Evaluation and shape statistics work on codes, never on the floats
behind them, so that whoever re-reads a `probability.png` finds exactly the figures that were published with it.
"""

import math

import numpy as np

from data_prep.errors import InputError

__all__ = ["FULL_SCALE", "from_code", "threshold_code", "to_codes"]

FULL_SCALE = 65535

# A threshold that went through float32 is off by up to 0.004 codes; it must still mean the code it came from.
_CODE_TOLERANCE = 0.01


def to_codes(probability: np.ndarray) -> np.ndarray:
    """Returns the codes round(65535 p), half to even, as uint16 [height, width].

    Args:
        probability: float [height, width] in [0, 1], or uint16 [height, width], which holds codes already and is
            returned as it is.

    Raises:
        InputError: Another shape or type, an empty map, or values outside [0, 1], NaN included.
    """
    if probability.ndim != 2 or probability.size == 0:
        raise InputError(f"a probability map is [height, width]; found {list(probability.shape)}")
    if probability.dtype == np.uint16:
        return probability
    if not np.issubdtype(probability.dtype, np.floating):
        raise InputError(f"a probability map is float or uint16; found {probability.dtype}")
    low, high = float(probability.min()), float(probability.max())
    if not (low >= 0.0 and high <= 1.0):  # written so that NaN fails
        raise InputError(f"probabilities lie in [0, 1]; found {low:g} to {high:g}")
    # float16 ends at 65504, below full scale.
    scale = np.result_type(probability.dtype, np.float32).type(FULL_SCALE)
    return np.rint(probability * scale).astype(np.uint16)


def threshold_code(threshold: float) -> int:
    """Returns the lowest code whose probability is at or above the threshold: p >= threshold is code >= this.

    Args:
        threshold: Probability in (0, 1].

    Raises:
        InputError: Outside (0, 1]; at 0 every pixel would be a calcification.
    """
    if not 0.0 < threshold <= 1.0:
        raise InputError(f"a threshold lies in (0, 1]; found {threshold}")
    return max(1, math.ceil(threshold * FULL_SCALE - _CODE_TOLERANCE))


def from_code(code: int) -> float:
    """Returns the probability of a code, exact to float64; `threshold_code` takes it back."""
    return int(code) / FULL_SCALE
