"""Per-pixel losses whose reduction is explicit: one mean over the global batch, whatever the number of replicas.

The hard-negative loss is the paper's (section 3, "Training"): binary cross-entropy over the positives and over three
times as many negatives, those with the highest loss; the gradient of every other negative is discarded.
"""

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf

from data_prep.errors import InputError
from data_prep.schema import BACKGROUND, CALCIFICATION

__all__ = ["LOSSES", "AllReduce", "LossConfig", "PixelLoss", "kth_largest", "pixel_loss"]

LOSSES = ("hard_negatives", "cross_entropy")

AllReduce = Callable[[tf.Tensor], tf.Tensor]
"""Sums a tensor over the replicas; the identity where there is one."""


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Which pixels enter the loss.

    Attributes:
        name: "hard_negatives" (the paper's) or "cross_entropy" (every pixel that is not ignored; the naive loss).
        negatives_per_positive: The paper's ratio is 3.
        negatives_without_positives: How many of the hardest negatives enter where the global batch has no positive, so
            that such a batch still teaches what is no calcification.
    """

    name: str = "hard_negatives"
    negatives_per_positive: int = 3
    negatives_without_positives: int = 256

    def __post_init__(self) -> None:
        if self.name not in LOSSES:
            raise InputError(f"--loss must be one of {', '.join(LOSSES)}; found {self.name!r}")
        if self.negatives_per_positive < 1 or self.negatives_without_positives < 1:
            raise InputError("--negatives_per_positive and --negatives_without_positives must be at least 1")


@dataclasses.dataclass(frozen=True)
class PixelLoss:
    """The loss of one iteration as one replica sees it; all scalars.

    Attributes:
        local: This replica's share: the sum over replicas is the mean over the global batch, and so is the sum of its
            gradients. float32, carries the gradient.
        total: The global mean, equal on every replica. float32.
        positives: Positive pixels of the global batch. float32.
        negatives: Negative pixels that entered (ties at the threshold count by their share). float32.
        threshold: The probability that the network gives the easiest negative that entered. float32.
    """

    local: tf.Tensor
    total: tf.Tensor
    positives: tf.Tensor
    negatives: tf.Tensor
    threshold: tf.Tensor


def pixel_loss(logit: tf.Tensor, mask: tf.Tensor, config: LossConfig, all_reduce: AllReduce) -> PixelLoss:
    """Computes the mean binary cross-entropy over the pixels that the config lets in.

    With P positives in the global batch, k = negatives_per_positive x P negatives enter (negatives_without_positives
    where P = 0), bounded by the negatives there are: those of the highest loss. Negatives that tie with the k-th
    highest share what is left of k evenly, so that neither the order of pixels nor the number of replicas matters.
    Ignored pixels never count. The denominator is P + k; where it is 0 the loss is 0.

    Args:
        logit: float32 [batch, height, width, 1], this replica's.
        mask: uint8 of the same shape: BACKGROUND, CALCIFICATION or IGNORE.
        config: Which pixels enter.
        all_reduce: Sums over replicas; must be callable outside control flow.
    """
    positive = tf.equal(mask, CALCIFICATION)
    negative = tf.equal(mask, BACKGROUND)
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.cast(positive, logit.dtype), logits=logit)
    # Ignored pixels leave here; below, a NaN in any other pixel reaches the loss and is seen.
    cross_entropy = tf.where(positive | negative, cross_entropy, tf.zeros_like(cross_entropy))

    counts = all_reduce(tf.stack([_count(positive), _count(negative)]))
    positives, negatives = counts[0], counts[1]
    if config.name == "hard_negatives":
        wanted = config.negatives_per_positive * positives
        wanted = tf.where(positives > 0, wanted, tf.constant(config.negatives_without_positives, tf.int64))
        chosen = tf.minimum(wanted, negatives)
        weight, threshold = _hardest(tf.stop_gradient(logit), negative, chosen, all_reduce)
    else:
        chosen = negatives
        weight, threshold = tf.cast(negative, logit.dtype), tf.constant(0.0)

    weight = tf.where(positive, tf.ones_like(weight), weight)
    local_sum = tf.reduce_sum(cross_entropy * weight)
    local = tf.math.divide_no_nan(local_sum, tf.cast(positives + chosen, local_sum.dtype))
    return PixelLoss(
        local=local,
        total=all_reduce(tf.stop_gradient(local)),
        positives=tf.cast(positives, tf.float32),
        negatives=tf.cast(chosen, tf.float32),
        threshold=threshold,
    )


def _hardest(
    logit: tf.Tensor, negative: tf.Tensor, chosen: tf.Tensor, all_reduce: AllReduce
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the weights in [0, 1] of the `chosen` hardest negatives, in the logit's shape, and their threshold.

    A negative's loss grows with its logit, so the logits rank them; unlike losses, equal logits are equal bits (the
    last pixels of a vectorised loop can get a loss one rounding away from their equals').
    """
    candidate = tf.where(negative, logit, tf.fill(tf.shape(logit), -math.inf))
    threshold = kth_largest(candidate, chosen, all_reduce)
    above = candidate > threshold
    tied = tf.equal(candidate, threshold)
    counts = all_reduce(tf.stack([_count(above), _count(tied)]))
    share = tf.math.divide_no_nan(tf.cast(chosen - counts[0], logit.dtype), tf.cast(counts[1], logit.dtype))
    weight = tf.where(above, tf.ones_like(logit), tf.where(tied, share, tf.zeros_like(logit)))
    return weight, tf.where(chosen > 0, tf.sigmoid(threshold), 0.0)


def kth_largest(values: tf.Tensor, k: tf.Tensor, all_reduce: AllReduce) -> tf.Tensor:
    """Finds the k-th largest value over all replicas, exactly, by bisection on the bits of float32.

    The bits of a float, read as an integer with all but the sign flipped where it is negative, are ordered as the
    floats are; so 32 bits decide it, two at a time: 16 rounds, each one pass over the values and one reduction of three
    counts. Nothing is sorted or gathered, the cost does not depend on k, and no sum in it depends on its order.

    Args:
        values: float32, any shape; -inf stands for nothing.
        k: int64 scalar, from 1 to the number of finite values over all replicas; 0 counts as 1.
        all_reduce: Sums over replicas.

    Returns:
        float32 scalar: the largest t such that at least k values are >= t; not a number where there are not k.
    """
    k = tf.maximum(k, 1)
    ordered = tf.constant(-(2**31), tf.int32)
    for shift in range(30, -1, -2):
        # In the first round the sum wraps around from the negative floats to the positive ones, as it should.
        steps = [tf.bitwise.left_shift(tf.constant(digit, tf.int32), shift) for digit in (1, 2, 3)]
        # Compared as floats: int32 tensors of this size would be moved to the host on a GPU. Patterns of NaN compare
        # false: right above +inf, and below -inf outvoted by the highest digit that holds.
        thresholds = [_float_of(ordered + step) for step in steps]
        counts = all_reduce(tf.stack([_count(values >= threshold) for threshold in thresholds]))
        digit = tf.reduce_max(tf.where(counts >= k, [1, 2, 3], 0))
        ordered += tf.bitwise.left_shift(digit, shift)
    return _float_of(ordered)


def _float_of(ordered: tf.Tensor) -> tf.Tensor:
    """Inverts the order-preserving map from float32 to int32; it is its own inverse."""
    flip = tf.bitwise.bitwise_and(tf.bitwise.right_shift(ordered, 31), 0x7FFFFFFF)
    return tf.bitcast(tf.bitwise.bitwise_xor(ordered, flip), tf.float32)


def _count(condition: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(condition, tf.int64))
