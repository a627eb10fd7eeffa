"""Validation during training: the score on held-out mammograms at full resolution, and the best weights apart."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np

from calcseg_tf.evaluation import PRIMARY, Evaluation, EvaluationResult
from calcseg_tf.history import History
from calcseg_tf.inference.predictor import Predictor
from calcseg_tf.model_directory import BEST_WEIGHTS_FILE, ModelInfo, save_weights
from calcseg_tf.models import build_network
from calcseg_tf.scoring import score_records
from calcseg_tf.termination import Termination
from data_prep.schema import Record

__all__ = ["IMAGES_SHOWN", "SCORE", "ShownImage", "Validated", "Validation"]

SCORE = "val_average_precision"
"""A key of `history.json`: average precision over the pixels of the held-out mammograms."""

IMAGES_SHOWN = 3  # kept whole with their probabilities, about 100 MB each


@dataclasses.dataclass(frozen=True, eq=False)
class ShownImage:
    """One of the fixed mammograms that are looked at after every validation.

    Attributes:
        image_id: As in the records.
        intensity: float32 [height, width] in [0, 1].
        mask: uint8 [height, width]: 0 background, 1 calcification, 255 ignore.
        probability: float32 [height, width] in [0, 1].
    """

    image_id: str
    intensity: np.ndarray
    mask: np.ndarray
    probability: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Validated:
    """What one validation found.

    Attributes:
        epoch: Finished epochs.
        score: Average precision over the pixels of every held-out mammogram.
        evaluation: Of every held-out mammogram: FROC, precision and recall, average precision.
        shown: The first `IMAGES_SHOWN` of them in the order of the shards, the same in every validation.
    """

    epoch: int
    score: float
    evaluation: EvaluationResult
    shown: tuple[ShownImage, ...]


class Validation(keras.callbacks.Callback):
    """Scores the network after every so many epochs; stands behind the checkpoint in the list of callbacks.

    Whatever stops the run during a validation therefore costs no training: the next start does it again.

    Args:
        info: The model whose weights are validated.
        records: Gives the held-out records, the same in the same order at every call, one in memory at a time.
        every_epochs: Epochs from one validation to the next.
        model_dir: Receives `best.weights.h5`.
        history: Holds the scores; the best of them is the best model's.
        termination: Ends a validation after a band of rows.
        told: Each is called with what a validation found; twice, where a run is killed just after.

    Attributes:
        pending: The validation after the epoch that the run goes on from was stopped; `fit` begins with it.
    """

    def __init__(
        self,
        info: ModelInfo,
        records: Callable[[], Iterable[Record]],
        every_epochs: int,
        model_dir: pathlib.Path,
        history: History,
        termination: Termination,
        told: Sequence[Callable[[Validated], None]] = (),
    ) -> None:
        super().__init__()
        self.pending = False
        self._epoch = 0
        self._records = records
        self._every_epochs = every_epochs
        self._model_dir = model_dir
        self._history = history
        self._termination = termination
        self._told = told
        # As `predict` will build it: without synchronised batch norm, whose kernel is slower.
        self._network = build_network(info.model)
        self._predictor = Predictor(self._network, info)  # reads the weights anew for each image

    def resume(self, epoch: int) -> None:
        """Goes on after `epoch` epochs; the history has been read."""
        self._epoch = epoch
        self.pending = self._is_due(epoch) and SCORE not in self._history.entry(epoch)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Does the validation that was stopped."""
        if self.pending:
            self._validate(self._epoch)
            self.pending = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Validates where it is due."""
        if self._is_due(epoch + 1):
            self._validate(epoch + 1)

    def _is_due(self, epoch: int) -> bool:
        return epoch > 0 and epoch % self._every_epochs == 0

    def _validate(self, epoch: int) -> None:
        with self.model.averaged_weights():
            self._network.set_weights(self.model.get_weights())
        shown: list[ShownImage] = []

        def show(record: Record, probability: np.ndarray) -> None:
            if len(shown) < IMAGES_SHOWN:
                shown.append(ShownImage(record.image_id, record.intensity(), record.mask, probability))

        evaluation = score_records(
            self._predictor,
            self._records(),
            Evaluation(protocols=(PRIMARY,)),
            "Validating",
            seen=show,
            check=self._termination.check,
        )
        score = evaluation.average_precision.value
        assert score is not None  # `train` sees to it that there is a calcification
        best = self._history.best(SCORE)
        if best is None or score > best[1]:
            save_weights(self._model_dir, self._network, BEST_WEIGHTS_FILE)
        for tell in self._told:
            tell(Validated(epoch, score, evaluation, tuple(shown)))
        # Last: a run killed before it does the validation again.
        self._history.amend(epoch, {SCORE: score})
