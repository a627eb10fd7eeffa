"""The recipe of a training run: everything that decides the weights, with the records and the software."""

import dataclasses
import math
from typing import Any

import keras

from calcseg_tf.devices import DeviceConfig
from calcseg_tf.fine_tuning import FineTuningConfig
from calcseg_tf.held_out import ValidationConfig
from calcseg_tf.input_pipeline import InputConfig
from calcseg_tf.losses import LossConfig
from calcseg_tf.models import ModelConfig
from calcseg_tf.models.fcn import FcnConfig
from calcseg_tf.models.parallel_conv import CONVOLUTIONS
from calcseg_tf.precision import PRECISIONS
from calcseg_tf.schedules import SCHEDULES, learning_rate_schedule
from data_prep.errors import InputError

__all__ = ["BATCH_NORMS", "OptimizerConfig", "TrainingConfig"]

BATCH_NORMS = ("synchronized", "local")
GRADIENTS = ("auto", "plain", "banded")


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The update rule; the defaults are the paper's.

    Attributes:
        name: "sgd" or "adam".
        learning_rate: The rate, or where it starts.
        momentum: Of SGD; Adam keeps Keras' own.
        schedule: How the rate goes on; one of `calcseg_tf.schedules.SCHEDULES`.
        warmup_steps: Updates over which the rate rises to what the schedule says; 0: none.
        clip_norm: The global norm, over all weights and all replicas, to which a longer gradient is scaled; 0: none.
        ema_momentum: Of the exponential moving average of the weights, which then is what is evaluated and written;
            0: none. It begins at the initial weights, so a run should be many times 1 / (1 - ema_momentum) updates.
    """

    name: str = "sgd"
    learning_rate: float = 0.001
    momentum: float = 0.9
    schedule: str = "fixed"
    warmup_steps: int = 0
    clip_norm: float = 0.0
    ema_momentum: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in ("sgd", "adam"):
            raise InputError(f"--optimizer must be sgd or adam; found {self.name!r}")
        if not self.learning_rate > 0 or not 0 <= self.momentum < 1:
            raise InputError(
                "--learning_rate must be positive and --momentum in [0, 1); "
                f"found {self.learning_rate:g} and {self.momentum:g}"
            )
        if self.schedule not in SCHEDULES:
            raise InputError(f"--learning_rate_schedule must be one of {', '.join(SCHEDULES)}; found {self.schedule!r}")
        if self.warmup_steps < 0:
            raise InputError(f"--warmup_steps must be 0 or more; found {self.warmup_steps}")
        if not 0 <= self.clip_norm < math.inf:
            raise InputError(f"--clip_norm must be 0 (none) or more; found {self.clip_norm}")
        if not 0 <= self.ema_momentum < 1:
            raise InputError(f"--ema_momentum must be in [0, 1); found {self.ema_momentum}")

    def build(self, steps: int) -> keras.optimizers.Optimizer:
        """Makes the Keras optimiser of a run of so many updates."""
        common = {
            "learning_rate": learning_rate_schedule(self.schedule, self.learning_rate, steps, self.warmup_steps),
            "global_clipnorm": self.clip_norm or None,
            "use_ema": self.ema_momentum > 0,
            "ema_momentum": self.ema_momentum,
        }
        if self.name == "adam":
            return keras.optimizers.Adam(**common)
        return keras.optimizers.SGD(momentum=self.momentum, **common)


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """The recipe; named as the flags of `calcseg_tf.train`, which say what they mean."""

    model: ModelConfig
    inputs: InputConfig = InputConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    fine_tuning: FineTuningConfig = FineTuningConfig()
    devices: DeviceConfig = DeviceConfig()
    batch_norm: str = "synchronized"
    precision: str = "float32"
    jit_compile: bool = False
    convolution: str = "auto"
    gradient: str = "auto"
    validation: ValidationConfig = ValidationConfig()
    epochs: int = 500
    checkpoint_every_steps: int = 0
    deterministic: bool = False

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise InputError(f"--epochs must be at least 1; found {self.epochs}")
        if self.batch_norm not in BATCH_NORMS:
            raise InputError(f"--batch_norm must be one of {', '.join(BATCH_NORMS)}; found {self.batch_norm!r}")
        if self.precision not in PRECISIONS:
            raise InputError(f"--precision must be one of {', '.join(PRECISIONS)}; found {self.precision!r}")
        for name, values in (("convolution", CONVOLUTIONS), ("gradient", GRADIENTS)):
            if getattr(self, name) not in values:
                raise InputError(f"--{name} must be one of {', '.join(values)}; found {getattr(self, name)!r}")
        if not self.inputs.crop_size and self.gradient == "plain":
            raise InputError("--crop_size=0 takes --gradient=banded; found plain")
        if not self.can_be_banded and (self.gradient == "banded" or not self.inputs.crop_size):
            asked = "--gradient=banded" if self.inputs.crop_size else "--crop_size=0"
            raise InputError(f"{asked} takes --model=fcn and --precision=float32, and no --jit_compile")
        if self.convolution != "auto" and not (isinstance(self.model, FcnConfig) and self.precision == "float32"):
            raise InputError(f"--convolution={self.convolution} takes --model=fcn and --precision=float32")
        if self.fine_tuning.freeze_backbone_epochs and self.optimizer.ema_momentum:
            # Nobody has tried both together.
            raise InputError("--freeze_backbone_epochs and --ema_momentum exclude each other; found both")
        if self.checkpoint_every_steps < 0:
            raise InputError(f"--checkpoint_every_steps must be 0 or more; found {self.checkpoint_every_steps}")
        if self.validation.validation_fraction and self.validation.validate_every_epochs > self.epochs:
            raise InputError(
                f"--validate_every_epochs must be at most --epochs, {self.epochs}; "
                f"found {self.validation.validate_every_epochs}"
            )

    @property
    def can_be_banded(self) -> bool:
        """Whether `BandedGradient` knows the network and its numbers."""
        return isinstance(self.model, FcnConfig) and self.precision == "float32" and not self.jit_compile

    def as_dict(self) -> dict[str, Any]:
        """Returns what `config.json` keeps; the network stands beside it, what weights begin with among the data."""
        values = dataclasses.asdict(self)
        del values["model"], values["fine_tuning"]["initial_model"], values["fine_tuning"]["backbone_weights"]
        return values
