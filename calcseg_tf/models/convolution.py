"""Ways to compute a convolution that differ in speed and rounding only, each with its own exact gradient.

All correlate a padded image with one square, odd kernel, as `tf.nn.conv2d` does without padding. The gradient of the
image is the same correlation of the padded upstream gradient with the kernel turned by 180 degrees; so both work on any
band of rows of an image that is read with its neighbouring rows, and so does the gradient of the kernel, as a sum over
bands.
"""

from typing import Protocol

import tensorflow as tf

from calcseg_tf.models.fourier import Fourier

__all__ = ["Correlation", "convolve", "correlation", "turned"]


class Correlation(Protocol):
    """A way to correlate with a kernel of known size, in steps: what depends on the kernel alone is done once."""

    def prepare(self, kernel: tf.Tensor) -> tf.Tensor:
        """Takes a kernel [size, size, channels, filters] into the form that the other methods take."""

    def outputs(self, padded: tf.Tensor, prepared: tf.Tensor) -> tf.Tensor:
        """Correlates [batch, height + size - 1, width + size - 1, channels] to [batch, height, width, filters]."""

    def image_gradient(self, upstream: tf.Tensor, prepared: tf.Tensor) -> tf.Tensor:
        """Returns the first of `gradients` alone."""

    def gradients(self, image: tf.Tensor, upstream: tf.Tensor, prepared: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Differentiates a convolution on a part of its image.

        Args:
            image: [batch, height, width, channels], the part, not padded.
            upstream: [batch, height + size - 1, width + size - 1, filters], the gradient of the output around the part.
            prepared: `prepare(turned(kernel))`.

        Returns:
            The gradient of the image, [batch, height, width, channels], and the part's of the gradient of the kernel,
            [size, size, channels, filters].
        """


def correlation(way: str, kernel_px: int) -> Correlation:
    """Returns a way to correlate with a kernel of `kernel_px`.

    "merged" is TensorFlow's own convolution; "fourier" goes by transforms of tiles, in float32 only; "shifted", for one
    filter, is one matrix product over the channels and a sum of shifted maps.
    """
    if way == "fourier":
        return Fourier(kernel_px)
    return _Shifted() if way == "shifted" else _Merged()


def convolve(image: tf.Tensor, kernel: tf.Tensor, way: Correlation) -> tf.Tensor:
    """Computes `tf.nn.conv2d(image, kernel, strides=1, padding="SAME")` and, when asked, its gradients in the same way.

    Args:
        image: [batch, height, width, channels]; only the channels must be known.
        kernel: [size, size, channels, filters], square and odd.
        way: How.
    """
    reach = kernel.shape[0] // 2
    padding = [[0, 0], [reach, reach], [reach, reach], [0, 0]]

    @tf.custom_gradient
    def function(image: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, object]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            # Not before: else those of all layers would be made at the step's start, and wait in memory.
            with tf.control_dependencies([upstream]):
                prepared = way.prepare(turned(kernel))
            return way.gradients(image, tf.pad(upstream, padding), prepared)

        with tf.control_dependencies([image]):
            prepared = way.prepare(tf.identity(kernel))
        return way.outputs(tf.pad(image, padding), prepared), gradient

    outputs = function(image, kernel)
    return tf.ensure_shape(outputs, [*image.shape[:3], kernel.shape[3]])


def turned(kernel: tf.Tensor) -> tf.Tensor:
    """Turns a kernel by 180 degrees and exchanges its channels: what the gradient of an image is correlated with."""
    return tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])


class _Merged:
    """TensorFlow's own convolution and its gradients."""

    def prepare(self, kernel: tf.Tensor) -> tf.Tensor:
        return kernel

    def outputs(self, padded: tf.Tensor, prepared: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(padded, prepared, strides=1, padding="VALID")

    def image_gradient(self, upstream: tf.Tensor, prepared: tf.Tensor) -> tf.Tensor:
        return self.outputs(upstream, prepared)

    def gradients(self, image: tf.Tensor, upstream: tf.Tensor, prepared: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # With the parts exchanged, the gradient of a kernel is that of the turned one.
        size, _, filters, channels = prepared.shape
        kernel_gradient = tf.raw_ops.Conv2DBackpropFilter(
            input=upstream,
            filter_sizes=[size, size, filters, channels],
            out_backprop=image,
            strides=[1, 1, 1, 1],
            padding="VALID",
        )
        return self.image_gradient(upstream, prepared), turned(kernel_gradient)


class _Shifted:
    """For one filter: what every pixel adds to each of its neighbours is one matrix product over the channels."""

    def prepare(self, kernel: tf.Tensor) -> tf.Tensor:
        return kernel

    def outputs(self, padded: tf.Tensor, prepared: tf.Tensor) -> tf.Tensor:
        size, _, channels, _ = prepared.shape
        weights = tf.transpose(tf.reshape(prepared, [size * size, channels]))
        batch, rows, columns = tf.unstack(tf.shape(padded)[:3])
        maps = tf.transpose(tf.matmul(tf.reshape(padded, [-1, channels]), weights))
        maps = tf.unstack(tf.reshape(maps, [size * size, batch, rows, columns]))
        return tf.add_n(_shifts(maps, size))[..., None]

    def image_gradient(self, upstream: tf.Tensor, prepared: tf.Tensor) -> tf.Tensor:
        return self._image_gradient(self._around(upstream, prepared), upstream, prepared)

    def gradients(self, image: tf.Tensor, upstream: tf.Tensor, prepared: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size, _, _, channels = prepared.shape
        around = self._around(upstream, prepared)
        kernel_gradient = tf.matmul(around, tf.reshape(image, [-1, channels]), transpose_a=True)
        image_gradient = self._image_gradient(around, upstream, prepared)
        return image_gradient, turned(tf.reshape(kernel_gradient, [size, size, 1, channels]))

    def _around(self, upstream: tf.Tensor, prepared: tf.Tensor) -> tf.Tensor:
        """Returns the upstream gradient around every pixel, [pixels, size x size]."""
        size = prepared.shape[0]
        return tf.reshape(tf.stack(_shifts([upstream[..., 0]] * size**2, size), axis=-1), [-1, size**2])

    def _image_gradient(self, around: tf.Tensor, upstream: tf.Tensor, prepared: tf.Tensor) -> tf.Tensor:
        size, _, _, channels = prepared.shape
        batch, rows, columns = tf.unstack(tf.shape(upstream)[:3])
        gradient = tf.matmul(around, tf.reshape(prepared, [size**2, channels]))
        return tf.reshape(gradient, [batch, rows - size + 1, columns - size + 1, channels])


def _shifts(maps: list[tf.Tensor], size: int) -> list[tf.Tensor]:
    """Cuts from each of size^2 maps [batch, height + size - 1, width + size - 1] its own shift, in reading order."""
    height, width = (tf.shape(maps[0])[axis] - size + 1 for axis in (1, 2))
    places = [(row, column) for row in range(size) for column in range(size)]
    return [part[:, y : y + height, x : x + width] for part, (y, x) in zip(maps, places, strict=True)]
