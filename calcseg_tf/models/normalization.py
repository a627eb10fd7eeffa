"""Normalisation of intensities, as the network's first layer so that callers never normalise, and of batches."""

from typing import Any

import keras
import tensorflow as tf

__all__ = ["BatchNormalization", "IntensityNormalization"]


@keras.saving.register_keras_serializable(package="calcseg_tf")
class IntensityNormalization(keras.layers.Layer):
    """Computes (intensity - mean) / standard deviation, both kept as non-trainable weights.

    Weights rather than constructor arguments, so that they travel with the weights file and cannot be forgotten. Always
    float32: in 16 bits the contrast of a calcification would be rounded away before the mean is taken off.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the two scalars, 0 and 1 until `set_statistics`."""
        self.mean = self.add_weight("mean", shape=(), initializer="zeros", trainable=False)
        self.standard_deviation = self.add_weight("standard_deviation", shape=(), initializer="ones", trainable=False)
        super().build(input_shape)

    def set_statistics(self, mean: float, standard_deviation: float) -> None:
        """Sets the statistics of the training set's intensities in [0, 1].

        Raises:
            ValueError: The standard deviation is not positive.
        """
        if not standard_deviation > 0:
            raise ValueError(f"the standard deviation of intensities must be positive; found {standard_deviation}")
        self.mean.assign(mean)
        self.standard_deviation.assign(standard_deviation)

    def call(self, intensity: tf.Tensor) -> tf.Tensor:
        """Normalises float [batch, height, width, 1]."""
        mean = tf.cast(self.mean, intensity.dtype)
        return (intensity - mean) / tf.cast(self.standard_deviation, intensity.dtype)


@keras.saving.register_keras_serializable(package="calcseg_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer with the settings that the published weights were trained with.

    On one replica it takes the fused kernel, three times as fast on a CPU as what synchronised batch norm consists of.
    The moving average takes the batch's own variance, not the estimate with Bessel's correction that the fused kernel
    returns, so that the number of replicas changes no weight.
    """

    def __init__(self, **kwargs: Any) -> None:
        # 1.001e-5 is the least that the fused kernel takes; Keras' default of 1e-3 shifts the published logits by 0.45.
        super().__init__(**{"momentum": 0.9, "epsilon": 1.001e-5, **kwargs})
        self._bessels_correction_test_only = False
