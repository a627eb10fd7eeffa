"""What report.html holds of one mammogram: two pictures, and the figures at every threshold."""

import base64
import json
from collections.abc import Sequence

import numpy as np

from calcseg_tf.clinical.content import statistics_content
from calcseg_tf.clinical.page.steps import MOST_CALCIFICATIONS, THRESHOLDS
from calcseg_tf.clinical.statistics import ImageStatistics
from calcseg_tf.heat_map import heat_colours
from calcseg_tf.probability_map import threshold_code
from data_prep.png import encode_png

__all__ = ["LISTED", "PICTURE_BITS", "exam_data", "image_base64", "map_base64"]

LISTED = 500  # rows of the table; a browser is slow with more, and nobody reads them

# Grey values of the picture: what detectors give, and more than a display shows at once, so that a narrow window still
# has them all. Intensities of 12 bits stay as they are.
PICTURE_BITS = 12

# What the table says of a calcification beside its place and area.
_DETAILS = (
    "equivalent_diameter_px", "equivalent_diameter_mm", "longest_diameter_px", "longest_diameter_mm", "elongation",
    "local_contrast", "max_probability", "mean_probability", "size_class", "cluster_id",
)  # fmt: skip


def image_base64(intensity: np.ndarray) -> str:
    """Returns the mammogram as a 16-bit greyscale PNG of 12-bit values, in base64.

    Args:
        intensity: float [height, width] in [0, 1].
    """
    full_scale = (1 << PICTURE_BITS) - 1
    return _base64(np.rint(intensity * np.float32(full_scale)).astype(np.uint16))


def map_base64(codes: np.ndarray, steps: Sequence[ImageStatistics]) -> str:
    """Returns the probability map as a 16-bit greyscale PNG in base64; 0 where nothing of it is ever shown.

    Args:
        codes: uint16 [height, width].
        steps: By threshold, ascending.
    """
    lowest = threshold_code(min(THRESHOLDS[0], steps[0].threshold))
    return _base64(np.where(codes >= lowest, codes, np.uint16(0)))


def exam_data(intensity: np.ndarray, steps: Sequence[ImageStatistics], operating: ImageStatistics) -> str:
    """Returns what the page's script reads, as JSON that may stand in a script element.

    Figures are those of statistics.json, by the same names, unrounded; the script rounds what it shows.

    Args:
        intensity: float [height, width] in [0, 1].
        steps: By threshold, ascending.
        operating: One of them.
    """
    content = {
        "height": operating.height,
        "width": operating.width,
        "spacing_mm": operating.pixel_spacing_mm,
        "window": _window(intensity),
        "full_scale": (1 << PICTURE_BITS) - 1,
        "colours": heat_colours((np.arange(256) << 8).astype(np.uint16)[None])[0].ravel().tolist(),
        "operating": steps.index(operating),
        "most_calcifications": MOST_CALCIFICATIONS,
        "left_out": len({threshold_code(each) for each in (*THRESHOLDS, operating.threshold)}) - len(steps),
        "steps": [_step_content(step) for step in steps],
    }
    # No end tag can occur in it, whatever it holds.
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _step_content(step: ImageStatistics) -> dict[str, object]:
    found = step.calcifications
    strongest = sorted(found, key=lambda each: (-each.max_probability, -each.area_px, each.id))[:LISTED]
    listed = sorted(strongest, key=lambda each: each.id)
    return {
        "code": threshold_code(step.threshold),
        "statistics": statistics_content(step),
        "clusters_reason": step.clusters_reason,
        # Of all, for regions and marks: index i is calcification i + 1.
        "row": [each.row for each in found],
        "column": [each.column for each in found],
        "area_px": [each.area_px for each in found],
        "area_mm2": None if step.pixel_spacing_mm is None else [each.area_mm2 for each in found],
        # Of the strongest, for the table.
        "listed": [each.id for each in listed],
        "details": {name: [getattr(each, name) for each in listed] for name in _DETAILS},
    }


def _window(intensity: np.ndarray) -> list[int]:
    """Returns lowest and highest grey value to begin with: those of all but the extremes of the image."""
    step = max(1, min(intensity.shape) // 512)
    low, high = np.percentile(intensity[::step, ::step], (1.0, 99.8)) * ((1 << PICTURE_BITS) - 1)
    return [int(low), max(int(low) + 1, int(np.ceil(high)))]


def _base64(pixels: np.ndarray) -> str:
    return base64.b64encode(encode_png(pixels)).decode()
