"""The thresholds between which a reader of report.html moves, and what `measure` finds at each."""

from collections.abc import Iterator

import numpy as np

from calcseg_tf.clinical.statistics import ImageStatistics, measure_again
from calcseg_tf.probability_map import threshold_code

__all__ = ["MOST_CALCIFICATIONS", "THRESHOLDS", "measure_steps"]

# Each costs about 0.05 s of `predict` for 12 megapixels. The heat map begins at the lowest.
THRESHOLDS = (*(step / 20 for step in range(2, 20)), 0.99)  # 0.1, 0.15 ... 0.95

# A threshold with more shows noise, and would make the page slow; the operating threshold is offered in any case.
MOST_CALCIFICATIONS = 5000


def measure_steps(codes: np.ndarray, intensity: np.ndarray, operating: ImageStatistics) -> list[ImageStatistics]:
    """Measures the image at every threshold offered, the operating one among them.

    Args:
        codes: uint16 [height, width], the probability map.
        intensity: float [height, width] in [0, 1].
        operating: What was measured on both at the operating threshold.

    Returns:
        By threshold, ascending. From the highest downwards, all beyond the first that finds more than
        `MOST_CALCIFICATIONS` are left out.
    """
    steps = [operating, *_others(codes, intensity, operating)]
    return sorted(steps, key=lambda step: step.threshold)


def _others(codes: np.ndarray, intensity: np.ndarray, operating: ImageStatistics) -> Iterator[ImageStatistics]:
    for threshold in reversed(THRESHOLDS):
        if threshold_code(threshold) == threshold_code(operating.threshold):
            continue
        if threshold < operating.threshold and operating.count > MOST_CALCIFICATIONS:
            return
        step = measure_again(codes, intensity, threshold, operating)
        if step.count > MOST_CALCIFICATIONS:
            return
        yield step
