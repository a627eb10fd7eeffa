"""A baseline: DeepLabV3 (Chen et al. 2017, arXiv:1706.05587) on ResNet-50, the network that the paper fine-tuned.

The backbone is Keras' own ResNet50 with the stride of its last stage turned into dilation, layer names kept: its
ImageNet weights load unchanged, and every second feature equals Keras' feature at stride 32.
"""

import dataclasses

import keras
import tensorflow as tf

from calcseg_tf.models.config import ModelConfig, check_size
from calcseg_tf.models.normalization import BatchNormalization, IntensityNormalization
from calcseg_tf.models.padding import CropTo, PadToMultiple
from data_prep.errors import InputError

__all__ = ["OUTPUT_STRIDE", "DeepLabV3Config", "build_backbone", "build_deeplabv3"]

OUTPUT_STRIDE = 16

# Keras' weights expect blue, green, red in 0 to 255 less ImageNet's means. An image with ImageNet's mean and standard
# deviation has there mean 0 and these, 255 x (0.225, 0.224, 0.229): normalised intensities are repeated and multiplied.
_IMAGENET_BGR_STANDARD_DEVIATION = (57.375, 57.12, 58.395)


@dataclasses.dataclass(frozen=True)
class DeepLabV3Config(ModelConfig):
    """Shape of the network; the defaults are the original's at output stride 16: 39.7 million parameters.

    Attributes:
        channels: Of each branch of the atrous pyramid and of the layers after it.
        atrous_rates: Dilations of the pyramid's 3 x 3 branches, in px of the features (16 px of the image each).
    """

    channels: int = 256
    atrous_rates: tuple[int, ...] = (6, 12, 18)

    def __post_init__(self) -> None:
        numbers = (self.channels, *self.atrous_rates)
        if not self.atrous_rates or any(type(number) is not int or number < 1 for number in numbers):
            raise InputError(f"deeplabv3 channels and atrous_rates must be positive whole numbers; found {numbers}")
        check_size(9 * 2048 * self.channels * len(self.atrous_rates))

    @property
    def alignment_px(self) -> int:
        """The output stride."""
        return OUTPUT_STRIDE

    @property
    def halo_px(self) -> int:
        """Context around a tile; the network itself sees all of its input, through the image-level pooling."""
        return 128

    @property
    def fixed_tile_px(self) -> int:
        """Windows are then 896 px wide; the paper tells of a receptive field of about 900 x 900 px."""
        return 640


def build_deeplabv3(config: DeepLabV3Config, synchronized_batch_norm: bool) -> keras.Model:
    """Builds the network, with random weights; `calcseg_tf.fine_tuning` loads ImageNet's into the layer `backbone`.

    Args:
        config: Shape of the network.
        synchronized_batch_norm: Normalise over the global batch; the variables are the same either way. An image-level
            branch normalised over one image alone is constant: it needs two or more crops a batch.

    Returns:
        A functional model from `image`, float32 [batch, height, width, 1] in [0, 1], to logits of the same shape. Sizes
        that are no multiple of 16 are padded inside and cut again.
    """
    image = keras.Input(shape=(None, None, 1), name="image")
    x = IntensityNormalization(name="normalization")(image)
    x = PadToMultiple(OUTPUT_STRIDE, name="pad")(x)
    x = keras.layers.Rescaling(_IMAGENET_BGR_STANDARD_DEVIATION, name="imagenet_bgr")(x)
    features = build_backbone(synchronized_batch_norm)(x)

    def convolved(x: tf.Tensor, size: int, rate: int, name: str) -> tf.Tensor:
        x = keras.layers.Conv2D(
            config.channels,
            size,
            padding="same",
            dilation_rate=rate,
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{name}_conv",
        )(x)
        x = BatchNormalization(synchronized=synchronized_batch_norm, name=f"{name}_bn")(x)
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    branches = [convolved(features, 1, 1, "aspp1")]
    branches += [convolved(features, 3, rate, f"aspp{rate}") for rate in config.atrous_rates]
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="image_pool")(features)
    pooled = convolved(pooled, 1, 1, "image")
    branches.append(SpreadOver(name="image_spread")([pooled, features]))
    x = convolved(keras.layers.Concatenate(name="aspp_concat")(branches), 1, 1, "project")
    x = convolved(x, 3, 1, "head")
    x = keras.layers.Conv2D(1, 1, dtype="float32", name="logit")(x)
    x = keras.layers.UpSampling2D(OUTPUT_STRIDE, interpolation="bilinear", dtype="float32", name="upsample")(x)
    return keras.Model(image, CropTo(dtype="float32", name="crop")([x, image]), name="deeplabv3")


def build_backbone(synchronized_batch_norm: bool = False) -> keras.Model:
    """Builds Keras' ResNet50 without its top at output stride 16, with random weights, as a model named `backbone`.

    Returns:
        A model from float32 [batch, height, width, 3] in ImageNet's preprocessing to [batch, height / 16, width / 16,
        2048].
    """
    stride_32 = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(None, None, 3))
    config = stride_32.get_config()
    for layer in config["layers"]:
        name, options = layer["config"]["name"], layer["config"]
        if name in ("conv5_block1_0_conv", "conv5_block1_1_conv"):
            options["strides"] = (1, 1)
        elif name.startswith("conv5_block") and name.endswith("_2_conv"):
            options["dilation_rate"] = (2, 2)
        elif layer["class_name"] == "BatchNormalization":
            options["synchronized"] = synchronized_batch_norm
            layer["registered_name"] = keras.saving.get_registered_name(BatchNormalization)
            layer.pop("build_config", None)  # built ahead of its place in the network it would lose its name
    config["name"] = "backbone"
    return keras.Model.from_config(config)


@keras.saving.register_keras_serializable(package="calcseg_tf")
class SpreadOver(keras.layers.Layer):
    """Repeats [batch, 1, 1, channels] at every place of a second tensor."""

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Returns [batch, rows, columns, channels], rows and columns those of the second."""
        pooled, features = inputs
        size = tf.shape(features)
        return tf.tile(pooled, [1, size[1], size[2], 1])
