"""A baseline: the U-Net of Ronneberger et al. 2015 (arXiv:1505.04597), padded so that borders lose nothing."""

import dataclasses
import itertools

import keras
import tensorflow as tf

from calcseg_tf.models.config import ModelConfig, check_size
from calcseg_tf.models.normalization import BatchNormalization, IntensityNormalization
from calcseg_tf.models.padding import CropTo, PadToMultiple
from data_prep.errors import InputError

__all__ = ["UnetConfig", "build_unet"]


@dataclasses.dataclass(frozen=True)
class UnetConfig(ModelConfig):
    """Shape of the network; the defaults are the original's, 31 million parameters.

    Attributes:
        widths: Channels of each level, from full resolution to the coarsest; each level halves the resolution.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or any(type(width) is not int or width < 1 for width in self.widths):
            raise InputError(
                f"unet widths must be at least two positive whole numbers; found {', '.join(map(str, self.widths))}"
            )
        check_size(sum(9 * width * (width + before) for before, width in itertools.pairwise((1, *self.widths))))

    @property
    def alignment_px(self) -> int:
        """Side of a pixel of the coarsest level."""
        return 2 ** (len(self.widths) - 1)

    @property
    def halo_px(self) -> int:
        """An upper bound, a multiple of `alignment_px`."""
        depth = len(self.widths) - 1
        down = sum(2 * 2**level for level in range(depth + 1))  # two convolutions of 3 x 3 a level
        up = sum(2 * 2**level for level in range(depth))
        return -(-(down + up + self.alignment_px - 1) // self.alignment_px) * self.alignment_px


def build_unet(config: UnetConfig, synchronized_batch_norm: bool) -> keras.Model:
    """Builds the network: same-padded 3 x 3 convolutions with batch norm, max pooling, transposed 2 x 2 convolutions.

    Args:
        config: Shape of the network.
        synchronized_batch_norm: Normalise over the global batch; the variables are the same either way.

    Returns:
        A functional model from `image`, float32 [batch, height, width, 1] in [0, 1], to logits of the same shape. Sizes
        that are no multiple of `alignment_px` are padded inside and cut again.
    """
    image = keras.Input(shape=(None, None, 1), name="image")
    x = IntensityNormalization(name="normalization")(image)
    x = PadToMultiple(config.alignment_px, name="pad")(x)
    skips = []
    for level, width in enumerate(config.widths, start=1):
        if level > 1:
            x = keras.layers.MaxPooling2D(2, name=f"pool{level}")(x)
        x = _two_convolutions(x, width, f"down{level}", synchronized_batch_norm)
        skips.append(x)
    for level in range(len(config.widths) - 1, 0, -1):
        width = config.widths[level - 1]
        x = keras.layers.Conv2DTranspose(width, 2, strides=2, name=f"up{level}_transposed")(x)
        x = keras.layers.Concatenate(name=f"up{level}_concat")([skips[level - 1], x])
        x = _two_convolutions(x, width, f"up{level}", synchronized_batch_norm)
    x = keras.layers.Conv2D(1, 1, dtype="float32", name="logit")(x)
    return keras.Model(image, CropTo(dtype="float32", name="crop")([x, image]), name="unet")


def _two_convolutions(x: tf.Tensor, width: int, name: str, synchronized: bool) -> tf.Tensor:
    for number in (1, 2):
        x = keras.layers.Conv2D(
            width, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv{number}"
        )(x)
        x = BatchNormalization(synchronized=synchronized, name=f"{name}_bn{number}")(x)
        x = keras.layers.ReLU(name=f"{name}_relu{number}")(x)
    return x
