"""The Keras model that trains a network with a loss over the global batch."""

import functools
from typing import Any

import keras
import tensorflow as tf

from calcseg_tf.losses import LossConfig, PixelLoss, pixel_loss

__all__ = ["Segmenter"]


class _Means:
    """Holds the metrics where Keras does not look: it would count their variables as weights of the model."""

    def __init__(self) -> None:
        self.all = [keras.metrics.Mean(name) for name in ("loss", "positives", "negatives", "negative_threshold")]


class Segmenter(keras.Model):
    """A network with the custom `train_step`; `fit`, callbacks, checkpoints and strategies work as in any Keras model.

    Batches are (image float32 [batch, height, width, 1] in [0, 1], mask uint8 of the same shape). It is itself the
    functional network (image to logit), so its weights file is the network's.
    """

    @classmethod
    def of(cls, network: keras.Model, loss: LossConfig) -> "Segmenter":
        """Wraps a network, sharing its layers."""
        segmenter = cls(inputs=network.inputs, outputs=network.outputs, name=network.name)
        segmenter._loss_config = loss
        segmenter._means = _Means()
        return segmenter

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The means that `fit` resets at each epoch."""
        return self._means.all

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, Any]:
        """Takes one step on this replica's part of a global batch."""
        image, mask = data
        with tf.GradientTape() as tape:
            loss = self._pixel_loss(self(image, training=True), mask)
        # The optimiser sums gradients over replicas; `local` is already divided by the global denominator.
        self.optimizer.minimize(loss.local, self.trainable_variables, tape=tape)
        return self._update_means(loss)

    def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, Any]:
        """Measures the same loss in inference mode."""
        image, mask = data
        return self._update_means(self._pixel_loss(self(image, training=False), mask))

    def _pixel_loss(self, logit: tf.Tensor, mask: tf.Tensor) -> PixelLoss:
        replica = tf.distribute.get_replica_context()
        all_reduce = functools.partial(replica.all_reduce, tf.distribute.ReduceOp.SUM)
        return pixel_loss(logit, mask, self._loss_config, all_reduce)

    def _update_means(self, loss: PixelLoss) -> dict[str, Any]:
        values = (loss.total, loss.positives, loss.negatives, loss.threshold)
        for mean, value in zip(self.metrics, values, strict=True):
            mean.update_state(value)
        # Results, not raw scalars: Keras sums scalars over the replicas of a MirroredStrategy.
        return {mean.name: mean.result() for mean in self.metrics}
