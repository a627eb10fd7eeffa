"""Augmentation of crops: the paper's rotation and horizontal flip, image and mask alike, and contrast on request."""

import dataclasses
import math
import warnings

import tensorflow as tf

from data_prep.errors import InputError
from data_prep.schema import IGNORE

with warnings.catch_warnings():
    # TFA announces its end of life at every import; BUILD_NOTES.md says how this module leaves it.
    warnings.simplefilter("ignore")
    import tensorflow_addons as tfa

__all__ = ["AugmentConfig", "augment"]


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """What may happen to a crop.

    Attributes:
        max_rotation_degrees: Angles are uniform in [-max, max]; the paper's is 35. 0 rotates nothing.
        horizontal_flip: Mirror half of the crops left to right.
        max_contrast_factor: Contrast about a crop's mean is multiplied by a factor in [1 / max, max], uniform in its
            logarithm, so that one patient's film teaches for another's. 1 changes nothing, as in the paper.
    """

    max_rotation_degrees: float = 35.0
    horizontal_flip: bool = True
    max_contrast_factor: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.max_rotation_degrees <= 45:
            raise InputError(f"--max_rotation_degrees must be 0 to 45; found {self.max_rotation_degrees}")
        if not 1 <= self.max_contrast_factor <= 10:
            raise InputError(f"--max_contrast_factor must be 1 to 10; found {self.max_contrast_factor}")

    def outer_size(self, crop_size: int) -> int:
        """Returns the side in px of the square that holds a crop of `crop_size` at every allowed angle."""
        if self.max_rotation_degrees == 0:
            return crop_size
        angle = math.radians(self.max_rotation_degrees)
        outer = math.ceil(crop_size * (math.cos(angle) + math.sin(angle))) + 2
        return outer + (outer - crop_size) % 2  # an even margin, so that the crop lies exactly in the middle


def augment(
    image: tf.Tensor, mask: tf.Tensor, crop_size: int, seed: tf.Tensor, config: AugmentConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Rotates and flips crops, each by its own draw, and cuts their middle out.

    Args:
        image: float32 [crops, outer, outer, 1], outer = config.outer_size(crop_size).
        mask: uint8 of the same shape.
        crop_size: Side of the result in px.
        seed: int64 [2], for stateless draws: the same seed gives the same crops, eagerly and inside `tf.data`.
        config: What may happen.

    Returns:
        image float32 and mask uint8 [crops, crop_size, crop_size, 1]. The image is interpolated bilinearly, the mask by
        nearest neighbour; what would come from outside the outer square is 0 and IGNORE.
    """
    crops = tf.shape(image)[0]
    seeds = tf.random.split(seed, 3)
    if config.max_rotation_degrees > 0:
        limit = math.radians(config.max_rotation_degrees)
        angles = tf.random.stateless_uniform([crops], seeds[0], -limit, limit)
        image = tfa.image.rotate(image, angles, interpolation="bilinear", fill_value=0.0)
        mask = tfa.image.rotate(mask, angles, interpolation="nearest", fill_value=float(IGNORE))
    margin = (config.outer_size(crop_size) - crop_size) // 2
    image = image[:, margin : margin + crop_size, margin : margin + crop_size]
    mask = mask[:, margin : margin + crop_size, margin : margin + crop_size]
    if config.horizontal_flip:
        mirrored = tf.random.stateless_uniform([crops, 1, 1, 1], seeds[1]) < 0.5
        image = tf.where(mirrored, tf.reverse(image, [2]), image)
        mask = tf.where(mirrored, tf.reverse(mask, [2]), mask)
    if config.max_contrast_factor > 1:
        limit = math.log(config.max_contrast_factor)
        factor = tf.exp(tf.random.stateless_uniform([crops, 1, 1, 1], seeds[2], -limit, limit))
        mean = tf.reduce_mean(image, axis=(1, 2, 3), keepdims=True)
        image = tf.clip_by_value(mean + (image - mean) * factor, 0.0, 1.0)
    return image, mask
