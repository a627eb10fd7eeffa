"""The result of an evaluation: every figure, curve and interval, computed from the sums of its patients."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from calcseg_tf.evaluation import bootstrap, froc, pixel_curves, rounding, strata
from calcseg_tf.evaluation.bootstrap import Band, Interval
from calcseg_tf.evaluation.froc import FALSE_ALARM_LIMITS, FrocCurve, OperatingPoint, SweepCounts
from calcseg_tf.evaluation.image_score import ImageResult
from calcseg_tf.evaluation.patient_counts import PatientCounts
from calcseg_tf.evaluation.pixel_curves import Curve, Figure
from calcseg_tf.evaluation.rounding import Bounds
from calcseg_tf.evaluation.threshold_figures import ThresholdFigure, ratio, threshold_figures
from calcseg_tf.evaluation.uncertainty import LIMITS_PER_CM2, PARTIAL_AREAS, Grids, Weighted, weigh
from calcseg_tf.probability_map import from_code, threshold_code
from data_prep.errors import InputError

__all__ = ["PRIMARY", "EvaluationResult", "Stratum", "choose_threshold"]

PRIMARY = "zamir"
"""The protocol of the paper: what a limit on false alarms means where no protocol is named."""

_NO_OBJECT = "no calcification in the images"


@dataclasses.dataclass(frozen=True)
class Stratum:
    """The calcifications of one class.

    Attributes:
        dimension: By what they are divided, as in `strata.DIMENSIONS`.
        name: Of the class.
        objects: How many are annotated.
        detected: How many of them are found at the operating threshold, under the paper's protocol.
    """

    dimension: str
    name: str
    objects: int
    detected: int

    @property
    def path(self) -> str:
        """Of its sensitivity in metrics.json."""
        return f"strata.{self.dimension}.{self.name}.sensitivity"


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationResult:
    """All figures of a set of images; each is computed when first asked for.

    Attributes:
        images: Sorted by patient, then image.
        counts: The sums by patient.
        connectivity: 8 or 4, of the paper's protocol and the tables.
        code: The operating threshold.
        bootstrap_samples: Resamples of the patients behind each interval.
        seed: Of the resampling.
    """

    images: tuple[ImageResult, ...]
    counts: PatientCounts
    connectivity: int
    code: int
    bootstrap_samples: int
    seed: int

    @property
    def patients(self) -> tuple[str, ...]:
        """Sorted ids."""
        return self.counts.patients

    @property
    def protocols(self) -> tuple[str, ...]:
        """The keys of `froc`."""
        return tuple(self.counts.sweeps)

    @property
    def threshold(self) -> float:
        """The operating threshold, as a probability."""
        return from_code(self.code)

    @property
    def calcifications(self) -> int:
        """Connected components of all annotations."""
        return sum(len(image.calcifications) for image in self.images)

    @property
    def area_reason(self) -> str:
        """Why there is no figure per cm2, or ""."""
        return self.counts.area_reason

    @functools.cached_property
    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """The pooled histograms of calcification and of background pixels, int64 [65536] each."""
        return self.counts.pixels

    @functools.cached_property
    def roc_curve(self) -> Curve | None:
        """Per-pixel ROC; None where `roc_auc` is undefined."""
        return pixel_curves.roc_curve(*self.pixels)

    @functools.cached_property
    def precision_recall_curve(self) -> Curve | None:
        """Per-pixel precision-recall curve; None where `average_precision` is undefined."""
        return pixel_curves.precision_recall_curve(*self.pixels)

    @functools.cached_property
    def roc_auc(self) -> Figure:
        """Area under the per-pixel ROC curve."""
        return pixel_curves.roc_auc(*self.pixels)

    @functools.cached_property
    def average_precision(self) -> Figure:
        """Average precision of the per-pixel precision-recall curve."""
        return pixel_curves.average_precision(*self.pixels)

    @functools.cached_property
    def rounding(self) -> dict[str, Bounds | None]:
        """What the figures of the probabilities before rounding to 16 bits can be, by path; None where undefined."""
        return {
            "pixel.roc_auc": rounding.roc_auc_bounds(*self.pixels),
            "pixel.average_precision": rounding.average_precision_bounds(*self.pixels),
        }

    @functools.cached_property
    def sweeps(self) -> dict[str, SweepCounts]:
        """What each protocol counts over all images, at every code from `froc.LOWEST_CODE` up."""
        return {protocol: froc.pool(sweeps) for protocol, sweeps in self.counts.sweeps.items()}

    @functools.cached_property
    def froc(self) -> dict[str, FrocCurve]:
        """FROC by protocol, at every code from `froc.LOWEST_CODE` up."""
        area_cm2 = None if self.area_reason else float(self.counts.sums["area_cm2"].sum())
        return {protocol: froc.froc_curve(sweep, len(self.images), area_cm2) for protocol, sweep in self.sweeps.items()}

    def operating_point(self, limit: float, protocol: str = PRIMARY, per_cm2: bool = False) -> OperatingPoint | None:
        """The lowest threshold that keeps a limit on the mean false alarms, as all higher ones do; None if none does.

        Args:
            limit: Inclusive.
            protocol: One of `protocols`.
            per_cm2: Whether the limit is per cm2 of breast, not per mammogram.
        """
        return froc.operating_point(self.froc[protocol], limit, per_cm2)

    def predicted_share(self, threshold: float) -> float:
        """Returns the share of all pixels that are predicted at a threshold; ignored pixels are left out.

        Where it is not small, one component may cover everything: it touches every calcification, which the paper's
        protocol takes for a perfect result without false alarms.
        """
        code = threshold_code(threshold)
        every = np.add(*self.pixels)
        return float(every[code:].sum() / max(1, every.sum()))

    def sensitivity_at(self, limit: float, protocol: str = PRIMARY, per_cm2: bool = False) -> Figure:
        """The sensitivity of `operating_point`, or the reason why there is none."""
        point = self.operating_point(limit, protocol, per_cm2)
        if point is not None:
            return Figure(point.sensitivity)
        if self.froc[protocol].sensitivity is None:
            return Figure(None, _no_object(protocol))
        if per_cm2 and self.area_reason:
            return Figure(None, self.area_reason)
        per = "cm2 of breast" if per_cm2 else "mammogram"
        return Figure(None, f"more than {limit:g} false alarms per {per} at the highest threshold already")

    @functools.cached_property
    def strata(self) -> tuple[Stratum, ...]:
        """The calcifications by size, view and neighbourhood, with how many are found at the operating threshold."""
        sums = self.counts.sums
        return tuple(
            Stratum(dimension.name, name, int(sums[f"{prefix}.objects"].sum()), int(sums[f"{prefix}.detected"].sum()))
            for dimension in strata.DIMENSIONS
            for name in self.counts.strata[dimension.name]
            for prefix in [f"strata.{dimension.name}.{name}"]
        )

    @functools.cached_property
    def threshold_figures(self) -> tuple[ThresholdFigure, ...]:
        """The formulas of what is measured at the operating threshold, with the sentences that define them."""
        figures = threshold_figures(self.protocols, PRIMARY, self.area_reason)
        return (*figures, *(_stratum_figure(stratum) for stratum in self.strata))

    @functools.cached_property
    def figures(self) -> dict[str, Figure]:
        """Every figure that has an interval, by its path in metrics.json."""
        figures = {"pixel.roc_auc": self.roc_auc, "pixel.average_precision": self.average_precision}
        sums = {name: values.sum() for name, values in self.counts.sums.items()}
        for each in self.threshold_figures:
            value = float(each.compute(sums))
            figures[each.path] = Figure(None, each.reason) if np.isnan(value) else Figure(value)
        for protocol in self.protocols:
            path = f"froc.{protocol}.operating_points"
            for limit in FALSE_ALARM_LIMITS:
                figures[f"{path}.{limit:g}.sensitivity"] = self.sensitivity_at(limit, protocol)
            for limit in LIMITS_PER_CM2:
                figures[f"{path}_per_cm2.{limit:g}.sensitivity"] = self.sensitivity_at(limit, protocol, per_cm2=True)
            for unit, limit in PARTIAL_AREAS.get(protocol, {}).items():
                figures[f"froc.{protocol}.partial_auc_{unit}"] = self._partial_auc(protocol, unit, limit)
        return figures

    def _partial_auc(self, protocol: str, unit: str, limit: float) -> Figure:
        curve = self.froc[protocol]
        alarms = curve.false_positives_per_image if unit == "per_image" else curve.false_positives_per_cm2
        if curve.sensitivity is None:
            return Figure(None, _no_object(protocol))
        if alarms is None:
            return Figure(None, self.area_reason)
        return Figure(froc.partial_auc(alarms, curve.sensitivity, limit) / limit)

    @functools.cached_property
    def intervals(self) -> dict[str, Interval]:
        """95 % intervals over resampled patients, by the figure's path in metrics.json; the bootstrap runs once."""
        undefined = np.full(self.bootstrap_samples, np.nan)
        return {
            path: bootstrap.interval(self.resamples.figures.get(path, undefined), figure, len(self.patients))
            for path, figure in self.figures.items()
        }

    @functools.cached_property
    def bands(self) -> dict[str, Band]:
        """95 % bands of the curves at 100 points each, by name.

        `roc`: the highest true-positive rate whose false-positive rate is at most x. `precision_recall`: the precision
        at the highest threshold whose recall is at least x. `froc.<protocol>`: the sensitivity at the lowest threshold
        from which on there are at most x false alarms per mammogram; `froc.<protocol>.per_cm2`: per cm2 of breast,
        where every breast's area is known.
        """
        whole = weigh(self.counts, (), np.ones((1, len(self.patients))), self._grids)
        x = {"roc": self._grids.false_positive_rates, "precision_recall": self._grids.recalls, **self._grids.alarms}
        return {
            name: bootstrap.band(x[name], values[0], self.resamples.curves[name], len(self.patients))
            for name, values in whole.curves.items()
        }

    @functools.cached_property
    def resamples(self) -> Weighted:
        """Every figure and curve of each resample of the patients."""
        weights = bootstrap.patient_weights(len(self.patients), self.bootstrap_samples, self.seed)
        return weigh(self.counts, self.threshold_figures, weights, self._grids)

    @functools.cached_property
    def _grids(self) -> Grids:
        return Grids.of(self.counts)


def choose_threshold(result: EvaluationResult, false_alarms_per_image: float) -> float:
    """Chooses an operating threshold: the lowest that keeps the mean false alarms within the limit (paper's protocol).

    "Keeps" means there and at every higher threshold (`froc.admissible` says why). It is the threshold of the highest
    sensitivity under the limit. Choose on training images, report on test images.

    Args:
        result: Of the training images.
        false_alarms_per_image: The most false alarms per mammogram, on average, inclusive.

    Raises:
        InputError: The limit is exceeded at the highest threshold.
    """
    curve = result.froc[PRIMARY]
    allowed = froc.admissible(curve.false_positives_per_image, false_alarms_per_image)
    # At full scale itself no threshold of a model can stand.
    if not allowed[:-1].any():
        raise InputError(
            f"no threshold keeps the mean false alarms within {false_alarms_per_image:g}; "
            f"found {curve.false_positives_per_image[-2]:g} at the highest, {curve.thresholds[-2]:g}"
        )
    return float(curve.thresholds[int(allowed.argmax())])


def _stratum_figure(stratum: Stratum) -> ThresholdFigure:
    prefix = stratum.path.removesuffix(".sensitivity")
    sentence = next(each.sentence for each in strata.DIMENSIONS if each.name == stratum.dimension)

    def compute(sums: Mapping[str, np.ndarray]) -> np.ndarray:
        return ratio(sums[f"{prefix}.detected"], sums[f"{prefix}.objects"])

    return ThresholdFigure(
        stratum.path,
        compute,
        f"no calcification of class {stratum.name} in the images",
        f"Annotated calcifications of this class detected at the operating threshold (paper's protocol) / annotated "
        f"calcifications of this class. {sentence}",
    )


def _no_object(protocol: str) -> str:
    return _NO_OBJECT if protocol == PRIMARY else f"no annotated object of protocol {protocol} in the images"
