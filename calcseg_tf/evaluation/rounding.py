"""What rounding probabilities to 16 bits can change in the pixel figures: bounds that hold for every set of images.

Rounding keeps the order of probabilities that it does not make equal, so only pixels of one bin, which share a code,
can have been ranked differently by the probabilities behind the codes. With n+ calcification and n- background pixels
in a bin, P and N in all, F calcification and A background pixels in the bins above:

**AUC** is the share of the P N pairs (calcification, background) in which the calcification pixel is the higher; equal
ones count one half. A pair from two bins is ranked alike by codes and by probabilities. A pair of one bin counts 1/2
by code and 0, 1/2 or 1 by probability: it differs by at most 1/2. A bin has n+ n- such pairs, so

    |AUC of the probabilities - AUC of the codes| <= sum of n+ n- / (2 P N).

Both ends are reached, by the order with all calcification pixels of each bin first, and by its reverse.

**Average precision** is the mean over the calcification pixels of the precision at their probability, for the curve's
steps in recall are 1 / P a pixel. Number a bin's calcification pixels by falling probability. At the probability of
the j-th, k >= j calcification pixels (more than j where some equal it) and 0 <= m <= n- background pixels of the bin
are predicted beside all of the bins above: its precision is (F + k) / (F + k + A + m), which grows with k and falls
with m. Hence

    (F + j) / (F + j + A + n-)  <=  its precision  <=  (F + n+) / (F + n+ + A).

The sums of these ends over all pixels, divided by P, hold the average precision of the probabilities. The lower is that
of the order with each bin's background pixels first. The upper is that of equal calcification pixels before its
background pixels: with ties, no order is better.
"""

import dataclasses

import numpy as np
from scipy import special

__all__ = ["Bounds", "average_precision_bounds", "roc_auc_bounds"]

# From here on the series of `_harmonic` is exact to float64; below, the digamma function is.
_LARGE = 1e3


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Between which values a figure of the unrounded probabilities lies, both ends possible."""

    low: float
    high: float


def roc_auc_bounds(positive: np.ndarray, negative: np.ndarray) -> Bounds | None:
    """Bounds the ROC AUC of the probabilities behind the codes.

    Args:
        positive: int64 [bins], calcification pixels by ascending code.
        negative: int64 [bins], background pixels.

    Returns:
        None where one of the classes is empty, which leaves the figure undefined.
    """
    if not positive.any() or not negative.any():
        return None
    ones, zeros = positive.astype(np.float64), negative.astype(np.float64)
    pairs = ones.sum() * zeros.sum()
    below = zeros.cumsum() - zeros
    return Bounds(float((ones * below).sum() / pairs), float((ones * (below + zeros)).sum() / pairs))


def average_precision_bounds(positive: np.ndarray, negative: np.ndarray) -> Bounds | None:
    """Bounds the average precision of the probabilities behind the codes.

    Args:
        positive: int64 [bins], calcification pixels by ascending code.
        negative: int64 [bins], background pixels.

    Returns:
        None without a calcification pixel.
    """
    if not positive.any():
        return None
    bins = np.flatnonzero(positive)
    ones, zeros = positive.astype(np.float64), negative.astype(np.float64)
    found = (ones[::-1].cumsum()[::-1] - ones)[bins]
    alarms = (zeros[::-1].cumsum()[::-1] - zeros)[bins]
    here, beside = ones[bins], zeros[bins]
    best = here * (found + here) / (found + here + alarms)
    # The sum over j of (F + j) / (F + j + C) is n - C times the sum of 1 / (F + C + j).
    ahead = alarms + beside
    worst = here - ahead * _harmonic(found + ahead, here)
    return Bounds(float(worst.sum() / here.sum()), float(best.sum() / here.sum()))


def _harmonic(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Returns 1 / (start + 1) + ... + 1 / (start + count), to 1e-14 of itself where `start` is large."""
    small = np.minimum(start, _LARGE)
    exact = special.digamma(small + count + 1) - special.digamma(small + 1)
    # Euler and Maclaurin's midpoint rule; the next term is below 1e-14 / start.
    first, last = np.maximum(start, _LARGE) + 0.5, np.maximum(start, _LARGE) + count + 0.5
    series = np.log1p(count / first) + (1 / last**2 - 1 / first**2) / 24
    return np.where(start < _LARGE, exact, series)
