"""The recipe of a training run: everything that decides the weights, with the records and the software."""

import dataclasses
from typing import Any

import keras

from calcseg_tf.input_pipeline import InputConfig
from calcseg_tf.losses import LossConfig
from calcseg_tf.models import ModelConfig
from data_prep.errors import InputError

__all__ = ["OptimizerConfig", "TrainingConfig"]


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The update rule; the defaults are the paper's.

    Attributes:
        name: "sgd" or "adam".
        learning_rate: The rate, or where it starts.
        momentum: Of SGD; Adam keeps Keras' own.
        schedule: "fixed" (the paper's) or "cosine", down to 0 over all epochs.
    """

    name: str = "sgd"
    learning_rate: float = 0.001
    momentum: float = 0.9
    schedule: str = "fixed"

    def __post_init__(self) -> None:
        if self.name not in ("sgd", "adam"):
            raise InputError(f"--optimizer must be sgd or adam; found {self.name!r}")
        if not self.learning_rate > 0 or not 0 <= self.momentum < 1:
            raise InputError("--learning_rate must be positive and --momentum in [0, 1)")
        if self.schedule not in ("fixed", "cosine"):
            raise InputError(f"--learning_rate_schedule must be fixed or cosine; found {self.schedule!r}")

    def build(self, steps: int) -> keras.optimizers.Optimizer:
        """Makes the Keras optimiser of a run of so many steps."""
        rate = self.learning_rate
        if self.schedule == "cosine":
            rate = keras.optimizers.schedules.CosineDecay(self.learning_rate, steps)
        if self.name == "adam":
            return keras.optimizers.Adam(rate)
        return keras.optimizers.SGD(rate, momentum=self.momentum)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """The recipe; named as the flags of `calcseg_tf.train`, which say what they mean."""

    model: ModelConfig
    inputs: InputConfig = InputConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    epochs: int = 500
    replicas: int = 0
    deterministic: bool = False

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise InputError(f"--epochs must be at least 1; found {self.epochs}")

    def as_dict(self) -> dict[str, Any]:
        """Returns what `config.json` keeps; the network stands beside it."""
        values = dataclasses.asdict(self)
        del values["model"]
        return values
