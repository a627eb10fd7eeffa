"""Gathers predictions image by image, in bounded memory, and freezes them into a result with every figure."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

import numpy as np

from calcseg_tf.evaluation.evaluation_result import PRIMARY, EvaluationResult
from calcseg_tf.evaluation.froc import LOWEST_CODE, SWEEP_CODES, SweepCounts
from calcseg_tf.evaluation.image_score import PROTOCOLS, ImageCase, ImageResult, ImageScore, ScoringConfig, score_image
from calcseg_tf.evaluation.patient_counts import PatientCounts, sums_by_patient
from calcseg_tf.probability_map import FULL_SCALE, from_code, threshold_code, to_codes
from data_prep.components import CONNECTIVITIES, check_mask
from data_prep.errors import InputError
from data_prep.worker_process import begin_worker

__all__ = ["Evaluation"]


class _Patient:
    """The sums of one patient."""

    def __init__(self) -> None:
        self.histograms = np.zeros((2, FULL_SCALE + 1), np.int64)
        self.sweeps: dict[str, SweepCounts] = {}

    def add(self, score: ImageScore) -> None:
        self.histograms[0] += score.positive
        self.histograms[1] += score.negative
        for name, sweep in score.sweeps.items():
            sums = self.sweeps.setdefault(name, SweepCounts(0, *np.zeros((2, len(SWEEP_CODES)), np.int32)))
            np.add(sums.detected, sweep.detected, out=sums.detected)
            np.add(sums.false_positives, sweep.false_positives, out=sums.false_positives)
            self.sweeps[name] = dataclasses.replace(sums, objects=sums.objects + sweep.objects)

    def freeze(self) -> None:
        self.histograms.setflags(write=False)
        for sweep in self.sweeps.values():
            sweep.detected.setflags(write=False)
            sweep.false_positives.setflags(write=False)


class Evaluation:
    """Takes images one after another; keeps sums by patient and tables of components, never the images.

    Everything is measured at the resolution of the 16-bit probability map (`calcseg_tf.probability_map`): floats are
    rounded to codes first. Neither the order of the images nor the number of workers changes anything, to the last bit.

    With workers, images are scored by processes of their own while the caller predicts the next one; use it as a
    context, which ends them:

        with Evaluation(threshold=0.5, workers=2) as evaluation:
            evaluation.add(probability, mask, "image", "patient")
            result = evaluation.result()

    Args:
        threshold: The operating threshold, at which figures, tables of components and strata are taken.
        connectivity: 8 or 4, for calcifications and for predictions of the paper's protocol.
        protocols: Of `image_score.PROTOCOLS`, the paper's among them; each sweeps over every threshold.
        workers: Processes that score, at least 1; with 1 the caller's own.

    Raises:
        InputError: A value is outside its range; the threshold lies below what is ever counted.
    """

    def __init__(
        self,
        threshold: float = 0.5,
        connectivity: int = 8,
        protocols: tuple[str, ...] = PROTOCOLS,
        workers: int = 1,
    ) -> None:
        if connectivity not in CONNECTIVITIES:
            raise InputError(f"connectivity must be 4 or 8; found {connectivity}")
        if workers < 1:
            raise InputError(f"workers must be 1 or more; found {workers}")
        if PRIMARY not in protocols or not set(protocols) <= set(PROTOCOLS):
            raise InputError(
                f"protocols are of {', '.join(PROTOCOLS)}, {PRIMARY} among them; found {', '.join(protocols) or 'none'}"
            )
        code = threshold_code(threshold)
        if code < LOWEST_CODE:
            raise InputError(
                f"a threshold must be at least {from_code(LOWEST_CODE):.4f}, below which nothing is counted; "
                f"found {threshold:g}"
            )
        self._config = ScoringConfig(connectivity, code, protocols)
        self._ids: set[str] = set()
        self._images: list[ImageResult] = []
        self._patients: dict[str, _Patient] = {}
        self._frozen: PatientCounts | None = None
        self._pending: collections.deque[concurrent.futures.Future[ImageScore]] = collections.deque()
        self._most_pending = 2 * workers
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None
        if workers > 1:
            # Not by fork: a process that has started TensorFlow's threads must not be copied.
            context = multiprocessing.get_context("spawn")
            self._pool = concurrent.futures.ProcessPoolExecutor(workers, mp_context=context, initializer=begin_worker)

    def __enter__(self) -> "Evaluation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def add(
        self,
        probability: np.ndarray,
        mask: np.ndarray,
        image_id: str,
        patient_id: str,
        breast_area_mm2: float | None = None,
        *,
        laterality: str = "",
        view: str = "",
        pixel_spacing_mm: tuple[float, float] | None = None,
    ) -> None:
        """Scores one image.

        Args:
            probability: float [height, width] in [0, 1], or uint16 codes, round(65535 p).
            mask: uint8 [height, width]: 0 background, 1 calcification, 255 ignore.
            image_id: Unique among the images.
            patient_id: Whose image it is.
            breast_area_mm2: Area of the breast, positive; None when unknown, the spacing for one.
            laterality: "L", "R" or "".
            view: A defined term of View Position (0018,5101), or "".
            pixel_spacing_mm: (row, column), or None when unknown.

        Raises:
            InputError: The image was added before, the mask does not fit, or a value is out of its range.
        """
        if self._frozen is not None:
            raise ValueError("an evaluation that gave its result takes no more images")
        if image_id in self._ids:
            raise InputError("an image is evaluated once; found it twice", image_id)
        case = ImageCase(image_id, patient_id, laterality, view, pixel_spacing_mm, breast_area_mm2)
        try:
            codes = to_codes(probability)
            check_mask(mask, codes.shape)
        except InputError as error:
            raise InputError(error.rule, image_id) from None
        self._ids.add(image_id)
        if self._pool is None:
            self._merge(score_image(codes, mask, case, self._config))
            return
        with _said_when_broken():
            while len(self._pending) >= self._most_pending:
                self._merge(self._pending.popleft().result())
            self._pending.append(self._pool.submit(score_image, codes, mask, case, self._config))

    def result(self, bootstrap_samples: int = 1000, seed: int = 0) -> EvaluationResult:
        """Freezes what was added; no image can be added any more.

        Args:
            bootstrap_samples: Resamples of the patients behind each confidence interval, drawn when first asked for.
            seed: Of the resampling.

        Raises:
            InputError: No image was added.
        """
        with _said_when_broken():
            while self._pending:
                self._merge(self._pending.popleft().result())
        if not self._images:
            raise InputError("an evaluation needs at least one image; found none")
        images = sorted(self._images, key=lambda image: (image.case.patient_id, image.case.image_id))
        if self._frozen is None:
            self._frozen = self._counts(images)
        return EvaluationResult(
            images=tuple(images),
            counts=self._frozen,
            connectivity=self._config.connectivity,
            code=self._config.code,
            bootstrap_samples=bootstrap_samples,
            seed=seed,
        )

    def _merge(self, score: ImageScore) -> None:
        self._images.append(score.image)
        self._patients.setdefault(score.image.case.patient_id, _Patient()).add(score)

    def _counts(self, images: list[ImageResult]) -> PatientCounts:
        ids = sorted(self._patients)
        patients = [self._patients[each] for each in ids]
        for patient in patients:
            patient.freeze()
        sums, names, reason = sums_by_patient(images, ids, self._config.code)
        return PatientCounts(
            patients=tuple(ids),
            sweeps={name: tuple(patient.sweeps[name] for patient in patients) for name in patients[0].sweeps},
            histograms=tuple(patient.histograms for patient in patients),
            sums=sums,
            strata=names,
            area_reason=reason,
        )


@contextlib.contextmanager
def _said_when_broken() -> Iterator[None]:
    """Turns the end of a worker into one line."""
    try:
        yield
    except (BrokenProcessPool, OSError):
        # OSError, "handle is closed", where one ends while the pool is given work.
        raise InputError("scoring needs its worker processes; one was ended, as when memory runs out") from None
