"""Augmentation of crops: the paper's rotation and horizontal flip; zoom, contrast and artificial edges on request."""

import dataclasses
import math
import warnings

import tensorflow as tf

from data_prep.errors import InputError
from data_prep.schema import CALCIFICATION, IGNORE

with warnings.catch_warnings():
    # TFA announces its end of life at every import; BUILD_NOTES.md says how this module leaves it.
    warnings.simplefilter("ignore")
    import tensorflow_addons as tfa

__all__ = ["AugmentConfig", "augment"]

# Scale of a logistic step in px (half of it rises over 2.2 scales): from a label's outline to a film's soft border.
_EDGE_WIDTH_PX = (0.7, 14.0)
_EDGE_HEIGHT = 0.8  # of full scale, up or down


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """What may happen to a crop.

    Attributes:
        max_rotation_degrees: Angles are uniform in [-max, max]; the paper's is 35. 0 rotates nothing.
        horizontal_flip: Mirror half of the crops left to right.
        max_zoom_factor: Crops are magnified by a factor in [1 / max, max], uniform in its logarithm, so that one pixel
            spacing teaches for others: 1.4 makes 0.07 mm anything from 0.05 to 0.098. What shrinks is not smoothed
            first. 1 changes nothing, as in the paper.
        max_contrast_factor: Contrast about a crop's mean is multiplied by a factor in [1 / max, max], uniform in its
            logarithm, so that one patient's film teaches for another's. 1 changes nothing, as in the paper.
        edge_share: Share of crops to which a straight edge is added: a step of up to 0.8 in intensity, anywhere, at any
            angle, with a logistic profile of scale 0.7 to 14 px. Borders of film, labels, skin and muscle differ from
            archive to archive, and what the training set lacks becomes false alarms. 0 adds none, as in the paper.
    """

    max_rotation_degrees: float = 35.0
    horizontal_flip: bool = True
    max_zoom_factor: float = 1.0
    max_contrast_factor: float = 1.0
    edge_share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.max_rotation_degrees <= 45:
            raise InputError(f"--max_rotation_degrees must be 0 to 45; found {self.max_rotation_degrees}")
        if not 1 <= self.max_zoom_factor <= 2:
            raise InputError(f"--max_zoom_factor must be 1 to 2; found {self.max_zoom_factor}")
        if not 1 <= self.max_contrast_factor <= 10:
            raise InputError(f"--max_contrast_factor must be 1 to 10; found {self.max_contrast_factor}")
        if not 0 <= self.edge_share <= 1:
            raise InputError(f"--edge_share must be 0 to 1; found {self.edge_share}")

    @property
    def warps(self) -> bool:
        """Whether pixels are resampled."""
        return self.max_rotation_degrees > 0 or self.max_zoom_factor > 1

    def outer_size(self, crop_size: int) -> int:
        """Returns the side in px of the square that holds a crop of `crop_size` at every allowed angle and zoom."""
        if not self.warps:
            return crop_size
        angle = math.radians(self.max_rotation_degrees)
        outer = math.ceil(crop_size * (math.cos(angle) + math.sin(angle)) * self.max_zoom_factor) + 2
        return outer + (outer - crop_size) % 2  # an even margin, so that the crop lies exactly in the middle


def augment(
    image: tf.Tensor, mask: tf.Tensor, crop_size: int, seed: tf.Tensor, config: AugmentConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Rotates, magnifies and flips crops, changes contrast and draws edges, each by an own draw; cuts the middle out.

    Args:
        image: float32 [crops, outer, outer, 1], outer = config.outer_size(crop_size), or any size with crop_size 0.
        mask: uint8 of the same shape.
        crop_size: Side of the result in px; 0 cuts nothing off.
        seed: int64 [2], for stateless draws: the same seed gives the same crops, eagerly and inside `tf.data`.
        config: What may happen.

    Returns:
        image float32 and mask uint8 [crops, crop_size, crop_size, 1], or as large as given. The image is interpolated
        bilinearly, the mask by nearest neighbour; what would come from outside what is given is 0 and IGNORE.
    """
    seeds = tf.random.split(seed, 3)
    if config.warps:
        # Zoom has its own branch of the seed: the other draws stay what they are without it.
        warp = _warps(tf.shape(image), seeds[0], tf.random.fold_in(seed, 2), config)
        image = tfa.image.transform(image, warp, interpolation="bilinear", fill_value=0.0)
        mask = tfa.image.transform(mask, warp, interpolation="nearest", fill_value=float(IGNORE))
    if crop_size:
        margin = (config.outer_size(crop_size) - crop_size) // 2
        image = image[:, margin : margin + crop_size, margin : margin + crop_size]
        mask = mask[:, margin : margin + crop_size, margin : margin + crop_size]
    if config.horizontal_flip:
        mirrored = tf.random.stateless_uniform([tf.shape(image)[0], 1, 1, 1], seeds[1]) < 0.5
        image = tf.where(mirrored, tf.reverse(image, [2]), image)
        mask = tf.where(mirrored, tf.reverse(mask, [2]), mask)
    if config.max_contrast_factor > 1 or config.edge_share > 0:
        image = _with_contrast(image, seeds[2], config.max_contrast_factor)
        # Its own branch of the seed: the draws above stay what they are without edges.
        image = _with_edges(image, tf.random.fold_in(seed, 1), config.edge_share)
        # What left the scale can no longer be seen, and must not be asked for.
        lost = tf.equal(mask, CALCIFICATION) & ((image < 0.0) | (image > 1.0))
        mask = tf.where(lost, tf.constant(IGNORE, mask.dtype), mask)
        image = tf.clip_by_value(image, 0.0, 1.0)
    return image, mask


def _warps(shape: tf.Tensor, angle_seed: tf.Tensor, zoom_seed: tf.Tensor, config: AugmentConfig) -> tf.Tensor:
    """Draws float32 [crops, 8], the projective maps about the middle that take a pixel of the result to the source."""
    crops, sides = shape[0], tf.cast(shape[1:3], tf.float32)
    limit = math.radians(config.max_rotation_degrees)
    angles = tf.random.stateless_uniform([crops], angle_seed, -limit, limit)
    maps = tfa.image.transform_ops.angles_to_projective_transforms(angles, sides[0], sides[1])
    if config.max_zoom_factor == 1:
        return maps
    limit = math.log(config.max_zoom_factor)
    shrink = tf.exp(tf.random.stateless_uniform([crops, 1], zoom_seed, -limit, limit))
    row, column = (sides[0] - 1.0) / 2.0, (sides[1] - 1.0) / 2.0
    # The middle stays where it is: source = middle + shrink * (rotated - middle).
    stay = tf.stack([0.0, 0.0, column, 0.0, 0.0, row, 0.0, 0.0])
    return maps * tf.concat([tf.repeat(shrink, 6, axis=1), tf.ones([crops, 2])], 1) + stay * (1.0 - shrink)


def _with_contrast(image: tf.Tensor, seed: tf.Tensor, max_factor: float) -> tf.Tensor:
    """Multiplies each crop's contrast about its mean; may leave [0, 1]."""
    limit = math.log(max_factor)
    factor = tf.exp(tf.random.stateless_uniform([tf.shape(image)[0], 1, 1, 1], seed, -limit, limit))
    mean = tf.reduce_mean(image, axis=(1, 2, 3), keepdims=True)
    return mean + (image - mean) * factor


def _with_edges(image: tf.Tensor, seed: tf.Tensor, share: float) -> tf.Tensor:
    """Adds one blurred step to a share of the crops, float32 [crops, height, width, 1]; may leave [0, 1]."""
    draws = tf.random.stateless_uniform([5, tf.shape(image)[0], 1, 1, 1], seed)
    sides = tf.unstack(tf.cast(tf.shape(image)[1:3], tf.float32))
    rows, columns = (tf.range(side) - (side - 1.0) / 2.0 for side in sides)
    angle = draws[0] * (2.0 * math.pi)
    distance = rows[None, :, None, None] * tf.sin(angle) + columns[None, None, :, None] * tf.cos(angle)
    distance -= (draws[1] - 0.5) * tf.minimum(*sides)
    narrow, wide = _EDGE_WIDTH_PX
    width = narrow * tf.pow(wide / narrow, draws[2])
    height = tf.where(draws[3] < share, _EDGE_HEIGHT * (2.0 * draws[4] - 1.0), 0.0)
    return image + height * tf.sigmoid(distance / width)
