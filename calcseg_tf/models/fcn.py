"""The paper's network: a slim fully convolutional network at full resolution (paper, section 3 and Fig. 2)."""

import dataclasses
import itertools
from typing import Any

import keras
import tensorflow as tf

from calcseg_tf.models.config import ModelConfig, check_size
from calcseg_tf.models.normalization import BatchNormalization, IntensityNormalization
from calcseg_tf.models.parallel_conv import ParallelConv2D
from data_prep.errors import InputError

__all__ = ["FcnConfig", "build_fcn"]


@dataclasses.dataclass(frozen=True)
class FcnConfig(ModelConfig):
    """Shape of the network; the defaults are the paper's: 447,553 parameters, receptive field 45 x 45.

    Attributes:
        widths: Channels of each block; each a multiple of the number of kernels.
        kernel_sizes: Sides in px of a block's parallel convolutions, odd; each gives an equal share of the width.
        head_kernel_size: Side in px of the last convolution, odd.
    """

    widths: tuple[int, ...] = (4, 16, 32, 64, 128)
    kernel_sizes: tuple[int, ...] = (3, 5, 7, 9)
    head_kernel_size: int = 5

    def __post_init__(self) -> None:
        if not self.widths or not self.kernel_sizes:
            raise InputError("fcn needs at least one block width and one kernel size")
        for number in (*self.widths, *self.kernel_sizes, self.head_kernel_size):
            if type(number) is not int:
                raise InputError(f"fcn widths and kernel sizes must be whole numbers; found {number!r}")
        for size in (*self.kernel_sizes, self.head_kernel_size):
            if size < 1 or size % 2 == 0:
                raise InputError(f"fcn kernel sizes must be odd and positive; found {size}")
        for width in self.widths:
            if width < 1 or width % len(self.kernel_sizes):
                raise InputError(
                    f"fcn widths must be multiples of {len(self.kernel_sizes)} (the kernels); found {width}"
                )
        squares = sum(size**2 for size in self.kernel_sizes)
        weights = (before * width * squares for before, width in itertools.pairwise((1, *self.widths)))
        check_size(sum(weights) // len(self.kernel_sizes))

    @property
    def halo_px(self) -> int:
        """How far an output pixel sees in each direction; the receptive field is 2 x halo + 1."""
        return len(self.widths) * (max(self.kernel_sizes) // 2) + self.head_kernel_size // 2


@keras.saving.register_keras_serializable(package="calcseg_tf")
class ZeroMeanGlorot(keras.initializers.GlorotUniform):
    """Glorot's uniform draw, less each kernel's mean: a first layer that sees contrast and no brightness.

    Brightness varies over a mammogram by ten times the contrast of a calcification. With plain kernels it fills the
    first layer's outputs, and hundreds of iterations pass before training has cancelled it (BUILD_NOTES.md,
    "Decisions").
    """

    def __call__(self, shape: tf.TensorShape, dtype: tf.DType | None = None, **kwargs: Any) -> tf.Tensor:
        """Draws a kernel [rows, columns, channels in, channels out] whose mean over rows and columns is 0."""
        kernel = super().__call__(shape, dtype, **kwargs)
        return kernel - tf.reduce_mean(kernel, axis=(0, 1), keepdims=True)


def build_fcn(config: FcnConfig, synchronized_batch_norm: bool) -> keras.Model:
    """Builds the network.

    Args:
        config: Shape of the network.
        synchronized_batch_norm: Normalise over the global batch, as exact data-parallel training needs. The variables
            are the same either way.

    Returns:
        A functional model from `image`, float32 [batch, height, width, 1] in [0, 1], to logits of the same shape.
    """
    image = keras.Input(shape=(None, None, 1), name="image")
    x = IntensityNormalization(name="normalization")(image)
    for number, width in enumerate(config.widths, start=1):
        x = ParallelConv2D(
            width,
            config.kernel_sizes,
            kernel_initializer=ZeroMeanGlorot() if number == 1 else "glorot_uniform",
            name=f"block{number}_conv",
        )(x)
        x = BatchNormalization(synchronized=synchronized_batch_norm, name=f"block{number}_bn")(x)
        x = keras.layers.ReLU(name=f"block{number}_relu")(x)
    logit = ParallelConv2D(1, (config.head_kernel_size,), dtype="float32", name="logit")(x)
    return keras.Model(image, logit, name="fcn")
