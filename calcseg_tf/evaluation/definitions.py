"""One sentence for every figure of metrics.json, by its path; `*` stands for any part of a path."""

import fnmatch
from collections.abc import Sequence

from calcseg_tf.evaluation.froc import LOWEST_CODE
from calcseg_tf.evaluation.protocols.picai import CANDIDATE_CODE
from calcseg_tf.evaluation.threshold_figures import ThresholdFigure
from calcseg_tf.probability_map import from_code

__all__ = ["definition_of", "definitions"]

_OPERATING_POINT = (
    "Sensitivity at the lowest threshold that keeps the limit, named by the path, on the mean false alarms per "
    "mammogram, there and at every higher threshold, so that one whose false alarms have merged does not pass"
)

_PROTOCOLS = {
    "zamir": (
        "Objects are the {connectivity}-connected components of the annotated calcification pixels; one is detected "
        "if at least one of its pixels is predicted; a false alarm is a {connectivity}-connected component of the "
        "predicted pixels that holds no annotated pixel."
    ),
    "hdogreg": (
        "Objects and predictions are 4-connected, holes of less than 64 px in the prediction filled; an object is "
        "detected by the nearest unused prediction whose centroid lies within 5 px of its own or, failing that, by the "
        "unused one of the greatest intersection over union, if at least 0.3; false alarms are predictions less "
        "objects detected."
    ),
    "hdogreg_regions": "As hdogreg, its objects of more than one pixel alone; the false alarms are those of all.",
    "hdogreg_dots": "As hdogreg, its objects of one pixel alone; the false alarms are those of all.",
    "picai": (
        "Candidates are the 8-connected components of p >= {candidate:.2f}, each scored by its maximum; most pairs of "
        "object and candidate with an intersection over union of at least 0.10 are matched, one to one, and then most "
        "overlap; an object is detected if its candidate's score reaches the threshold, a false alarm is a candidate "
        "that overlaps no object so much. No candidate is left out for its size."
    ),
}

_DEFINITIONS = {
    "resolution": "Everything is measured on the 16-bit probability map: p is rounded to round(65535 p) / 65535.",
    "ignored pixels": (
        "Pixels whose mask is 255 enter no figure; they count as not predicted, and what is predicted on them alone is "
        "neither hit nor false alarm."
    ),
    "images": "Mammograms that were scored.",
    "patients": "Patients of those mammograms; the unit of the bootstrap.",
    "calcifications": "{connectivity}-connected components of the annotated calcification pixels, over all images.",
    "pixel.roc_auc": "Area under the ROC curve of all pixels of all images, as scikit-learn's roc_auc_score.",
    "pixel.average_precision": (
        "Sum over all pixels of precision times step in recall, as scikit-learn's average_precision_score."
    ),
    "pixel.calcification_pixels": "Annotated calcification pixels, over all images.",
    "pixel.background_pixels": "Pixels that are neither calcification nor ignored, over all images.",
    "rounding.*.low": (
        "Lowest value that the figure of the probabilities can have had before they were rounded to 16 bits."
    ),
    "rounding.*.high": (
        "Highest value that the figure of the probabilities can have had before they were rounded to 16 bits."
    ),
    "froc.*.thresholds": (
        "A pixel is predicted where p >= threshold; every 16-bit code from {lowest:.4f} up is counted, at most 200 are "
        "listed here and all that change anything in the tables."
    ),
    "froc.*.sensitivity": "Annotated objects detected / annotated objects, over all images, at each threshold.",
    "froc.*.false_positives_per_image": "False alarms / images, at each threshold.",
    "froc.*.false_positives_per_cm2": "False alarms / cm2 of breast in all images, at each threshold.",
    "froc.*.objects": "Annotated objects as the protocol counts them, over all images.",
    "froc.zamir.connectivity": "Which pixels join into one component: 8, by edges and corners; 4, by edges.",
    "operating_points.*.threshold": "The threshold of that operating point, froc.zamir.",
    "operating_points.*.sensitivity": f"{_OPERATING_POINT} (protocol zamir).",
    "operating_points.*.false_positives_per_image": "False alarms / images at that threshold (protocol zamir).",
    "operating_points.*.predicted_share": (
        "Pixels predicted at that threshold / all pixels, over all images; where it is not small, one component may "
        "cover much of a mammogram and overlap everything."
    ),
    "froc.*.operating_points.*.predicted_share": "Pixels predicted at that threshold / all pixels, over all images.",
    "froc.*.operating_points_per_cm2.*.predicted_share": (
        "Pixels predicted at that threshold / all pixels, over all images."
    ),
    "froc.*.operating_points.*.threshold": "The threshold of that operating point.",
    "froc.*.operating_points.*.sensitivity": f"{_OPERATING_POINT}.",
    "froc.*.operating_points.*.false_positives_per_image": "False alarms / images at that threshold.",
    "froc.*.operating_points_per_cm2.*.threshold": "The threshold of that operating point.",
    "froc.*.operating_points_per_cm2.*.sensitivity": (
        "As in operating_points, with the limit on the mean false alarms per cm2 of breast."
    ),
    "froc.*.operating_points_per_cm2.*.false_positives_per_image": "False alarms / images at that threshold.",
    "froc.*.partial_auc_per_image": (
        "Area under the FROC curve from 0 to 100 false alarms / image, / 100, where 1 is ideal: straight lines join "
        "the points that keep the limit there and at every higher threshold."
    ),
    "froc.*.partial_auc_per_cm2": "As partial_auc_per_image, from 0 to 1 false alarm / cm2 of breast.",
    "at_threshold.threshold": "The operating threshold: a pixel is predicted where p >= threshold.",
    "strata.*.calcifications": "Annotated calcifications of the class.",
    "strata.*.detected": "Those of them detected at the operating threshold (protocol zamir).",
    "confidence_intervals.*.low": (
        "2.5 % percentile of the figure over resamples of the patients; resamples that leave it undefined are left out."
    ),
    "confidence_intervals.*.high": (
        "97.5 % percentile of the figure over resamples of the patients; resamples that leave it undefined are left "
        "out."
    ),
    "confidence_intervals.*.samples": "Resamples that define the figure.",
    "bootstrap.samples": "Resamples of the patients, with replacement, as many patients each as there are.",
    "bootstrap.seed": "Of the random numbers that draw the resamples.",
    "bootstrap.caution": "What limits the intervals where the patients are few, else empty.",
    "bootstrap.level": "Share of the resamples between the ends of an interval.",
    "undefined": "Why a figure is null, by its path.",
}


def definitions(figures: Sequence[ThresholdFigure], protocols: Sequence[str], connectivity: int) -> dict[str, str]:
    """Returns the sentences, by path or pattern of paths.

    Args:
        figures: Those at the threshold, which bring their own.
        protocols: Those that were counted.
        connectivity: 8 or 4.
    """
    sentences = _DEFINITIONS | {f"froc.{name}": _PROTOCOLS[name] for name in protocols}
    return {
        **{
            path: text.format(
                connectivity=connectivity, lowest=from_code(LOWEST_CODE), candidate=from_code(CANDIDATE_CODE)
            )
            for path, text in sentences.items()
        },
        **{figure.path: figure.sentence for figure in figures},
    }


def definition_of(path: str, sentences: dict[str, str]) -> str | None:
    """Returns the sentence that defines the figure at a path, or None: its own, or that of the longest pattern."""
    if path in sentences:
        return sentences[path]
    patterns = [pattern for pattern in sentences if fnmatch.fnmatchcase(path, pattern)]
    return sentences[max(patterns, key=len)] if patterns else None
