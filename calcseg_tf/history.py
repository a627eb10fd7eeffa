"""`history.json`: what every epoch of a run came to."""

import json
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import keras

from data_prep.atomic import write_json
from data_prep.errors import InputError

__all__ = ["History"]


class History(keras.callbacks.Callback):
    """Keeps `history.json`: one entry an epoch, replaced in one step; a resumed run drops what it redoes.

    Args:
        path: The file.
        pixels_per_step: Pixels that an update learns from.
    """

    def __init__(self, path: pathlib.Path, pixels_per_step: int) -> None:
        super().__init__()
        self._path = path
        self._pixels_per_step = pixels_per_step
        self._entries: list[dict[str, float]] = []

    def resume(self, epoch: int, score: str) -> None:
        """Reads the entries of the first `epoch` epochs.

        Where a dropped epoch had the highest score, it is dropped of the others too: the weights that are kept as the
        best are those of the dropped one, and the next validation must replace them.

        Args:
            epoch: Epochs that the checkpoint has.
            score: What validation adds to an entry.

        Raises:
            InputError: The file is damaged, or tells of fewer.
        """
        if not epoch:
            return
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
            self._entries = [entry for entry in entries if entry["epoch"] <= epoch]
            best = max((entry[score] for entry in entries if score in entry), default=None)
            if best is not None and best not in [entry.get(score) for entry in self._entries]:
                self._entries = [{k: v for k, v in entry.items() if k != score} for entry in self._entries]
        except FileNotFoundError:
            self._entries = []
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"not a readable history ({type(error).__name__}: {error})", self._path) from None
        if [entry["epoch"] for entry in self._entries] != list(range(1, epoch + 1)):
            raise InputError(
                f"must tell of each of the {epoch} epochs that the checkpoint has; found {len(self._entries)} of them",
                self._path,
            )

    def entry(self, epoch: int) -> Mapping[str, float]:
        """Returns what is known of an epoch, counted from 1; nothing where there is no entry."""
        return next((entry for entry in self._entries if entry["epoch"] == epoch), {})

    def best(self, name: str) -> tuple[int, float] | None:
        """Returns the epoch, counted from 1, and the value where `name` is highest, the first of equals; or None."""
        found = [(int(entry["epoch"]), entry[name]) for entry in self._entries if name in entry]
        return max(found, key=lambda pair: pair[1]) if found else None

    def amend(self, epoch: int, values: Mapping[str, float]) -> None:
        """Adds values to the entry of a finished epoch, counted from 1."""
        self._entries = [{**entry, **values} if entry["epoch"] == epoch else entry for entry in self._entries]
        write_json(self._path, self._entries)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._start = time.monotonic()
        self._steps = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts the steps of this process: of a resumed epoch it takes the rest alone."""
        self._steps += 1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds an entry; `pixels_per_second` and `learning_rate` also reach the log and TensorBoard."""
        logs = {} if logs is None else logs
        seconds = time.monotonic() - self._start
        logs["pixels_per_second"] = self._steps * self._pixels_per_step / seconds
        logs["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())
        self._entries.append({"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}})
        write_json(self._path, self._entries)
