"""What TensorBoard shows of a run: rates, pictures, recipe, network, and on request a profile.

Every step is the optimiser's count of iterations, so that a run which was killed and resumed, wherever in an epoch,
gives the log that an undisturbed one gives: what was written after the checkpoint is dropped before it is redone.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from calcseg_tf.example_crops import ExampleCrop, draw_crop
from calcseg_tf.validation import SCORE, Validated
from data_prep.atomic import temporary_beside
from data_prep.errors import InputError
from data_prep.tfrecord import read_tfrecord, write_tfrecord

__all__ = ["LogConfig", "TensorBoardLog", "drop_events_after"]

_EVENT_FILES = "events.out.tfevents.*"
_PICTURE_NOTE = "Left the input, in the middle its annotation, right the probability, from blue through green to red."


@dataclasses.dataclass(frozen=True)
class LogConfig:
    """What is logged beside the rates.

    Attributes:
        images_every_epochs: Epochs from one set of pictures to the next; 0 draws none.
        profile_steps: First and last iteration to profile, counted from 1 at this start; empty profiles none.
    """

    images_every_epochs: int = 5
    profile_steps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.images_every_epochs < 0:
            raise InputError(f"--images_every_epochs must be 0 or more; found {self.images_every_epochs}")
        steps = self.profile_steps
        if steps and not (len(steps) == 2 and 1 <= steps[0] <= steps[1]):
            raise InputError(
                "--profile_steps must be FIRST,LAST with 1 <= FIRST <= LAST; "
                f"found {','.join(str(step) for step in steps)}"
            )


class TensorBoardLog(keras.callbacks.Callback):
    """Writes the event files of a run.

    Stands after what adds to the epoch's logs and before what writes the checkpoint: a checkpoint then never has an
    epoch that the log lacks. Every worker of a run has to have it, for to read a replicated variable they may have to
    meet.

    Args:
        directory: Receives the event files.
        recipe: What HParams shows; nested, as `TrainingConfig.as_dict` gives it.
        crops: Drawn every few epochs.
        config: What is logged.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        recipe: Mapping[str, Any],
        crops: Sequence[ExampleCrop],
        config: LogConfig,
    ) -> None:
        super().__init__()
        self._directory = directory
        self._recipe = recipe
        self._crops = crops
        self._config = config
        self._steps_here = 0
        self._profiling = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Drops what will be redone, and writes what does not change: recipe, network."""
        drop_events_after(self._directory, self._step())
        self._writer = tf.summary.create_file_writer(str(self._directory))
        graph = _graph_of(self.model)
        with self._writing():
            _write_recipe(self._recipe)
            tf.summary.graph(graph)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the profiler before the first iteration of `profile_steps`."""
        self._steps_here += 1
        if self._config.profile_steps[:1] == (self._steps_here,):
            tf.profiler.experimental.start(str(self._directory))
            self._profiling = True

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stops it after the last."""
        if self._profiling and self._steps_here == self._config.profile_steps[1]:
            self._stop_profile()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the epoch's figures, and its pictures where they are due."""
        every = self._config.images_every_epochs
        pictures: dict[str, np.ndarray] = {}
        if every and (epoch % every == 0 or epoch + 1 == self.params["epochs"]):
            pictures = self._draw(f"epoch {epoch + 1}")
        with self._writing():
            for name, value in (logs or {}).items():
                tf.summary.scalar(_tag(name), float(value), self._step())
            for name, picture in pictures.items():
                tf.summary.image(name, picture[None], self._step(), description=_PICTURE_NOTE)
        self._writer.flush()

    def validated(self, validated: Validated) -> None:
        """Writes the figures of a validation."""
        with self._writing():
            tf.summary.scalar(_tag(SCORE), validated.score, self._step())
        self._writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Marks the run as finished."""
        if self._profiling:
            self._stop_profile()
        with self._writing():
            _write_end()
        self._writer.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        # Keras switches recording off outside its own steps under some strategies.
        with self._writer.as_default(step=0), tf.summary.record_if(True):
            yield

    def _step(self) -> int:
        return int(self.model.optimizer.iterations.numpy())

    def _stop_profile(self) -> None:
        tf.profiler.experimental.stop()
        self._profiling = False

    def _draw(self, caption: str) -> dict[str, np.ndarray]:
        """Predicts and draws the crops; by tag, RGB uint8 [height, width, 3]."""
        with self.model.averaged_weights():  # those that will be kept
            logits = [self.model(crop.intensity[None, ..., None], training=False) for crop in self._crops]
        probabilities = [tf.sigmoid(tf.cast(logit, tf.float32))[0, ..., 0].numpy() for logit in logits]
        return {
            f"examples/{number}": draw_crop(crop, probability, caption)
            for number, (crop, probability) in enumerate(zip(self._crops, probabilities, strict=True), start=1)
        }


def drop_events_after(directory: pathlib.Path, step: int) -> None:
    """Drops the events of a killed run that its successor writes again.

    TensorBoard would show them beside the new ones: its purge at a restart (`SessionLog.START`) does nothing for
    summaries of TensorFlow 2 in 2.15, and its fast loader drops a tag's later points only when that tag comes again.

    Args:
        directory: Of the event files; may not exist. Each file is replaced in one step.
        step: Of the checkpoint. What was written at step 0 is dropped too, for every start writes it anew.
    """
    from tensorboard.compat.proto.event_pb2 import Event

    for path in sorted(directory.glob(_EVENT_FILES)):
        kept = []
        # What a kill leaves at the end is no whole event.
        with contextlib.suppress(InputError):
            for record in read_tfrecord(path):
                event = Event.FromString(record)
                if event.file_version or 0 < event.step <= step:
                    kept.append(record)
        if len(kept) <= 1:  # no event but the file's version
            path.unlink()
            continue
        with temporary_beside(path) as temporary:
            write_tfrecord(temporary, kept)


def _tag(name: str) -> str:
    """Returns the tag of a figure of the epoch's logs: TensorBoard groups by what stands before the slash."""
    return f"validation/{name[4:]}" if name.startswith("val_") else f"train/{name}"


def _graph_of(model: keras.Model) -> tf.Graph:
    """Returns the graph of the network at inference."""
    call = tf.function(lambda image: model(image, training=False))
    return call.get_concrete_function(tf.TensorSpec([None, None, None, 1], tf.float32, name="image")).graph


def _write_recipe(recipe: Mapping[str, Any]) -> None:
    from tensorboard.plugins.hparams import api as hparams

    hparams.hparams(_flat(recipe))


def _write_end() -> None:
    from tensorboard.plugins.hparams import api_pb2, summary

    end = summary.session_end_pb(api_pb2.STATUS_SUCCESS)
    tf.summary.experimental.write_raw_pb(end.SerializeToString(), step=0)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Joins nested names by dots; HParams knows numbers, bools and strings."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, bool | int | float | str) else str(value)
    return flat
