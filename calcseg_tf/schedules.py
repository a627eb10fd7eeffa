"""How the learning rate goes on: the paper's fixed rate, three that fall, and the rise before any of them."""

from typing import Any

import keras
import tensorflow as tf

__all__ = ["SCHEDULES", "WarmUp", "learning_rate_schedule"]

SCHEDULES = ("fixed", "cosine", "step", "polynomial")


def learning_rate_schedule(
    name: str, learning_rate: float, steps: int, warmup_steps: int = 0
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Returns what a Keras optimiser takes as its rate.

    Args:
        name: "fixed" (the paper's); "cosine", down to 0 (Loshchilov and Hutter 2017); "step", a tenth after half of the
            updates and a hundredth after three quarters (He et al. 2016); "polynomial", down to 0 with power 0.9
            (DeepLabV3, Chen et al. 2017).
        learning_rate: Where it starts.
        steps: Updates of the whole run, from the first.
        warmup_steps: Updates over which the rate rises to what the schedule says.
    """
    if name == "fixed":
        rate: Any = learning_rate
    elif name == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    elif name == "step":
        # Keras keeps the rate up to and with the boundary; updates count from 0.
        boundaries = [steps // 2 - 1, 3 * steps // 4 - 1]
        rates = [learning_rate, learning_rate / 10, learning_rate / 100]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
    else:
        rate = keras.optimizers.schedules.PolynomialDecay(learning_rate, steps, end_learning_rate=0.0, power=0.9)
    return WarmUp(rate, warmup_steps) if warmup_steps else rate


@keras.saving.register_keras_serializable(package="calcseg_tf")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule times a factor that rises in equal steps to 1, which update number `warmup_steps` reaches.

    The schedule's own clock runs on meanwhile, so that one that ends with the run still does.
    """

    def __init__(self, rate: float | keras.optimizers.schedules.LearningRateSchedule, warmup_steps: int) -> None:
        super().__init__()
        self._rate = rate
        self._warmup_steps = warmup_steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate of the update before which `step` others were made, float32 scalar."""
        rate = self._rate(step) if callable(self._rate) else tf.constant(self._rate, tf.float32)
        factor = (tf.cast(step, tf.float32) + 1.0) / self._warmup_steps
        return tf.cast(rate, tf.float32) * tf.minimum(factor, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"rate": self._rate, "warmup_steps": self._warmup_steps}
