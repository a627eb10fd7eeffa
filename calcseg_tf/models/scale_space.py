"""A baseline without learning: bright spots by the Laplacian of Gaussian over scales, or by the white top-hat.

Only a scale and a bias, from response to logit, are trained: they calibrate the detector. The detectors are those of
`scipy.ndimage.gaussian_laplace` (with Lindeberg's normalisation by the variance, IJCV 30, 1998) and
`skimage.morphology.white_tophat`.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy import ndimage

from calcseg_tf.models.config import ModelConfig
from calcseg_tf.models.normalization import IntensityNormalization
from data_prep.errors import InputError

__all__ = ["DETECTORS", "ScaleSpaceConfig", "build_scale_space", "laplacian_kernel"]

DETECTORS = ("laplacian", "top_hat")
_TRUNCATE = 5.0  # standard deviations: a kernel then sums to less than 2e-5, so that brightness alone gives nothing


@dataclasses.dataclass(frozen=True)
class ScaleSpaceConfig(ModelConfig):
    """Which spots are looked for.

    Attributes:
        detector: "laplacian": the highest response over all diameters; "top_hat": what an opening by a square just
            larger than the largest diameter removes (smaller squares remove no more).
        diameters_px: Of the spots, in px, whole numbers of at least 3.
    """

    detector: str = "laplacian"
    diameters_px: tuple[int, ...] = (3, 4, 6, 8, 12)

    def __post_init__(self) -> None:
        if self.detector not in DETECTORS:
            raise InputError(f"--detector must be one of {', '.join(DETECTORS)}; found {self.detector!r}")
        if not self.diameters_px or any(type(value) is not int or value < 3 for value in self.diameters_px):
            raise InputError(
                f"--diameters_px must be whole numbers of at least 3; found {', '.join(map(str, self.diameters_px))}"
            )

    @property
    def square_px(self) -> int:
        """Side of the top-hat's square, odd."""
        return 2 * ((max(self.diameters_px) + 1) // 2) + 1

    @property
    def halo_px(self) -> int:
        """Radius of the widest kernel; an erosion and a dilation for the top-hat."""
        if self.detector == "top_hat":
            return 2 * (self.square_px // 2)
        return len(laplacian_kernel(max(self.diameters_px))) // 2


def laplacian_kernel(diameter_px: int) -> np.ndarray:
    """Returns -variance x Laplacian of Gaussian, float64 [side, side], whose response peaks in a spot of this diameter.

    A disc of radius r answers most strongly at the standard deviation r / sqrt(2).
    """
    sigma = diameter_px / np.sqrt(8.0)
    radius = int(_TRUNCATE * sigma + 0.5)  # as in scipy
    impulse = np.zeros((2 * radius + 1, 2 * radius + 1))
    impulse[radius, radius] = 1.0
    kernel: np.ndarray = -(sigma**2) * ndimage.gaussian_laplace(impulse, sigma, mode="constant", truncate=_TRUNCATE)
    return kernel


def build_scale_space(config: ScaleSpaceConfig, synchronized_batch_norm: bool) -> keras.Model:
    """Builds the detector; it has no batch norm to synchronise.

    Args:
        config: Which spots are looked for.
        synchronized_batch_norm: Without meaning here.

    Returns:
        A functional model from `image`, float32 [batch, height, width, 1] in [0, 1], to logits of the same shape, with
        two trainable scalars. It computes in float32 under every policy.
    """
    image = keras.Input(shape=(None, None, 1), name="image")
    x = IntensityNormalization(name="normalization", dtype="float32")(image)
    if config.detector == "top_hat":
        response = WhiteTopHat(config.square_px, name="top_hat", dtype="float32")(x)
    else:
        responses = [_laplacian(diameter)(x) for diameter in config.diameters_px]
        response = keras.layers.Maximum(name="maximum")(responses) if len(responses) > 1 else responses[0]
    return keras.Model(image, ScaleAndBias(name="logit", dtype="float32")(response), name="scale_space")


def _laplacian(diameter_px: int) -> keras.layers.Layer:
    kernel = laplacian_kernel(diameter_px)
    return keras.layers.Conv2D(
        1,
        len(kernel),
        padding="same",
        use_bias=False,
        kernel_initializer=keras.initializers.Constant(kernel[:, :, None, None]),
        trainable=False,
        dtype="float32",
        name=f"laplacian{diameter_px}",
    )


@keras.saving.register_keras_serializable(package="calcseg_tf")
class WhiteTopHat(keras.layers.Layer):
    """An image less its opening by a square; what lies outside the image takes no part."""

    def __init__(self, side_px: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.side_px = side_px

    def call(self, image: tf.Tensor) -> tf.Tensor:
        """Maps float32 [batch, height, width, 1] to values >= 0 of the same shape."""
        eroded = -tf.nn.max_pool2d(-image, self.side_px, 1, "SAME")
        return image - tf.nn.max_pool2d(eroded, self.side_px, 1, "SAME")

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        return {**super().get_config(), "side_px": self.side_px}


@keras.saving.register_keras_serializable(package="calcseg_tf")
class ScaleAndBias(keras.layers.Layer):
    """logit = scale x response + bias, both trained scalars; 1 and 0 at first."""

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the two scalars."""
        self.scale = self.add_weight("scale", shape=(), initializer="ones")
        self.bias = self.add_weight("bias", shape=(), initializer="zeros")
        super().build(input_shape)

    def call(self, response: tf.Tensor) -> tf.Tensor:
        """Maps float32 [batch, height, width, 1] to logits."""
        return self.scale * response + self.bias
