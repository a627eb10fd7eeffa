"""The paper's block as one layer: parallel convolutions of several sizes, computed in whichever way is fastest."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from calcseg_tf.models.fourier import fourier_conv2d
from data_prep.errors import InputError

__all__ = ["CONVOLUTIONS", "ParallelConv2D"]

CONVOLUTIONS = ("auto", "direct", "merged", "fourier")


@keras.saving.register_keras_serializable(package="calcseg_tf")
class ParallelConv2D(keras.layers.Layer):
    """Convolutions of several kernel sizes over the same input, zero-padded, their outputs concatenated.

    The variables are `kernel<size>` [size, size, channels, filters / sizes] for each size and one `bias` [filters]; they
    do not depend on `convolution`, which chooses among ways that differ in rounding only:

    - "direct": a convolution for each kernel (TensorFlow's own kernels).
    - "merged": one convolution with the kernels side by side, the smaller ones padded with zeros to the largest size.
    - "fourier": the merged kernel by Fourier transforms (`fourier_conv2d`); in float32 only, else "direct".
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
        way = self._fastest(inputs) if self.convolution == "auto" else self.convolution
        if way == "fourier" and inputs.dtype == tf.float32:
            outputs = fourier_conv2d(inputs, self._merged_kernel())
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

    def _fastest(self, inputs: tf.Tensor) -> str:
        raise NotImplementedError
