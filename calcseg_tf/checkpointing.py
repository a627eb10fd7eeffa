"""Checkpoints of a training run: weights, optimiser, place in the data and the epoch's means so far."""

import contextlib
import dataclasses
import errno
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf
from google.protobuf import text_format

from calcseg_tf.termination import Termination
from data_prep.atomic import write_text
from data_prep.errors import InputError, UnfinishedError
from data_prep.flushing import flush

__all__ = ["Checkpointing", "Position", "disk_errors_told", "one_line"]

_LIST = "checkpoint"  # TensorFlow's name of the list of checkpoints
_NAME = re.compile(r"ckpt-\d+")

# By what the system says of them: TensorFlow and HDF5 pass its words on, and no number.
_FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_OTHERS = tuple(os.strerror(number) for number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE))


@dataclasses.dataclass(frozen=True)
class Position:
    """A place in a run's data.

    Attributes:
        epoch: Epochs done.
        step: Steps done of the next one, fewer than it has.
    """

    epoch: int = 0
    step: int = 0

    def __str__(self) -> str:
        epochs, steps = (
            f"{n} {unit}{'' if n == 1 else 's'}" for n, unit in ((self.epoch, "epoch"), (self.step, "step"))
        )
        return f"{epochs} and {steps}" if self.step else epochs


class Checkpointing(keras.callbacks.Callback):
    """Saves at every epoch's end, every so many steps and, in one process, on SIGTERM; keeps the last two checkpoints.

    A checkpoint is named by the steps done since the run began: `ckpt-300`.

    Args:
        directory: Where they are.
        steps_per_epoch: Steps of an epoch.
        every_steps: Steps from one checkpoint to the next inside an epoch; 0: none there.
        termination: Ends the run after a step.
    """

    def __init__(
        self, directory: pathlib.Path, steps_per_epoch: int, every_steps: int, termination: Termination
    ) -> None:
        super().__init__()
        self._directory = directory
        self._steps_per_epoch = steps_per_epoch
        self._every_steps = every_steps
        self._termination = termination
        self._epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._begins_at = Position()

    @property
    def latest(self) -> str | None:
        """Path of the latest checkpoint, as TensorFlow names it; None where there is none."""
        return next(iter(self.listed), None)

    @property
    def listed(self) -> list[str]:
        """Paths of the checkpoints that the list names, as TensorFlow writes them, the latest first."""
        # Not those of the manager, which passes over what is older than its start by a clock that may have been wrong.
        state = tf.train.get_checkpoint_state(str(self._directory))
        return (
            []
            if state is None
            else list(dict.fromkeys([state.model_checkpoint_path, *reversed(state.all_model_checkpoint_paths)]))
        )

    @property
    def begun(self) -> bool:
        """Whether a checkpoint was ever finished; parts of one that was not do not count."""
        return (self._directory / _LIST).is_file()

    def set_model(self, model: keras.Model) -> None:
        """Takes the compiled model whose state is kept."""
        super().set_model(model)
        model.optimizer.build(model.trainable_variables)
        self._means = tf.train.Checkpoint(means=model.metrics)
        checkpoint = tf.train.Checkpoint(
            model=model, optimizer=model.optimizer, epoch=self._epoch, step=self._step, means=model.metrics
        )
        self._manager = tf.train.CheckpointManager(checkpoint, str(self._directory), max_to_keep=2)

    def restore(self, model: keras.Model, say: Callable[[str], None]) -> Position:
        """Restores the latest checkpoint into a compiled model, or the one before where that is damaged.

        Args:
            model: Its state is replaced.
            say: Takes a line on a damaged checkpoint.

        Returns:
            Where the run goes on; its beginning where there is no checkpoint.

        Raises:
            InputError: All checkpoints or their list are damaged, or they are of another network.
        """
        self._require_no_damaged_list()
        self.set_model(model)
        damage = []
        for path in self.listed:
            try:
                self._manager.checkpoint.restore(path).assert_consumed()
            except Exception as error:  # a damaged checkpoint can raise nearly anything
                damage.append(InputError(f"the checkpoint cannot be restored ({one_line(error)})", path))
                continue
            if damage:
                say(f"{damage[0]}: going on from the one before")
                self._forget(path)
            self._restored = path
            self._begins_at = Position(int(self._epoch.numpy()), int(self._step.numpy()))
            break
        else:
            if damage:
                raise damage[0]
        self._remove_orphans()
        return self._begins_at

    def _forget(self, good: str) -> None:
        """Takes those later than a good one off the list: a damaged one would take the place of a good one there."""
        state = tf.train.get_checkpoint_state(str(self._directory))
        count = list(state.all_model_checkpoint_paths).index(good) + 1
        names = [pathlib.Path(path).name for path in state.all_model_checkpoint_paths[:count]]
        times = state.all_model_checkpoint_timestamps[:count]
        state.Clear()
        state.model_checkpoint_path = names[-1]
        state.all_model_checkpoint_paths.extend(names)
        state.all_model_checkpoint_timestamps.extend(times)
        write_text(self._directory / _LIST, text_format.MessageToString(state))
        self._manager = tf.train.CheckpointManager(self._manager.checkpoint, str(self._directory), max_to_keep=2)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Brings back the means of an epoch that is gone on with: `fit` has just reset them."""
        self._at = epoch
        if self._begins_at.step and epoch == self._begins_at.epoch:
            self._means.restore(self._restored).expect_partial()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes a checkpoint where one is due, and ends the run where SIGTERM came."""
        step = batch + 1
        if step == self._steps_per_epoch:
            return  # the epoch's end does it
        done = self._at * self._steps_per_epoch + step
        if self._termination.requested or (self._every_steps and done % self._every_steps == 0):
            self._save(Position(self._at, step))
        self._termination.check()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the checkpoint of a finished epoch."""
        self._save(Position(epoch + 1))
        self._termination.check()

    def _save(self, position: Position) -> None:
        self._epoch.assign(position.epoch)
        self._step.assign(position.step)
        number = position.epoch * self._steps_per_epoch + position.step
        try:
            # Here and not further out: `fit` takes one of TensorFlow's errors of a full disk for the end of the data.
            with disk_errors_told(self._directory):
                self._manager.save(checkpoint_number=number)
                for path in [*self._directory.glob(f"ckpt-{number}.*"), self._directory / _LIST, self._directory]:
                    flush(path)
        except UnfinishedError:
            self._remove_parts(number)
            raise

    def _remove_parts(self, number: int) -> None:
        """Removes what is there of a checkpoint that could not be written, for its space; a listed one is whole."""
        if f"ckpt-{number}" not in {pathlib.Path(path).name for path in self.listed}:
            _remove(self._directory.glob(f"ckpt-{number}[._]*"))

    def _remove_orphans(self) -> None:
        """Removes what a killed process left: parts of a checkpoint, those that the list does not name."""
        listed = {pathlib.Path(path).name for path in self.listed}
        found = [*self._directory.glob("ckpt-*"), *self._directory.glob("checkpoint.tmp*")]
        _remove(path for path in found if path.name.split(".")[0] not in listed)

    def _require_no_damaged_list(self) -> None:
        """Checks that a run does not begin anew, over its checkpoints, because their list cannot be read.

        TensorFlow takes some lists that it cannot read for none.
        """
        if not self.begun:
            return
        path = self._directory / _LIST
        try:
            readable = tf.train.get_checkpoint_state(str(self._directory)) is not None
        except ValueError:  # an empty one, or no UTF-8
            readable = False
        if not readable:
            raise InputError("the list of checkpoints is damaged: delete this folder to begin anew", path)
        for listed in map(pathlib.Path, self.listed):
            # TensorFlow deletes what an older entry names, a pattern in any folder too.
            if listed.parent != self._directory or not _NAME.fullmatch(listed.name):
                raise InputError("the list of checkpoints must name those of its folder alone, ckpt-NUMBER", path)


def _remove(paths: Iterable[pathlib.Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_errors_told(where: pathlib.Path) -> Iterator[None]:
    """Turns what Python, TensorFlow and HDF5 say of a disk into one line: it is full, or cannot be read or written.

    Args:
        where: The folder that is written.

    Raises:
        UnfinishedError: There is no space, or TensorFlow or HDF5 met another error of the disk.
    """
    try:
        yield
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        if reason := next((reason for reason in _FULL if reason in str(error)), None):
            raise UnfinishedError(
                f"{reason}: what was written before is whole; make space, and the same command goes on from it", where
            ) from None
        if isinstance(error, OSError) or not any(reason in str(error) for reason in _OTHERS):
            raise
        raise UnfinishedError(
            f"the disk: {one_line(error)}; what was written before is whole, and the same command goes on from it",
            where,
        ) from None


def one_line(error: BaseException) -> str:
    """Returns the beginning of an error's text, on one line."""
    return " ".join(str(error).split())[:160]
