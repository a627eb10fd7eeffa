"""Layers that let a network with strides take any image size and answer with the same."""

from typing import Any

import keras
import tensorflow as tf

__all__ = ["CropTo", "PadToMultiple"]


@keras.saving.register_keras_serializable(package="calcseg_tf")
class PadToMultiple(keras.layers.Layer):
    """Pads with zeros below and to the right, up to the next multiple of `multiple` px.

    Never above or to the left: the grid of the strides stays anchored at the image's first pixel, as tiles need it.
    """

    def __init__(self, multiple: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Pads [batch, height, width, channels]."""
        missing = -tf.shape(image)[1:3] % self.multiple
        return tf.pad(image, [[0, 0], [0, missing[0]], [0, missing[1]], [0, 0]])

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        return {**super().get_config(), "multiple": self.multiple}


@keras.saving.register_keras_serializable(package="calcseg_tf")
class CropTo(keras.layers.Layer):
    """Cuts the first of two tensors to the height and width of the second, from the first pixel on."""

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Crops [batch, rows, columns, channels] to [batch, height, width, channels]."""
        padded, image = inputs
        size = tf.shape(image)
        return padded[:, : size[1], : size[2]]
