"""Which devices a run uses, and the strategy that spreads a batch over them."""

import tensorflow as tf

from data_prep.errors import InputError

__all__ = ["describe_strategy", "make_strategy"]


def make_strategy(replicas: int) -> tf.distribute.Strategy:
    """Returns a strategy of `replicas` data-parallel replicas: GPUs, or logical CPU devices where there is no GPU.

    Call before TensorFlow has run anything: devices are fixed from then on.

    Args:
        replicas: At least 1; 0 stands for every GPU, or one replica where there is none.

    Raises:
        InputError: More replicas than GPUs, or devices already fixed otherwise.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if replicas < 0:
        raise InputError(f"--replicas must be 0 or more; found {replicas}")
    replicas = replicas or max(1, len(gpus))
    if gpus:
        if replicas > len(gpus):
            raise InputError(f"--replicas must be at most the number of GPUs, {len(gpus)}; found {replicas}")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        return tf.distribute.MirroredStrategy([f"/gpu:{index}" for index in range(replicas)])
    if replicas == 1:
        return tf.distribute.get_strategy()
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    except RuntimeError:
        raise InputError(f"--replicas={replicas} must be asked for before TensorFlow starts its devices") from None
    return tf.distribute.MirroredStrategy([f"/cpu:{index}" for index in range(replicas)])


def describe_strategy(strategy: tf.distribute.Strategy) -> str:
    """Returns one line: how many replicas on which kind of device."""
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    count = strategy.num_replicas_in_sync
    return f"{count} replica{'s' if count > 1 else ''} on {kind}"
