"""What TensorBoard shows of a run: rates, pictures, recipe, network, and on request a profile.

The horizontal axis counts updates of the weights. A run that was killed and resumed gives the log that an undisturbed
one gives: what was written after the checkpoint is dropped before it is redone.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from calcseg_tf.evaluation.froc import FALSE_ALARM_LIMITS
from calcseg_tf.evaluation.plots import curve_image
from calcseg_tf.example_crops import ExampleCrop, crop_of, draw_crop
from calcseg_tf.models import model_name
from calcseg_tf.recipe import TrainingConfig
from calcseg_tf.validation import SCORE, Validated
from data_prep.atomic import temporary_beside
from data_prep.errors import InputError
from data_prep.tfrecord import read_tfrecord, write_tfrecord

__all__ = ["LogConfig", "TensorBoardLog", "drop_events"]

_EVENT_FILES = "events.out.tfevents.*"
_CURVES = ("froc", "precision_recall")


@dataclasses.dataclass(frozen=True)
class LogConfig:
    """What is logged beside the rates.

    Attributes:
        images_every_epochs: Epochs from one set of pictures to the next; 0 draws none.
        profile_steps: First and last update to profile, counted from 1 at this start; empty profiles none.
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

    Stands after what adds to the epoch's logs and before what writes the checkpoint: a killed run's log may have an
    epoch too many, which is dropped when the run goes on, but never one too few.

    Every worker of a run has to have it, for to read a replicated variable they may have to meet.

    Args:
        directory: Receives the event files.
        config: The recipe, which HParams shows.
        log: What is logged.
        crops: What is predicted and drawn every few epochs; empty where validation shows its own mammograms.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        config: TrainingConfig,
        log: LogConfig,
        crops: Sequence[ExampleCrop] = (),
    ) -> None:
        super().__init__()
        self._directory = directory
        self._config = config
        self._log = log
        self._crops = crops
        self._writer: Any = None
        self._steps_here = 0
        self._profiling = False
        self._epoch = 0

    def resume(self, epoch: int, validates: bool) -> None:
        """Drops what was written after the first `epoch` epochs.

        Args:
            epoch: Epochs that the run goes on from.
            validates: Whether the validation of that epoch will be done again.
        """
        self._epoch = epoch
        last = epoch * self._config.inputs.steps_per_epoch
        drop_events(
            self._directory,
            lambda step, tag: step > last or (validates and step == last and not tag.startswith("train/")),
        )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Writes what does not change, at step 0: the recipe and the network."""
        graph = _graph_of(self.model)
        drop_events(self._directory, lambda step, _: step == 0)
        with self._writing():
            _write_recipe(self._config)
            tf.summary.graph(graph)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the profiler before the first update of `profile_steps`."""
        self._steps_here += 1
        if self._log.profile_steps[:1] == (self._steps_here,):
            tf.profiler.experimental.start(str(self._directory))
            self._profiling = True

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stops it after the last."""
        if self._profiling and self._steps_here == self._log.profile_steps[1]:
            self._stop_profile()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the epoch's figures, and the pictures of the crops where they are due."""
        self._epoch = epoch + 1
        pictures = {}
        if self._crops and self._draws(epoch + 1, 1):
            pictures = _drawn("train", [(crop, self._predict(crop)) for crop in self._crops], epoch + 1)
        self._write(epoch + 1, {f"train/{name}": float(value) for name, value in (logs or {}).items()}, pictures)

    def validated(self, validated: Validated) -> None:
        """Writes the figures of a validation, and its pictures where they are due."""
        epoch, evaluation = validated.epoch, validated.evaluation
        figures = {f"validation/{SCORE.removeprefix('val_')}": validated.score}
        for limit in FALSE_ALARM_LIMITS:
            if (sensitivity := evaluation.sensitivity_at(limit).value) is not None:
                figures[f"validation/sensitivity_at_{limit:g}_false_alarms"] = sensitivity
        pictures = {}
        if self._draws(epoch, self._config.validation.validate_every_epochs):
            pictures = _drawn("validation", _pairs(validated), epoch)
            pictures |= {f"validation/{name}": curve_image(name, evaluation) for name in _CURVES}
        self._write(epoch, figures, pictures)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Marks a run that did not stop before its end as finished."""
        if self._profiling:
            self._stop_profile()
        if self._epoch == self._config.epochs:
            with self._writing():
                _write_end()

    def _write(self, epoch: int, figures: Mapping[str, float], pictures: Mapping[str, np.ndarray]) -> None:
        step = epoch * self._config.inputs.steps_per_epoch
        with self._writing():
            for name, value in figures.items():
                tf.summary.scalar(name, value, step)
            for name, picture in pictures.items():
                tf.summary.image(name, picture[None], step)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        self._writer = self._writer or tf.summary.create_file_writer(str(self._directory))
        # Keras switches recording off outside its own steps under some strategies.
        with self._writer.as_default(step=0), tf.summary.record_if(True):
            yield
        self._writer.flush()

    def _stop_profile(self) -> None:
        tf.profiler.experimental.stop()
        self._profiling = False

    def _draws(self, epoch: int, seen_every: int) -> bool:
        """Tells whether an epoch is the first to be seen of its `images_every_epochs`, or the last of the run."""
        every = self._log.images_every_epochs
        if not every:
            return False
        return (epoch - 1) // every != (epoch - 1 - seen_every) // every or epoch == self._config.epochs

    def _predict(self, crop: ExampleCrop) -> np.ndarray:
        with self.model.averaged_weights():  # those that will be kept
            logit = self.model(crop.intensity[None, ..., None], training=False)
        return np.asarray(tf.sigmoid(tf.cast(logit, tf.float32))[0, ..., 0])


def drop_events(directory: pathlib.Path, is_dropped: Callable[[int, str], bool]) -> None:
    """Drops events from the files of a run, each of which is replaced in one step.

    TensorBoard would show what a killed run wrote beside what its successor writes: its purge at a restart
    (`SessionLog.START`) does nothing for summaries of TensorFlow 2, and its fast loader drops a tag's later points only
    when that tag comes again (both tried with 2.15.2).

    Args:
        directory: Of the event files; may not exist.
        is_dropped: Tells by step and tag, which is "" for what is not a summary.
    """
    for path in sorted(directory.glob(_EVENT_FILES)):
        kept, whole = _kept_events(path, is_dropped)
        if not kept:
            path.unlink()
        elif not whole:
            with temporary_beside(path) as temporary:
                write_tfrecord(temporary, kept)


def _kept_events(path: pathlib.Path, is_dropped: Callable[[int, str], bool]) -> tuple[list[bytes], bool]:
    """Returns the events that are kept, none if only the file's header is, and whether they are all of the file."""
    from tensorboard.compat.proto.event_pb2 import Event

    header, kept, whole = [], [], True
    with path.open("rb"):
        pass  # what cannot be read is not damaged: it must not go
    try:
        for record in read_tfrecord(path):
            event = Event.FromString(record)
            tag = event.summary.value[0].tag if event.summary.value else ""
            if event.file_version:
                header.append(record)
            elif is_dropped(event.step, tag):
                whole = False
            else:
                kept.append(record)
    except InputError:
        whole = False  # what a kill leaves at the end is no whole event
    return header + kept if kept else [], whole


def _pairs(validated: Validated) -> Iterator[tuple[ExampleCrop, np.ndarray]]:
    for image in validated.shown:
        crop = crop_of("validation mammogram", image.image_id, image.intensity, image.mask)
        if crop is not None:
            yield crop, crop.cut(image.probability)


def _drawn(group: str, pairs: Iterable[tuple[ExampleCrop, np.ndarray]], epoch: int) -> dict[str, np.ndarray]:
    """Returns the pictures of crops with their probabilities; by tag, RGB uint8 [height, width, 3]."""
    return {
        f"{group}/example_{number}": draw_crop(crop, probability, f"epoch {epoch}")
        for number, (crop, probability) in enumerate(pairs, start=1)
    }


def _graph_of(model: keras.Model) -> tf.Graph:
    """Returns the graph of the network at inference."""
    call = tf.function(lambda image: model(image, training=False))
    return call.get_concrete_function(tf.TensorSpec([None, None, None, 1], tf.float32, name="image")).graph


def _write_recipe(config: TrainingConfig) -> None:
    from tensorboard.plugins.hparams import api as hparams

    # Without the paths of other models, which tell of whoever trains.
    recipe = {"model": dataclasses.asdict(config.model), **config.as_dict()}  # type: ignore[call-overload]
    hparams.hparams(_flat({"model.name": model_name(config.model), **recipe}))


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
