"""The callback that ends a run gone wrong."""

import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from data_prep.errors import InputError

__all__ = ["StopOnNan"]


class StopOnNan(keras.callbacks.Callback):
    """Ends a run whose loss or weights are no longer finite, at that step, before a checkpoint of it is written.

    Args:
        model_dir: Whose run it is.
        steps_per_epoch: Steps of an epoch.
        images_at: Tells the ids of the mammograms in the batch of an epoch and step, both counted from 0.
        latest_checkpoint: Tells the path of the last checkpoint, None where there is none.
    """

    def __init__(
        self,
        model_dir: pathlib.Path,
        steps_per_epoch: int,
        images_at: Callable[[int, int], Sequence[str]],
        latest_checkpoint: Callable[[], str | None],
    ) -> None:
        super().__init__()
        self._model_dir = model_dir
        self._steps_per_epoch = steps_per_epoch
        self._images_at = images_at
        self._latest_checkpoint = latest_checkpoint

    def set_model(self, model: keras.Model) -> None:
        """Takes the model whose weights are checked."""
        super().set_model(model)
        # As arguments, replicated variables and those of mixed precision would be traced anew at every step.
        self._weights_finite = tf.function(lambda: _all_finite(model.weights))

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps the epoch, which a step is not told."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks the epoch's running mean, which one bad step spoils, and what its update made of the weights."""
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            self._stop(f"the loss became {loss}", batch)
        if not bool(self._weights_finite()):
            bad = next(variable for variable in self.model.weights if not bool(_all_finite([variable])))
            self._stop(f"{bad.name} is no longer finite", batch)

    def _stop(self, what: str, batch: int) -> None:
        step = self._epoch * self._steps_per_epoch + batch + 1
        images = dict.fromkeys(self._images_at(self._epoch, batch))  # each once, in the batch's order
        latest = self._latest_checkpoint()
        raise InputError(
            f"{what} at step {step}; its batch was cut from {', '.join(images)}; "
            f"{f'the last good checkpoint is {latest}' if latest else 'there is no good checkpoint'}; "
            "train again with a lower --learning_rate in another --model_dir",
            self._model_dir,
        )


def _all_finite(variables: Sequence[tf.Variable]) -> tf.Tensor:
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(variable)) for variable in variables])
