"""Per-pixel losses whose reduction is explicit: one mean over the global batch, whatever the number of replicas.

The hard-negative loss is the paper's (section 3, "Training"): binary cross-entropy over the positives and over three
times as many negatives, those with the highest loss; the gradient of every other negative is discarded. The others are
what it is compared with: plain, class-weighted and focal (Lin et al. 2017, arXiv:1708.02002) cross-entropy.
"""

import dataclasses
import math
import warnings
from collections.abc import Callable

import tensorflow as tf

from data_prep.errors import InputError
from data_prep.schema import BACKGROUND, CALCIFICATION

with warnings.catch_warnings():
    # As in `augment`: TFA announces its end of life at every import.
    warnings.simplefilter("ignore")
    import tensorflow_addons as tfa

__all__ = ["LOSSES", "AllReduce", "LossConfig", "PixelLoss", "kth_largest", "pixel_loss"]

LOSSES = ("hard_negatives", "cross_entropy", "weighted_cross_entropy", "focal")

AllReduce = Callable[[tf.Tensor], tf.Tensor]
"""Sums a tensor over the replicas; the identity where there is one."""


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Which pixels enter the loss, and with which weight.

    Attributes:
        name: "hard_negatives" (the paper's), or over every pixel that is not ignored "cross_entropy" (the naive loss),
            "weighted_cross_entropy" or "focal".
        negatives_per_positive: The paper's ratio is 3.
        negatives_without_positives: How many of the hardest negatives enter where the global batch has no positive, so
            that such a batch still teaches what is no calcification.
        positive_weight: Of weighted_cross_entropy: a positive weighs so much, a negative 1. 0 takes negatives /
            positives of the global batch, so that both classes weigh the same in all; 1 where one of them is missing.
        focal_alpha: Of focal: a positive weighs alpha, a negative 1 - alpha.
        focal_gamma: Of focal: the exponent of 1 - probability of the true class. At least 1: below, the gradient of
            TFA's formula is not a number wherever that probability rounds to 1.
    """

    name: str = "hard_negatives"
    negatives_per_positive: int = 3
    negatives_without_positives: int = 256
    positive_weight: float = 0.0
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0

    def __post_init__(self) -> None:
        if self.name not in LOSSES:
            raise InputError(f"--loss must be one of {', '.join(LOSSES)}; found {self.name!r}")
        if self.negatives_per_positive < 1 or self.negatives_without_positives < 1:
            raise InputError("--negatives_per_positive and --negatives_without_positives must be at least 1")
        if not 0 <= self.positive_weight < math.inf:
            raise InputError(f"--positive_weight must be 0 or more; found {self.positive_weight}")
        if not 0 < self.focal_alpha < 1 or not 1 <= self.focal_gamma < math.inf:
            raise InputError(
                "--focal_alpha must lie between 0 and 1 and --focal_gamma be at least 1; found "
                f"{self.focal_alpha} and {self.focal_gamma}"
            )


@dataclasses.dataclass(frozen=True)
class PixelLoss:
    """The loss of one iteration as one replica sees it; all scalars.

    Attributes:
        local: This replica's share: the sum over replicas is the mean over the global batch, and so is the sum of its
            gradients. float32, carries the gradient.
        total: The global mean, equal on every replica. float32.
        denominator: What the global mean was divided by. float32.
        positives: Positive pixels of the global batch. float32.
        negatives: Negative pixels that entered (ties at the threshold count by their share). float32.
        threshold: The probability that the network gives the easiest negative that entered. float32.
    """

    local: tf.Tensor
    total: tf.Tensor
    denominator: tf.Tensor
    positives: tf.Tensor
    negatives: tf.Tensor
    threshold: tf.Tensor


def pixel_loss(logit: tf.Tensor, mask: tf.Tensor, config: LossConfig, all_reduce: AllReduce) -> PixelLoss:
    """Computes the weighted mean of the binary cross-entropy over the pixels that the config lets in.

    hard_negatives: with P positives in the global batch, k = negatives_per_positive x P negatives enter
    (negatives_without_positives where P = 0), bounded by the negatives there are: those of the highest loss. Negatives
    that tie with the k-th highest share what is left of k evenly, so that neither the order of pixels nor the number of
    replicas matters.
    The denominator is P + k.

    cross_entropy and focal: the mean over all P + N pixels that are not ignored. weighted_cross_entropy: positives by
    their weight w, and the denominator is w P + N.

    Ignored pixels never count. Where the denominator is 0 the loss is 0.

    Args:
        logit: float32 [batch, height, width, 1], this replica's.
        mask: uint8 of the same shape: BACKGROUND, CALCIFICATION or IGNORE.
        config: Which pixels enter.
        all_reduce: Sums over replicas; must be callable outside control flow.
    """
    positive = tf.equal(mask, CALCIFICATION)
    negative = tf.equal(mask, BACKGROUND)
    values = _focal(logit, positive, config) if config.name == "focal" else _cross_entropy(logit, positive)
    # Ignored pixels leave here; below, a NaN in any other pixel reaches the loss and is seen.
    values = tf.where(positive | negative, values, tf.zeros_like(values))

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

    positive_weight = _positive_weight(positives, negatives, config)
    weight = tf.where(positive, positive_weight, weight)
    local_sum = tf.reduce_sum(values * weight)
    denominator = positive_weight * tf.cast(positives, local_sum.dtype) + tf.cast(chosen, local_sum.dtype)
    local = tf.math.divide_no_nan(local_sum, denominator)
    return PixelLoss(
        local=local,
        total=all_reduce(tf.stop_gradient(local)),
        denominator=denominator,
        positives=tf.cast(positives, tf.float32),
        negatives=tf.cast(chosen, tf.float32),
        threshold=threshold,
    )


def _cross_entropy(logit: tf.Tensor, positive: tf.Tensor) -> tf.Tensor:
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.cast(positive, logit.dtype), logits=logit)


def _focal(logit: tf.Tensor, positive: tf.Tensor, config: LossConfig) -> tf.Tensor:
    """Returns alpha (1 - p)^gamma x cross-entropy, p the probability of the true class, in the logit's shape.

    TFA takes 1 - p by subtraction: from a logit of about 17 on it is 0, and so is a loss below 1e-14.
    """
    values = tfa.losses.sigmoid_focal_crossentropy(
        tf.cast(positive, logit.dtype), logit, alpha=config.focal_alpha, gamma=config.focal_gamma, from_logits=True
    )
    return values[..., None]  # it sums over the last axis, of one channel


def _positive_weight(positives: tf.Tensor, negatives: tf.Tensor, config: LossConfig) -> tf.Tensor:
    """Returns the weight of a positive pixel, where a negative that entered whole has 1; float32 scalar."""
    if config.name != "weighted_cross_entropy":
        return tf.constant(1.0)
    if config.positive_weight > 0:
        return tf.constant(config.positive_weight)
    balance = tf.math.divide_no_nan(tf.cast(negatives, tf.float32), tf.cast(positives, tf.float32))
    return tf.where((positives > 0) & (negatives > 0), balance, 1.0)


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
