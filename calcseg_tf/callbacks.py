"""Callbacks of a training run: what is on disk after every epoch, so that a killed run goes on where it was."""

import json
import math
import pathlib
import time
from typing import Any

import keras
import tensorflow as tf

from data_prep.atomic import write_json
from data_prep.errors import InputError

__all__ = ["EpochCheckpoint", "History", "StopOnNan"]


class EpochCheckpoint(keras.callbacks.Callback):
    """Saves network, optimiser and epoch at every epoch's end; keeps the last two checkpoints."""

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__()
        self._directory = directory
        self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False)

    def set_model(self, model: keras.Model) -> None:
        """Takes the compiled model whose state is kept."""
        super().set_model(model)
        model.optimizer.build(model.trainable_variables)
        checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer, epoch=self._epoch)
        self._manager = tf.train.CheckpointManager(checkpoint, str(self._directory), max_to_keep=2)

    def restore(self, model: keras.Model) -> int:
        """Restores the latest checkpoint into a compiled model.

        Returns:
            The number of finished epochs; 0 where there is no checkpoint.

        Raises:
            InputError: The checkpoint is damaged or of another network.
        """
        self.set_model(model)
        if self._manager.latest_checkpoint is None:
            return 0
        try:
            self._manager.checkpoint.restore(self._manager.latest_checkpoint).assert_consumed()
        except Exception as error:  # a damaged checkpoint can raise nearly anything
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"the checkpoint cannot be restored ({reason})", self._manager.latest_checkpoint) from None
        return int(self._epoch.numpy())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the checkpoint of a finished epoch."""
        self._epoch.assign(epoch + 1)
        self._manager.save(checkpoint_number=epoch + 1)


class History(keras.callbacks.Callback):
    """Keeps `history.json`: one entry an epoch, replaced in one step; a resumed run drops what it redoes."""

    def __init__(self, path: pathlib.Path, pixels_per_epoch: int) -> None:
        super().__init__()
        self._path = path
        self._pixels_per_epoch = pixels_per_epoch
        self._entries: list[dict[str, float]] = []

    def resume(self, epoch: int) -> None:
        """Reads the entries of the first `epoch` epochs.

        Raises:
            InputError: The file is damaged.
        """
        if not epoch or not self._path.is_file():
            return
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
            self._entries = [entry for entry in entries if entry["epoch"] <= epoch]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"not a readable history ({type(error).__name__}: {error})", self._path) from None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds an entry; `pixels_per_second` and `learning_rate` also reach the log and TensorBoard."""
        logs = {} if logs is None else logs
        seconds = time.monotonic() - self._start
        logs["pixels_per_second"] = self._pixels_per_epoch / seconds
        logs["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())
        self._entries.append({"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}})
        write_json(self._path, self._entries)


class StopOnNan(keras.callbacks.Callback):
    """Ends a run whose loss or weights are no longer finite, before a checkpoint of it is written."""

    def __init__(self, model_dir: pathlib.Path) -> None:
        super().__init__()
        self._model_dir = model_dir

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks the epoch's running mean, which one bad step spoils."""
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            self._stop(f"the loss became {loss}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Checks what the epoch's last update made of the weights, which no loss has seen yet."""
        for variable in self.model.weights:
            if not bool(tf.reduce_all(tf.math.is_finite(variable))):
                self._stop(f"{variable.name} is no longer finite")

    def _stop(self, what: str) -> None:
        raise InputError(
            f"{what} at step {int(self.model.optimizer.iterations.numpy())}; train again with a lower --learning_rate "
            "in another --model_dir. The last good epoch, if there is one, is in checkpoints/",
            self._model_dir,
        )
