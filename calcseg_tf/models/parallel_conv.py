"""The paper's block as one layer: parallel convolutions of several sizes, computed in whichever way is fastest."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from calcseg_tf.models.convolution import Correlation, convolve, correlation
from calcseg_tf.models.fourier import fourier_multiplications

__all__ = ["CONVOLUTIONS", "ParallelConv2D", "use_convolution"]

CONVOLUTIONS = ("auto", "separate", "merged", "fourier")

# What a multiplication through transforms costs, in multiplications of a direct convolution: forward, and in training,
# where TensorFlow's kernels of the direct gradients are slow.
_COST_FORWARD, _COST_TRAINING = 1.5, 0.7
_VECTOR = 16  # filters that a CPU's direct convolution computes at once, whether it has them or not


@keras.saving.register_keras_serializable(package="calcseg_tf")
class ParallelConv2D(keras.layers.Layer):
    """Convolutions of several kernel sizes over the same input, zero-padded, their outputs concatenated.

    The variables are `kernel<size>` [size, size, channels, filters / sizes] for each size and one `bias` [filters].
    They do not depend on `convolution`, which chooses among ways that differ in rounding only:

    - "separate": a convolution for each size, as the paper draws it.
    - "merged": one convolution with the kernels side by side, the smaller ones in a frame of zeros.
    - "fourier": the merged kernel through Fourier transforms of tiles.
    - "auto": the one measured to be fastest on the device (BUILD_NOTES.md, "Fourier convolution").

    What is not float32 is computed "separate", whatever is asked.
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

    @tf.autograph.experimental.do_not_convert  # no branch in here is a tensor's, and looking for one takes seconds
    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Convolves [batch, height, width, channels] to [batch, height, width, filters]."""
        way = self.way(inputs.dtype, training)
        if way == "separate":
            outputs = [tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME") for kernel in self.kernels]
            outputs = tf.concat(outputs, axis=-1) if len(outputs) > 1 else outputs[0]
        else:
            outputs = convolve(inputs, self.merged_kernel(), correlation(way, max(self.kernel_sizes)))
        return tf.nn.bias_add(outputs, self.bias)

    @property
    def reach(self) -> int:
        """How far an output pixel sees in each direction."""
        return max(self.kernel_sizes) // 2

    def merged_kernel(self) -> tf.Tensor:
        """Returns the kernels side by side, [largest size, largest size, channels, filters]."""
        return self.merged(self.kernels)

    def merged(self, kernels: Sequence[tf.Tensor]) -> tf.Tensor:
        """Lays kernels, HWIO, of this layer's sizes side by side, the smaller ones in a frame of zeros."""
        largest = max(self.kernel_sizes)
        margins = [[(largest - size) // 2] * 2 for size in self.kernel_sizes]
        padded = [
            tf.pad(kernel, [margin, margin, [0, 0], [0, 0]]) for kernel, margin in zip(kernels, margins, strict=True)
        ]
        return tf.concat(padded, axis=-1)

    def split_kernel(self, merged: tf.Tensor) -> list[tf.Tensor]:
        """Inverts `merged`, also for its gradient, [largest size, largest size, channels, filters]."""
        largest = max(self.kernel_sizes)
        parts = tf.split(merged, len(self.kernel_sizes), axis=-1)
        margins = [(largest - size) // 2 for size in self.kernel_sizes]
        return [
            part[margin : largest - margin, margin : largest - margin]
            for part, margin in zip(parts, margins, strict=True)
        ]

    def correlation(self) -> Correlation:
        """Returns the way to correlate with the merged kernel in training in float32."""
        return correlation(self.way(tf.float32, training=True), max(self.kernel_sizes))

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_sizes": self.kernel_sizes,
            "convolution": self.convolution,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }

    def way(self, dtype: tf.DType, training: bool | None) -> str:
        """Resolves "auto", by the device and by the number of multiplications for each pixel."""
        if dtype != tf.float32:
            return "separate"
        if self.convolution != "auto":
            return self.convolution
        if tf.config.list_logical_devices("GPU"):
            return "separate"
        if self.filters == 1:
            return "shifted"
        channels = self.kernels[0].shape[2]
        direct = channels * self.filters * sum(size**2 for size in self.kernel_sizes) / len(self.kernel_sizes)
        cost = _COST_TRAINING if training else _COST_FORWARD
        if direct > cost * fourier_multiplications(max(self.kernel_sizes), channels, self.filters):
            return "fourier"
        return "merged" if len(self.kernel_sizes) > 1 and self.filters <= _VECTOR else "separate"


def use_convolution(network: keras.Model, convolution: str) -> None:
    """Makes a network's parallel convolutions compute in one of the `CONVOLUTIONS`; others have no choice."""
    for layer in network.layers:
        if isinstance(layer, ParallelConv2D):
            layer.convolution = convolution
