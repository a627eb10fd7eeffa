"""What a person sees while a network trains: a bar in a terminal, and one line an epoch there and in training.log."""

import datetime
import logging
import pathlib
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tqdm

from calcseg_tf.validation import SCORE, Validated
from data_prep.atomic import write_text

__all__ = ["EpochLog", "ProgressBar", "epoch_line"]

_LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ epoch=(\d+) .*$(?=\n)", re.MULTILINE)
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {megapixels}, {elapsed} gone, {remaining} left{postfix}"


class EpochLog(keras.callbacks.Callback):
    """Says one line an epoch and keeps them in a file, under the time in UTC; the file is replaced in one step.

    Stands after what adds to the epoch's logs and before what writes the checkpoint: a killed run's file may have an
    epoch too many, which is dropped when the run goes on, but never one too few.

    Args:
        path: The file.
        say: Takes the line.
    """

    def __init__(self, path: pathlib.Path, say: Callable[[str], None]) -> None:
        super().__init__()
        self._path = path
        self._say = say
        self._lines: dict[int, str] = {}

    def resume(self, epoch: int) -> None:
        """Reads the lines of the first `epoch` epochs."""
        if epoch and self._path.is_file():
            text = self._path.read_text(encoding="utf-8", errors="replace")
            self._lines = {int(match[1]): match[0] for match in _LINE.finditer(text) if int(match[1]) <= epoch}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the line of a finished epoch."""
        line = epoch_line(epoch + 1, logs or {})
        self._lines[epoch + 1] = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ} {line}"
        self._tell(line)

    def validated(self, validated: Validated) -> None:
        """Adds the score of a validation to the line of its epoch."""
        score = f"{SCORE}={validated.score:.5g}"
        line = self._lines.get(validated.epoch, f"epoch={validated.epoch}")  # none where the log was taken away
        without = line.split(f" {SCORE}=")[0]  # a repeated validation has one there
        self._lines[validated.epoch] = f"{without} {score}"
        self._tell(f"epoch={validated.epoch} {score}")

    def _tell(self, line: str) -> None:
        write_text(self._path, "".join(f"{self._lines[epoch]}\n" for epoch in sorted(self._lines)))
        with tqdm.tqdm.external_write_mode():  # a bar makes room
            self._say(line)


class ProgressBar(keras.callbacks.Callback):
    """Shows how far a run is, its rate and the time left; nothing where standard output is no terminal.

    By tqdm itself: TFA's TQDMProgressBar is a wrapper of it that counts iterations an epoch, and knows neither pixels
    nor a run of many epochs.

    Args:
        pixels_per_step: Of a global batch.
        steps_per_epoch: Iterations an epoch.
        first_step: Iterations done before this start.
    """

    def __init__(self, pixels_per_step: int, steps_per_epoch: int, first_step: int = 0) -> None:
        super().__init__()
        self._pixels_per_step = pixels_per_step
        self._steps_per_epoch = steps_per_epoch
        self._first_step = first_step
        self._bar = _MegapixelBar(pixels_per_step, disable=True)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens the bar."""
        logging.getLogger("tensorflow").addFilter(_is_worth_telling)
        self._bar = _MegapixelBar(
            self._pixels_per_step,
            total=self.params["epochs"] * self._steps_per_epoch,
            initial=self._first_step,
            bar_format=_BAR,
            file=sys.stdout,
            disable=not sys.stdout.isatty(),
            leave=False,
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Names the epoch."""
        self._bar.set_description_str(f"epoch {epoch + 1}/{self.params['epochs']}", refresh=False)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the bar by an iteration."""
        self._bar.set_postfix({"loss": f"{(logs or {})['loss']:.4f}"}, refresh=False)
        self._bar.update()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Clears the bar."""
        self.close()

    def close(self) -> None:
        """Clears the bar, also of a run that ends with an error: its line follows."""
        self._bar.close()


class _MegapixelBar(tqdm.tqdm):
    """A bar over iterations that tells its rate in megapixels a second."""

    def __init__(self, pixels_per_step: int, **options: Any) -> None:
        self._megapixels_per_step = pixels_per_step / 1e6
        super().__init__(**options)

    @property
    def format_dict(self) -> dict[str, Any]:
        """What `bar_format` may name."""
        values = super().format_dict
        done = values["n"] - values["initial"]
        rate = values["rate"] or (done / values["elapsed"] if values["elapsed"] else 0.0)
        return {
            **values,
            "megapixels": f"{rate * self._megapixels_per_step:.3g} MPix/s",
            # tqdm draws nothing in a terminal that says it has 0 columns, as many in containers do.
            "ncols": shutil.get_terminal_size().columns,
        }


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """Tells Keras' timings of callbacks from its warnings: where steps are short, any callback is slow."""
    return "is slow compared to the batch time" not in record.getMessage()


def epoch_line(epoch: int, logs: Mapping[str, Any]) -> str:
    """Returns one line of an epoch's figures, such as "epoch=3 loss=0.4312 ... megapixels_per_second=1.21"."""
    figures = {name: float(value) for name, value in logs.items()}
    if (rate := figures.pop("pixels_per_second", None)) is not None:
        figures["megapixels_per_second"] = rate / 1e6
    return " ".join([f"epoch={epoch}", *(f"{name}={value:.5g}" for name, value in figures.items())])
