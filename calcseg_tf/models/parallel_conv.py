"""The paper's block as one layer: parallel convolutions of several sizes, computed in whichever way is fastest."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from calcseg_tf.models.fourier import fourier_conv2d, fourier_multiplications
from data_prep.errors import InputError

__all__ = ["CONVOLUTIONS", "ParallelConv2D"]

CONVOLUTIONS = ("auto", "direct", "merged", "fourier", "shifted")
_WORTH = 1.5  # a transform's multiplications run at about two thirds of the speed of a direct convolution's
_VECTOR = 16  # filters that the CPU's direct convolutions take at once


@keras.saving.register_keras_serializable(package="calcseg_tf")
class ParallelConv2D(keras.layers.Layer):
    """Convolutions of several kernel sizes over the same input, zero-padded, their outputs concatenated.

    The variables are `kernel<size>` [size, size, channels, filters / sizes] for each size and one `bias` [filters]; they
    do not depend on `convolution`, which chooses among ways that differ in rounding only:

    - "direct": a convolution for each kernel (TensorFlow's own kernels).
    - "merged": one convolution with the kernels side by side, the smaller ones padded with zeros to the largest size.
    - "fourier": the merged kernel by Fourier transforms (`fourier_conv2d`); in float32 only, else "direct".
    - "shifted": the merged kernel as one matrix product over the channels and a sum of shifted maps; for one filter.
    - "auto": what was measured to be fastest (BUILD_NOTES.md, "Fourier convolution").
    """

    def __init__(
        self,
        filters: int,
        kernel_sizes: Sequence[int],
        convolution: str = "auto",
        kernel_initializer: str | dict[str, Any] | keras.initializers.Initializer = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if convolution not in CONVOLUTIONS:
            raise InputError(f"--convolution must be one of {', '.join(CONVOLUTIONS)}; found {convolution!r}")
        self.filters = filters
        self.kernel_sizes = tuple(kernel_sizes)
        self.convolution = convolution
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the kernels and the bias."""
        channels = input_shape[-1]
        initializer = self.kernel_initializer
        self.kernels = [
            self.add_weight(
                f"kernel{size}",
                (size, size, channels, self.filters // len(self.kernel_sizes)),
                # A Keras initializer gives the same draw each time it is called.
                initializer=type(initializer).from_config(initializer.get_config()),
            )
            for size in self.kernel_sizes
        ]
        self.bias = self.add_weight("bias", (self.filters,), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Convolves [batch, height, width, channels] to [batch, height, width, filters]."""
        way = self._fastest(inputs.shape[-1]) if self.convolution == "auto" else self.convolution
        if way == "fourier" and inputs.dtype == tf.float32:
            outputs = fourier_conv2d(inputs, self._merged_kernel())
        elif way == "shifted":
            outputs = _shifted_conv2d(inputs, self._merged_kernel())
        elif way == "merged":
            outputs = tf.nn.conv2d(inputs, self._merged_kernel(), strides=1, padding="SAME")
        else:
            outputs = [tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME") for kernel in self.kernels]
            outputs = tf.concat(outputs, axis=-1) if len(outputs) > 1 else outputs[0]
        return tf.nn.bias_add(outputs, self.bias)

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_sizes": self.kernel_sizes,
            "convolution": self.convolution,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    def _merged_kernel(self) -> tf.Tensor:
        largest = max(self.kernel_sizes)
        padded = []
        for kernel, size in zip(self.kernels, self.kernel_sizes, strict=True):
            margin = [(largest - size) // 2] * 2
            padded.append(tf.pad(kernel, [margin, margin, [0, 0], [0, 0]]))
        return tf.concat(padded, axis=-1)

    def _fastest(self, channels: int) -> str:
        """Chooses by the device and the number of multiplications a pixel."""
        if tf.config.list_logical_devices("GPU"):
            return "direct"
        if self.filters == 1:
            return "shifted"
        each = self.filters // len(self.kernel_sizes)
        direct = channels * each * sum(size**2 for size in self.kernel_sizes)
        if direct > _WORTH * fourier_multiplications(max(self.kernel_sizes), channels, self.filters):
            return "fourier"
        return "merged" if len(self.kernel_sizes) > 1 and self.filters <= _VECTOR else "direct"


def _shifted_conv2d(image: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Computes `tf.nn.conv2d(image, kernel, strides=1, padding="SAME")` for a square, odd kernel of one filter."""
    size, _, channels, _ = kernel.shape
    reach = size // 2
    batch, height, width = tf.unstack(tf.shape(image)[:3])
    # What every pixel adds to each of its neighbours: [size x size, batch, height, width].
    weights = tf.transpose(tf.reshape(kernel, [size * size, channels]))
    maps = tf.transpose(tf.matmul(tf.reshape(image, [-1, channels]), weights))
    maps = tf.reshape(maps, [size * size, batch, height, width])
    padded = tf.unstack(tf.pad(maps, [[0, 0], [0, 0], [reach, reach], [reach, reach]]))
    places = [(row, column) for row in range(size) for column in range(size)]
    total = tf.add_n(
        [part[:, y : y + height, x : x + width] for part, (y, x) in zip(padded, places, strict=True)]
    )
    return tf.ensure_shape(total[..., None], [*image.shape[:3], 1])
