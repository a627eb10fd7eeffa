"""The Keras model that trains a network with a loss over the global batch."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from calcseg_tf.banded import BandedGradient
from calcseg_tf.losses import LossConfig, PixelLoss, pixel_loss

__all__ = ["Segmenter", "sum_over_replicas"]


def sum_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """Sums a tensor of any shape over the replicas of the current strategy; called by each of them."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)


class _Means:
    """Holds the metrics where Keras does not look: it would count their variables as weights of the model."""

    def __init__(self) -> None:
        self.all = [keras.metrics.Mean(name) for name in ("loss", "positives", "negatives", "negative_threshold")]


class Segmenter(keras.Model):
    """A network with the custom `train_step`; `fit`, callbacks, checkpoints and strategies work as in any Keras model.

    Batches are (image float32 [batch, height, width, 1] in [0, 1], mask uint8 of the same shape). It is itself the
    functional network (image to logit), so its weights file is the network's.

    Attributes:
        first_step: The step at which `fit` begins its first epoch: the data it is given begins there.
    """

    first_step = 0

    @classmethod
    def of(
        cls, network: keras.Model, loss: LossConfig, gradient: Callable[[keras.Model], BandedGradient] | None = None
    ) -> "Segmenter":
        """Wraps a network, sharing its layers.

        Args:
            network: Image to logit.
            loss: Of the pixels.
            gradient: Makes what computes logits and gradients; TensorFlow's automatic differentiation without it.
        """
        segmenter = cls(inputs=network.inputs, outputs=network.outputs, name=network.name)
        segmenter._loss_config = loss
        segmenter._means = _Means()
        segmenter._banded = gradient(segmenter) if gradient else None
        # Every replica returns the same means. Keras would sum them over workers.
        segmenter.distribute_reduction_method = "first"
        return segmenter

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The means that `fit` resets at each epoch."""
        return self._means.all

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, Any]:
        """Makes one update of the weights from this replica's part of a global batch, or of several.

        Several, [batch, accumulated, height, width, 1], are iterations of their own: batch norm and the hardest
        negatives are taken over each. Their gradients are then pooled: the update follows the mean over all pixels that
        entered any of them, each with its weight.
        """
        image, mask = data
        if image.shape.rank == 4:
            loss, gradients = self._loss_and_gradients(image, mask)
            results = self._update_means(loss)
        else:
            gradients, results = self._pooled_gradients(tf.unstack(image, axis=1), tf.unstack(mask, axis=1))
        # The optimiser sums gradients over replicas, then clips; `local` is divided by the global denominator.
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return results

    def _loss_and_gradients(self, image: tf.Tensor, mask: tf.Tensor) -> tuple[PixelLoss, list[tf.Tensor]]:
        if self._banded is not None:
            forward = self._banded.forward(image)
            with tf.GradientTape() as tape:
                tape.watch(forward.logit)
                loss = self._pixel_loss(forward.logit, mask)
            return loss, self._banded.gradients(forward, tape.gradient(loss.local, forward.logit))
        with tf.GradientTape() as tape:
            loss = self._pixel_loss(self(image, training=True), mask)
        # The optimiser's own, because that of float16 scales the loss.
        pairs = self.optimizer.compute_gradients(loss.local, self.trainable_variables, tape=tape)
        return loss, [gradient for gradient, _ in pairs]

    def _pooled_gradients(
        self, images: list[tf.Tensor], masks: list[tf.Tensor]
    ) -> tuple[list[tf.Tensor], dict[str, Any]]:
        total, denominator = [tf.zeros_like(variable) for variable in self.trainable_variables], tf.constant(0.0)
        results: dict[str, Any] = {}
        for image, mask in zip(images, masks, strict=True):
            # One after another: TensorFlow would hold the activations of all of them at once.
            with tf.control_dependencies(total):
                loss, gradients = self._loss_and_gradients(tf.identity(image), mask)
            total = [one + loss.denominator * other for one, other in zip(total, gradients, strict=True)]
            denominator += loss.denominator
            results = self._update_means(loss)
        return [tf.math.divide_no_nan(gradient, denominator) for gradient in total], results

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Puts the moving average of the weights in their place meanwhile, where the optimiser keeps one."""
        kept = [tf.identity(variable) for variable in self.trainable_variables]
        self.optimizer.finalize_variable_values(self.trainable_variables)
        try:
            yield
        finally:
            for variable, value in zip(self.trainable_variables, kept, strict=True):
                variable.assign(value)

    def test_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, Any]:
        """Measures the same loss in inference mode; (image, mask) as in `train_step`."""
        image, mask = data
        return self._update_means(self._pixel_loss(self(image, training=False), mask))

    def _maybe_load_initial_counters_from_ckpt(self, steps_per_epoch: int, initial_epoch: int) -> tuple[int, int]:
        """Tells `fit` where to begin: Keras' own hook for it (Keras 2.15, `BackupAndRestore`), which no argument is."""
        return initial_epoch, self.first_step

    def _pixel_loss(self, logit: tf.Tensor, mask: tf.Tensor) -> PixelLoss:
        return pixel_loss(logit, mask, self._loss_config, sum_over_replicas)

    def _update_means(self, loss: PixelLoss) -> dict[str, Any]:
        values = (loss.total, loss.positives, loss.negatives, loss.threshold)
        for mean, value in zip(self.metrics, values, strict=True):
            mean.update_state(value)
        # Results, not raw scalars: Keras sums scalars over the replicas of a MirroredStrategy.
        return {mean.name: mean.result() for mean in self.metrics}
