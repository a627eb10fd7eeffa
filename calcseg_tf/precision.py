"""Mixed precision for the network that trains, and for nothing built after it."""

import contextlib
from collections.abc import Iterator

import keras

__all__ = ["PRECISIONS", "layers_of", "with_loss_scaling"]

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@contextlib.contextmanager
def layers_of(precision: str) -> Iterator[None]:
    """Gives layers built inside the Keras policy of that name: they compute in 16 bits, their variables are float32.

    Layers keep the policy they were built with. Keras' global policy is as before at the end, so that a network built
    for prediction in the same process computes in float32.
    """
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(precision)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def with_loss_scaling(optimizer: keras.optimizers.Optimizer, precision: str) -> keras.optimizers.Optimizer:
    """Wraps an optimiser so that small gradients survive float16: the loss is scaled, gradients are scaled back.

    The scale adapts: gradients that overflow, on any replica, skip the update on all of them and halve it. The other
    precisions have float32's range and need none.
    """
    return keras.mixed_precision.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer
