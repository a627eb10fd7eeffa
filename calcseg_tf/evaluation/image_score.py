"""Scores one image: a pure function of its probabilities and its annotation, which worker processes run."""

import dataclasses
import hashlib
import math
from collections.abc import Mapping

import numpy as np

from calcseg_tf.evaluation import pixel_curves
from calcseg_tf.evaluation.components import annotated_objects, predicted_components
from calcseg_tf.evaluation.froc import LOWEST_CODE, SweepCounts
from calcseg_tf.evaluation.objects import Calcifications, Candidates, describe_calcifications, describe_candidates
from calcseg_tf.evaluation.protocols import hdogreg, picai, zamir
from data_prep.errors import InputError

__all__ = ["PROTOCOLS", "AtCode", "ImageCase", "ImageResult", "ImageScore", "ScoringConfig", "score_image"]

PROTOCOLS = (zamir.NAME, hdogreg.NAME, picai.NAME)


@dataclasses.dataclass(frozen=True)
class ImageCase:
    """Whose image it is, and what was seen how.

    Attributes:
        image_id: Unique among the images of an evaluation.
        patient_id: Whose images are resampled together.
        laterality: "L", "R" or "".
        view: A defined term of View Position (0018,5101), or "".
        pixel_spacing_mm: (row, column), or None when unknown.
        breast_area_mm2: None when unknown, the spacing for one.
    """

    image_id: str
    patient_id: str
    laterality: str = ""
    view: str = ""
    pixel_spacing_mm: tuple[float, float] | None = None
    breast_area_mm2: float | None = None

    def __post_init__(self) -> None:
        area = self.breast_area_mm2
        if area is not None and not 0.0 < area < math.inf:
            raise InputError(f"a breast's area is positive, or None when unknown; found {area}", self.image_id)
        spacing = self.pixel_spacing_mm
        if spacing is not None and not (len(spacing) == 2 and all(0.0 < length < math.inf for length in spacing)):
            raise InputError(
                f"a pixel spacing is two positive lengths in mm, or None when unknown; found {spacing}", self.image_id
            )


@dataclasses.dataclass(frozen=True)
class ScoringConfig:
    """How every image of an evaluation is scored.

    Attributes:
        connectivity: 8 or 4, of the protocol `zamir` and of the tables of calcifications and candidates; the other
            protocols have their own.
        code: The operating threshold, LOWEST_CODE to 65535.
        protocols: Of `PROTOCOLS`; `zamir` among them.
    """

    connectivity: int
    code: int
    protocols: tuple[str, ...] = PROTOCOLS


@dataclasses.dataclass(frozen=True)
class AtCode:
    """What a protocol counts in an image at the operating threshold."""

    objects: int
    detected: int
    false_positives: int


@dataclasses.dataclass(frozen=True, eq=False)
class ImageResult:
    """What is kept of one image.

    Attributes:
        case: Whose it is.
        height: In px.
        width: In px.
        annotation_sha256: Of the mask: two results are compared on the same annotation alone.
        true_positive_px: Pixels at the operating threshold, ignored ones left out.
        false_negative_px: Likewise.
        false_positive_px: Likewise.
        true_negative_px: Likewise.
        protocols: Counts at the operating threshold, by protocol.
        calcifications: Every annotated one.
        candidates: Every component predicted at the operating threshold.
        scored_candidates: Those of the protocol picai, which have one score each; None where it was not asked for.
    """

    case: ImageCase
    height: int
    width: int
    annotation_sha256: str
    true_positive_px: int
    false_negative_px: int
    false_positive_px: int
    true_negative_px: int
    protocols: Mapping[str, AtCode]
    calcifications: Calcifications
    candidates: Candidates
    scored_candidates: picai.Candidates | None

    @property
    def iou(self) -> float | None:
        """Of the calcification pixels; None where none is annotated and none predicted."""
        union = self.true_positive_px + self.false_positive_px + self.false_negative_px
        return self.true_positive_px / union if union else None


@dataclasses.dataclass(frozen=True, eq=False)
class ImageScore:
    """One image scored: what is kept of it, and what is added to its patient's counts.

    Attributes:
        image: What is kept.
        sweeps: By protocol.
        positive: int64 [65536], calcification pixels by code.
        negative: int64 [65536], background pixels.
    """

    image: ImageResult
    sweeps: Mapping[str, SweepCounts]
    positive: np.ndarray
    negative: np.ndarray


def score_image(codes: np.ndarray, mask: np.ndarray, case: ImageCase, config: ScoringConfig) -> ImageScore:
    """Scores one image; in some 200 bytes of memory a predicted pixel, which are few in any map but one of noise.

    Args:
        codes: uint16 [height, width], the probability map.
        mask: uint8 [height, width]: 0 background, 1 calcification, 255 ignore.
        case: Whose it is.
        config: How.

    Raises:
        InputError: More local maxima than `component_tree.find_basins` takes.
    """
    positive, negative = pixel_curves.pixel_histograms(codes, mask)
    scored = picai.find_candidates(codes, mask) if picai.NAME in config.protocols else None
    sweeps = _sweep(codes, mask, config, scored)
    components = predicted_components(codes, mask, config.code, config.connectivity)
    step = config.code - LOWEST_CODE
    hit, false = int(positive[config.code :].sum()), int(negative[config.code :].sum())
    image = ImageResult(
        case=case,
        height=codes.shape[0],
        width=codes.shape[1],
        annotation_sha256=hashlib.sha256(f"{mask.shape}".encode() + np.ascontiguousarray(mask).tobytes()).hexdigest(),
        true_positive_px=hit,
        false_negative_px=int(positive.sum()) - hit,
        false_positive_px=false,
        true_negative_px=int(negative.sum()) - false,
        protocols={
            name: AtCode(sweep.objects, int(sweep.detected[step]), int(sweep.false_positives[step]))
            for name, sweep in sweeps.items()
        },
        calcifications=describe_calcifications(
            annotated_objects(codes, mask, config.connectivity), components, case.pixel_spacing_mm
        ),
        candidates=describe_candidates(components, codes, mask, config.code, config.connectivity),
        scored_candidates=scored,
    )
    return ImageScore(image, sweeps, positive, negative)


def _sweep(
    codes: np.ndarray, mask: np.ndarray, config: ScoringConfig, scored: picai.Candidates | None
) -> dict[str, SweepCounts]:
    sweeps = {}
    if zamir.NAME in config.protocols:
        sweeps[zamir.NAME] = zamir.count_zamir(codes, mask, config.connectivity)
    if hdogreg.NAME in config.protocols:
        counts = hdogreg.count_hdogreg(codes, mask)
        sweeps[hdogreg.NAME] = counts.all
        sweeps[f"{hdogreg.NAME}_regions"] = counts.regions
        sweeps[f"{hdogreg.NAME}_dots"] = counts.only_dots
    if scored is not None:
        sweeps[picai.NAME] = scored.counts()
    return sweeps
