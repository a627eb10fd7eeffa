"""Gathers predictions image by image, in bounded memory, and freezes them into a result with every figure."""

import dataclasses
import functools
import math
from collections.abc import Iterable

import numpy as np

from calcseg_tf.evaluation import bootstrap, froc, pixel_curves
from calcseg_tf.evaluation.bootstrap import Interval
from calcseg_tf.evaluation.froc import (
    FALSE_ALARM_LIMITS,
    LOWEST_CODE,
    SWEEP_CODES,
    FrocCurve,
    OperatingPoint,
    SweepCounts,
)
from calcseg_tf.evaluation.pixel_curves import Figure
from calcseg_tf.evaluation.protocols.zamir import count_zamir
from calcseg_tf.probability_map import FULL_SCALE, from_code, threshold_code, to_codes
from data_prep.components import CONNECTIVITIES, check_mask
from data_prep.errors import InputError

__all__ = ["AtThreshold", "Evaluation", "EvaluationResult", "ImageResult", "choose_threshold"]


@dataclasses.dataclass(frozen=True, eq=False)
class ImageResult:
    """What is kept of one image.

    Attributes:
        image_id: Unique.
        patient_id: Whose images are resampled together.
        breast_area_mm2: None when unknown.
        counts: By threshold of the result.
    """

    image_id: str
    patient_id: str
    breast_area_mm2: float | None
    counts: SweepCounts


@dataclasses.dataclass(frozen=True)
class AtThreshold:
    """The figures at one threshold, pooled over all images."""

    threshold: float
    sensitivity: Figure
    false_positives_per_image: Figure
    false_positives_per_cm2: Figure
    dice: Figure
    iou: Figure


class Evaluation:
    """Takes images one after another; keeps their counts and two histograms a patient (1 MB), never the images.

    Everything is measured at the resolution of the 16-bit probability map (`calcseg_tf.probability_map`): floats are
    rounded to codes first. The order of the images changes nothing, to the last bit.

    Args:
        connectivity: 8 or 4, for calcifications and for predictions.
        extra_thresholds: Not needed any more: every threshold is counted at.
    """

    def __init__(self, connectivity: int = 8, extra_thresholds: Iterable[float] = ()) -> None:
        if connectivity not in CONNECTIVITIES:
            raise InputError(f"connectivity must be 4 or 8; found {connectivity}")
        self._connectivity = connectivity
        self._images: dict[str, ImageResult] = {}
        self._histograms: dict[str, np.ndarray] = {}

    def add(
        self,
        probability: np.ndarray,
        mask: np.ndarray,
        image_id: str,
        patient_id: str,
        breast_area_mm2: float | None = None,
    ) -> None:
        """Scores one image.

        Args:
            probability: float [height, width] in [0, 1], or uint16 codes, round(65535 p).
            mask: uint8 [height, width]: 0 background, 1 calcification, 255 ignore.
            image_id: Unique among the images.
            patient_id: Whose image it is.
            breast_area_mm2: Area of the breast, positive; None when unknown, the spacing for one.

        Raises:
            InputError: The image was added before, the mask does not fit, or a value is out of its range.
        """
        if image_id in self._images:
            raise InputError("an image is evaluated once; found it twice", image_id)
        try:
            codes = to_codes(probability)
            check_mask(mask, codes.shape)
            if breast_area_mm2 is not None and not 0.0 < breast_area_mm2 < math.inf:
                raise InputError(f"a breast's area is positive, or None when unknown; found {breast_area_mm2}")
        except InputError as error:
            raise InputError(error.rule, image_id) from None
        counts = count_zamir(codes, mask, self._connectivity)
        self._images[image_id] = ImageResult(image_id, patient_id, breast_area_mm2, counts)
        histograms = self._histograms.setdefault(patient_id, np.zeros((2, FULL_SCALE + 1), np.int64))
        histograms += pixel_curves.pixel_histograms(codes, mask)

    def result(self, bootstrap_samples: int = 1000, seed: int = 0) -> "EvaluationResult":
        """Freezes what was added so far.

        Args:
            bootstrap_samples: Resamples of the patients behind each confidence interval, drawn when first asked for.
            seed: Of the resampling.

        Raises:
            InputError: No image was added.
        """
        if not self._images:
            raise InputError("an evaluation needs at least one image; found none")
        images = sorted(self._images.values(), key=lambda image: (image.patient_id, image.image_id))
        patients = sorted(self._histograms)
        histograms = np.stack([self._histograms[patient] for patient in patients])
        histograms.setflags(write=False)
        return EvaluationResult(
            images=tuple(images),
            patients=tuple(patients),
            codes=SWEEP_CODES,
            on_grid=np.isin(SWEEP_CODES, _grid()),
            positive=histograms[:, 0],
            negative=histograms[:, 1],
            connectivity=self._connectivity,
            bootstrap_samples=bootstrap_samples,
            seed=seed,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationResult:
    """All figures of a set of images; each is computed when first asked for.

    Attributes:
        images: Sorted by patient, then image.
        patients: Sorted patient ids.
        codes: int64 [thresholds], those of the sweep, ascending.
        on_grid: bool [thresholds]; the fixed grid, on which the curves stand.
        positive: int64 [patients, 65536], calcification pixels by patient and code.
        negative: int64 [patients, 65536], background pixels.
        connectivity: 8 or 4.
        bootstrap_samples: Resamples behind each interval.
        seed: Of the resampling.
    """

    images: tuple[ImageResult, ...]
    patients: tuple[str, ...]
    codes: np.ndarray
    on_grid: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    connectivity: int
    bootstrap_samples: int
    seed: int

    @property
    def calcifications(self) -> int:
        """Connected components of all annotations."""
        return sum(image.counts.objects for image in self.images)

    @functools.cached_property
    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """The pooled histograms of calcification and of background pixels, int64 [65536] each."""
        return self.positive.sum(axis=0), self.negative.sum(axis=0)

    @functools.cached_property
    def roc_auc(self) -> Figure:
        """Area under the per-pixel ROC curve."""
        return pixel_curves.roc_auc(*self.pixels)

    @functools.cached_property
    def average_precision(self) -> Figure:
        """Average precision of the per-pixel precision-recall curve."""
        return pixel_curves.average_precision(*self.pixels)

    @functools.cached_property
    def froc(self) -> FrocCurve:
        """FROC by the paper's protocol, over the fixed grid."""
        return _only(self._curve, self.on_grid)

    def operating_point(self, limit: float) -> OperatingPoint | None:
        """The highest sensitivity on the grid under a limit on the mean false alarms; None where there is none."""
        return froc.operating_point(self.froc, limit)

    def sensitivity_at(self, limit: float) -> Figure:
        """The sensitivity of `operating_point`, or the reason why there is none."""
        point = self.operating_point(limit)
        if point is not None:
            return Figure(point.sensitivity)
        if self.calcifications == 0:
            return Figure(None, "no calcification in the images")
        return Figure(None, f"more than {limit:g} false alarms per mammogram at the highest threshold already")

    def step_of(self, threshold: float) -> int:
        """Returns the index of a threshold among `codes`.

        Raises:
            InputError: It lies below the floor of the sweep.
        """
        code = threshold_code(threshold)
        if code < LOWEST_CODE:
            raise InputError(f"false alarms are counted from p = {from_code(LOWEST_CODE):.4f} up; found {threshold:g}")
        return code - LOWEST_CODE

    def at_threshold(self, threshold: float) -> AtThreshold:
        """Returns the figures at a threshold."""
        step, code = self.step_of(threshold), threshold_code(threshold)
        curve = self._curve
        return AtThreshold(
            threshold=from_code(code),
            sensitivity=_pick(curve.sensitivity, step, "no calcification in the images"),
            false_positives_per_image=_pick(curve.false_positives_per_image, step, ""),
            false_positives_per_cm2=_pick(curve.false_positives_per_cm2, step, self.area_reason),
            dice=pixel_curves.dice(*self.pixels, code),
            iou=pixel_curves.iou(*self.pixels, code),
        )

    @property
    def area_reason(self) -> str:
        """Why there is no figure per cm2, or ""."""
        unknown = sum(image.breast_area_mm2 is None for image in self.images)
        return f"the breast area of {unknown} of {len(self.images)} images is unknown" if unknown else ""

    @functools.cached_property
    def intervals(self) -> dict[str, Interval]:
        """95 % intervals by the figure's path in metrics.json; the bootstrap runs once."""
        count = len(self.patients)
        weights = bootstrap.patient_weights(count, self.bootstrap_samples, self.seed)
        scores = bootstrap.resample_pixel_scores(self.positive, self.negative, weights)
        row_of = {patient: row for row, patient in enumerate(self.patients)}
        rows = np.array([row_of[image.patient_id] for image in self.images])
        member = (np.arange(count)[:, None] == rows).astype(np.int64)  # [patients, images]
        sensitivities = bootstrap.resample_sensitivities(
            detected=member @ np.stack([image.counts.detected[self.on_grid] for image in self.images]),
            false_positives=member @ np.stack([image.counts.false_positives[self.on_grid] for image in self.images]),
            calcifications=member @ np.array([image.counts.objects for image in self.images]),
            images=member.sum(axis=1),
            weights=weights,
            limits=FALSE_ALARM_LIMITS,
        )
        intervals = {
            "pixel.roc_auc": bootstrap.interval(scores[:, 0], self.roc_auc, count),
            "pixel.average_precision": bootstrap.interval(scores[:, 1], self.average_precision, count),
        }
        for column, limit in enumerate(FALSE_ALARM_LIMITS):
            intervals[f"operating_points.{limit:g}.sensitivity"] = bootstrap.interval(
                sensitivities[:, column], self.sensitivity_at(limit), count
            )
        return intervals

    @functools.cached_property
    def _curve(self) -> FrocCurve:
        return froc.froc_curve(
            [image.counts for image in self.images],
            [image.breast_area_mm2 for image in self.images],
        )


def choose_threshold(result: EvaluationResult, false_alarms_per_image: float) -> float:
    """Chooses an operating threshold: the lowest of the grid that keeps the mean false alarms within the limit.

    "Keeps" means there and at every higher threshold (`froc.admissible` says why). It is the threshold of the highest
    sensitivity under the limit. Choose on training images, report on test images.

    Args:
        result: Of the training images.
        false_alarms_per_image: The most false alarms per mammogram, on average, inclusive.

    Raises:
        InputError: The limit is exceeded at the highest threshold of the grid.
    """
    curve = result.froc
    allowed = froc.admissible(curve.false_positives_per_image, false_alarms_per_image)
    if not allowed.any():
        raise InputError(
            f"no threshold keeps the mean false alarms within {false_alarms_per_image:g}; "
            f"found {curve.false_positives_per_image[-1]:g} at the highest, {curve.thresholds[-1]:g}"
        )
    return float(curve.thresholds[int(allowed.argmax())])


def _grid() -> np.ndarray:
    """Returns the codes on which the curves stand, even in logit, p = 0.0025 to 0.99995; int64 [99]."""
    logits = np.linspace(-6.0, 10.0, 100)
    codes = np.rint(FULL_SCALE / (1.0 + np.exp(-logits))).astype(np.int64)
    return np.unique(np.maximum(codes, LOWEST_CODE))


def _only(curve: FrocCurve, steps: np.ndarray) -> FrocCurve:
    return FrocCurve(
        thresholds=curve.thresholds[steps],
        sensitivity=None if curve.sensitivity is None else curve.sensitivity[steps],
        false_positives_per_image=curve.false_positives_per_image[steps],
        false_positives_per_cm2=None if curve.false_positives_per_cm2 is None else curve.false_positives_per_cm2[steps],
    )


def _pick(values: np.ndarray | None, step: int, reason: str) -> Figure:
    return Figure(None, reason) if values is None else Figure(float(values[step]))
