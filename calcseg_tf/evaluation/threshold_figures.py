"""The figures at the operating threshold: each a formula over sums, with the sentence that defines it.

The sums are taken over patients. Weighted by one they give the figure, weighted by a resample its bootstrap sample: the
figure and its interval cannot come from two formulas.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

__all__ = ["ThresholdFigure", "protocol_figures", "ratio", "threshold_figures"]

Sums = Mapping[str, np.ndarray]

_NOTHING = "no calcification pixel in the images, and none predicted"
_NO_OBJECT = "no calcification in the images"


@dataclasses.dataclass(frozen=True)
class ThresholdFigure:
    """One figure.

    Attributes:
        path: In metrics.json.
        compute: Takes sums of any one shape to the figure, of that shape; NaN where it is undefined.
        reason: Why the figure is undefined where it is; "" for one that never is.
        sentence: What it is.
    """

    path: str
    compute: Callable[[Sums], np.ndarray]
    reason: str
    sentence: str


def threshold_figures(protocols: Sequence[str], primary: str, area_reason: str) -> tuple[ThresholdFigure, ...]:
    """Returns every figure at the threshold.

    The sums that they take: `images`, `area_cm2`; `tp`, `fn`, `fp`, `tn` in pixels; `image_iou` and `image_iou_count`,
    over the images whose IoU is defined; `object_iou` and `objects`; and for each protocol `<protocol>.objects`,
    `<protocol>.detected` and `<protocol>.false_positives`.

    Args:
        protocols: Each gets `froc.<protocol>.at_threshold`.
        primary: The protocol that `at_threshold` repeats.
        area_reason: Why there is no figure per cm2, or "".
    """
    figures = list(protocol_figures(primary, "at_threshold", area_reason))
    figures += _PIXEL_FIGURES
    for protocol in protocols:
        figures += protocol_figures(protocol, f"froc.{protocol}.at_threshold", area_reason)
    return tuple(figures)


def protocol_figures(protocol: str, prefix: str, area_reason: str) -> tuple[ThresholdFigure, ...]:
    """Returns a protocol's sensitivity and false alarms, under a prefix of their paths."""

    def per_cm2(sums: Sums) -> np.ndarray:
        alarms = sums[f"{protocol}.false_positives"]
        return np.full_like(alarms, np.nan) if area_reason else ratio(alarms, sums["area_cm2"])

    return (
        ThresholdFigure(
            f"{prefix}.sensitivity",
            lambda sums: ratio(sums[f"{protocol}.detected"], sums[f"{protocol}.objects"]),
            f"no annotated object of protocol {protocol} in the images",
            f"Annotated objects detected / annotated objects, as protocol {protocol} counts, over all images.",
        ),
        ThresholdFigure(
            f"{prefix}.false_positives_per_image",
            lambda sums: ratio(sums[f"{protocol}.false_positives"], sums["images"]),
            "",
            f"False alarms, as protocol {protocol} counts, / images.",
        ),
        ThresholdFigure(
            f"{prefix}.false_positives_per_cm2",
            per_cm2,
            area_reason,
            f"False alarms, as protocol {protocol} counts, / cm2 of breast in all images.",
        ),
    )


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Returns numerator / denominator, elementwise in any one shape, NaN where the denominator is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def _iou(sums: Sums) -> np.ndarray:
    return ratio(sums["tp"], sums["tp"] + sums["fp"] + sums["fn"])


def _dice(sums: Sums) -> np.ndarray:
    return ratio(2 * sums["tp"], 2 * sums["tp"] + sums["fp"] + sums["fn"])


def _mean_iou_classes(sums: Sums) -> np.ndarray:
    return (_iou(sums) + ratio(sums["tn"], sums["tn"] + sums["fp"] + sums["fn"])) / 2


_PIXEL_FIGURES = (
    ThresholdFigure("at_threshold.dice", _dice, _NOTHING, "2 TP / (2 TP + FP + FN), in pixels over all images."),
    ThresholdFigure("at_threshold.iou", _iou, _NOTHING, "TP / (TP + FP + FN), in pixels over all images."),
    ThresholdFigure(
        "at_threshold.object_iou",
        lambda sums: ratio(sums["object_iou"], sums["objects"]),
        _NO_OBJECT,
        "Mean over the annotated calcifications of the IoU, in pixels, with the union of all predicted components that "
        "share a pixel with it; 0 where none does.",
    ),
    ThresholdFigure(
        "at_threshold.mean_iou_classes",
        _mean_iou_classes,
        f"{_NOTHING}, or no background pixel",
        "Mean over the two classes, calcification and background, of the IoU of their pixels over all images.",
    ),
    ThresholdFigure(
        "at_threshold.mean_iou_images",
        lambda sums: ratio(sums["image_iou"], sums["image_iou_count"]),
        _NOTHING,
        "Mean over the images of the IoU of their calcification pixels; images in which none is annotated and none "
        "predicted have no IoU and are left out.",
    ),
)
