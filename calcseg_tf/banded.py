"""The gradient of the paper's network in bounded memory: layer by layer, band by band; the plain one, to rounding.

Automatic differentiation keeps outputs, activations and temporaries of every layer for the whole batch, about 4 kB a
pixel: 55 GB for a mammogram of 14 megapixels. Tiles alone do not help, because batch norm couples every pixel with
every other, through two sums a channel in each direction. So each layer here goes over the batch in bands: forward to
its outputs and their sums, which alone are kept; backward to the gradient of its inputs and to the sums of the batch
norm before it. What else is needed is computed again from the outputs.

The sums are all that replicas exchange: synchronised batch norm costs two small reductions a layer.
"""

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from calcseg_tf.bands import Bands, Rows
from calcseg_tf.models.convolution import Correlation, turned
from calcseg_tf.models.parallel_conv import ParallelConv2D

__all__ = ["BandedGradient", "Forward"]


@dataclasses.dataclass(frozen=True)
class Forward:
    """What the gradient needs of a forward pass.

    Attributes:
        logit: float32 [batch, height, width, 1].
        bands: How the batch was divided.
        image: The normalised image.
        blocks: What each block made of it.
        pixels: Over which batch norm was taken, float32.
    """

    logit: tf.Tensor
    bands: Bands
    image: Rows
    blocks: list["_Block"]
    pixels: tf.Tensor


class BandedGradient:
    """Computes the logits of an fcn in training mode, and their gradient; float32 only."""

    def __init__(
        self, network: keras.Model, all_reduce: Callable[[tf.Tensor], tf.Tensor], keep_widest: bool = True
    ) -> None:
        """Takes the layers of the network.

        Args:
            network: Of `build_fcn`; its variables are read, its moving averages updated.
            all_reduce: Sums over the replicas that share a batch norm.
            keep_widest: Keep the last block's outputs, half of all memory; else they are computed four times.
        """
        blocks = range(1, sum(isinstance(layer, keras.layers.BatchNormalization) for layer in network.layers) + 1)
        self._normalization = network.get_layer("normalization")
        self._convolutions: list[ParallelConv2D] = [network.get_layer(f"block{number}_conv") for number in blocks]
        self._norms: list[keras.layers.BatchNormalization] = [
            network.get_layer(f"block{number}_bn") for number in blocks
        ]
        self._head: ParallelConv2D = network.get_layer("logit")
        self._variables = network.trainable_variables
        self._all_reduce = all_reduce
        self._keep_widest = keep_widest

    def forward(self, image: tf.Tensor) -> Forward:
        """Computes the logits of float32 [batch, height, width, 1] in [0, 1], and updates the moving averages."""
        bands = Bands.of(image)
        own_pixels = tf.cast(tf.size(image), tf.float32)
        pixels = self._all_reduce(own_pixels)
        rows = normalized = bands.of_tensor(self._normalization(image))
        blocks: list[_Block] = []
        after: tf.Tensor = image
        for convolution, norm in zip(self._convolutions, self._norms, strict=True):
            keep = self._keep_widest or norm is not self._norms[-1]
            outputs, own_mean, own_variance = _with_moments(convolution, rows, bands, after, keep)
            # In two steps, because the sum of squares alone would drown a variance small against the mean.
            share = own_pixels / pixels
            mean = self._all_reduce(share * own_mean)
            variance = self._all_reduce(share * (own_variance + tf.square(own_mean - mean)))
            blocks.append(_Block(outputs, norm, mean, variance))
            blocks[-1].update_moving_averages(convolution.bias)
            rows, after = blocks[-1].activated_rows, mean
        outputs = _convolved(self._head, rows, bands, after)
        kept, _ = bands.scan(lambda band: (outputs(band, 0), ()), (), channels=1)
        return Forward(kept.whole(image.shape) + self._head.bias, bands, normalized, blocks, pixels)

    def gradients(self, forward: Forward, upstream: tf.Tensor) -> list[tf.Tensor]:
        """Returns the gradients of the network's trainable variables.

        Args:
            forward: What `forward` returned.
            upstream: float32 [batch, height, width, 1], the gradient of the logits.
        """
        found = {self._head.bias.ref(): tf.reduce_sum(upstream, axis=(0, 1, 2))}
        rows, after = forward.bands.of_tensor(upstream), upstream
        blocks: list[_Block | None] = [None, *forward.blocks]
        for convolution, before in zip([self._head, *self._convolutions[::-1]], blocks[::-1], strict=True):
            backward = _Backward.of(convolution, rows, forward.bands, after)
            if before is None:
                merged = backward.over_image(forward.image)
            else:
                # The head's is quickly made again, and of the most channels.
                scaled, merged, sums = backward.over_block(before, keep=convolution is not self._head)
                rows = before.corrected(scaled, self._all_reduce(sums) / forward.pixels)
                found[before.norm.gamma.ref()], found[before.norm.beta.ref()] = tf.unstack(sums)
            after = merged
            for variable, gradient in zip(convolution.kernels, convolution.split_kernel(merged), strict=True):
                found[variable.ref()] = gradient
        for convolution in self._convolutions:  # batch norm takes away what the bias adds
            found[convolution.bias.ref()] = tf.zeros_like(convolution.bias)
        return [found[variable.ref()] for variable in self._variables]


@dataclasses.dataclass(frozen=True)
class _Block:
    """The outputs of a block's convolution, without its bias, and the batch norm and ReLU after it.

    Attributes:
        outputs: Of the convolution.
        norm: Batch norm.
        mean: Of the outputs over the batch, float32 [channels].
        variance: Likewise.
    """

    outputs: Rows
    norm: keras.layers.BatchNormalization
    mean: tf.Tensor
    variance: tf.Tensor

    def update_moving_averages(self, bias: tf.Tensor) -> None:
        """Moves Keras' averages, which are of the outputs with their bias, float32 [channels]."""
        for average, value in ((self.norm.moving_mean, self.mean + bias), (self.norm.moving_variance, self.variance)):
            average.assign_sub((average - value) * (1.0 - self.norm.momentum))

    def activated(self, outputs: tf.Tensor) -> tf.Tensor:
        """Applies batch norm and ReLU to outputs, float32 [images, rows, width, channels]."""
        return tf.nn.relu(self._normalized(outputs, self.norm.gamma, self.norm.beta))

    def activated_rows(self, band: tf.Tensor, halo: int) -> tf.Tensor:
        """Gives activated rows, as `Rows`."""
        return self.activated(self.outputs(band, halo))

    def scaled(
        self, gradient: tf.Tensor, outputs: tf.Tensor, activated: tf.Tensor
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
        """Takes a gradient back to the outputs, as far as one band knows it.

        With x the normalised outputs, g the gradient before the ReLU and N pixels, the gradient of the outputs is
        s (g - sum(g) / N - x sum(g x) / N), where s is gamma by the standard deviation.

        Args:
            gradient: float32 [images, rows, width, channels], of what follows the ReLU.
            outputs: Likewise, of the convolution.
            activated: Likewise, behind batch norm and ReLU.

        Returns:
            s g, and the sums of g x and g over the band, [channels] each, its part of the gradients of gamma and beta.
        """
        back = tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=tf.raw_ops.ReluGrad(gradients=gradient, features=activated),
            x=outputs,
            scale=self.norm.gamma,
            reserve_space_1=self.mean,
            reserve_space_2=self.variance,
            reserve_space_3=[],
            epsilon=self.norm.epsilon,
            is_training=False,
        )
        return back.x_backprop, (back.scale_backprop, back.offset_backprop)

    def corrected(self, scaled: Rows, means: tf.Tensor) -> Rows:
        """Gives the gradient of the outputs from s g and mean(g x), mean(g) over all pixels, float32 [2, channels]."""
        scale = self.norm.gamma * tf.math.rsqrt(self.variance + self.norm.epsilon)

        def rows(band: tf.Tensor, halo: int) -> tf.Tensor:
            coupled = self._normalized(self.outputs(band, halo), scale * means[0], scale * means[1])
            return scaled(band, halo) - coupled

        return rows

    def _normalized(self, outputs: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.FusedBatchNormV3(
            x=outputs,
            scale=scale,
            offset=offset,
            mean=self.mean,
            variance=self.variance,
            epsilon=self.norm.epsilon,
            is_training=False,
        ).y


@dataclasses.dataclass(frozen=True)
class _Backward:
    """Backward through one convolution.

    Attributes:
        convolution: The layer.
        correlation: Its way.
        kernel: Its merged kernel.
        prepared: That kernel, turned, as the way takes it.
        upstream: The gradient of its outputs.
        bands: How the batch is divided.
    """

    convolution: ParallelConv2D
    correlation: Correlation
    kernel: tf.Tensor
    prepared: tf.Tensor
    upstream: Rows
    bands: Bands

    @staticmethod
    def of(convolution: ParallelConv2D, upstream: Rows, bands: Bands, after: tf.Tensor) -> "_Backward":
        """Prepares the kernel; no earlier than `after`: else all layers' would be made at once, and wait in memory."""
        correlation = convolution.correlation()
        with tf.control_dependencies([after]):
            kernel = tf.identity(convolution.merged_kernel())
        return _Backward(convolution, correlation, kernel, correlation.prepare(turned(kernel)), upstream, bands)

    def over_image(self, image: Rows) -> tf.Tensor:
        """Returns the gradient of the first convolution's merged kernel; nobody asks for the image's."""

        def step(band: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tuple[tf.Tensor]]:
            gradient, of_kernel = self.correlation.gradients(image(band, 0), self._padded(band, 0), self.prepared)
            return gradient, (total + of_kernel,)

        _, (of_kernel,) = self.bands.scan(step, [tf.zeros_like(self.kernel)], channels=1, keep=False)
        return of_kernel

    def over_block(self, before: _Block, keep: bool) -> tuple[Rows, tf.Tensor, tf.Tensor]:
        """Goes back to the outputs of the block before.

        Returns:
            s g (see `_Block.scaled`); the gradient of the merged kernel; the sums [sum(g x), sum(g)].
        """

        def step(band: tf.Tensor, total: tf.Tensor, sums: tf.Tensor) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
            outputs = before.outputs(band, 0)
            activated = before.activated(outputs)
            gradient, of_kernel = self.correlation.gradients(activated, self._padded(band, 0), self.prepared)
            scaled, addends = before.scaled(gradient, outputs, activated)
            return scaled, (total + of_kernel, sums + tf.stack(addends))

        def again(band: tf.Tensor, halo: int) -> tf.Tensor:
            outputs = before.outputs(band, halo)
            gradient = self.correlation.image_gradient(self._padded(band, halo), self.prepared)
            return before.scaled(gradient, outputs, before.activated(outputs))[0]

        channels = before.mean.shape[0]
        zeros = [tf.zeros_like(self.kernel), tf.zeros([2, channels])]
        kept, (of_kernel, sums) = self.bands.scan(step, zeros, channels, keep)
        return (kept.rows if keep else again), of_kernel, sums

    def _padded(self, band: tf.Tensor, halo: int) -> tf.Tensor:
        return self.bands.padded(self.upstream, band, halo, self.convolution.reach)


def _convolved(convolution: ParallelConv2D, rows: Rows, bands: Bands, after: tf.Tensor) -> Rows:
    """Gives a convolution's outputs, without its bias, of rows; its kernel is prepared no earlier than `after`."""
    correlation = convolution.correlation()
    with tf.control_dependencies([after]):
        prepared = correlation.prepare(tf.identity(convolution.merged_kernel()))
    return lambda band, halo: correlation.outputs(bands.padded(rows, band, halo, convolution.reach), prepared)


def _with_moments(
    convolution: ParallelConv2D, rows: Rows, bands: Bands, after: tf.Tensor, keep: bool
) -> tuple[Rows, tf.Tensor, tf.Tensor]:
    """Gives a convolution's outputs, and their mean and variance, [filters], by sums about the first band's mean."""
    outputs = _convolved(convolution, rows, bands, after)

    def step(
        band: tf.Tensor, pivot: tf.Tensor, total: tf.Tensor, squares: tf.Tensor, count: tf.Tensor
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        result = outputs(band, 0)
        pixels = tf.cast(tf.size(result) // convolution.filters, tf.float32)
        here = _sum(result)
        pivot = tf.where(band == 0, here / pixels, pivot)
        about = _sum(tf.math.squared_difference(result, pivot))
        return result, (pivot, total + (here - pixels * pivot), squares + about, count + pixels)

    state = [tf.zeros([convolution.filters])] * 3 + [tf.constant(0.0)]
    kept, (pivot, total, squares, count) = bands.scan(step, state, convolution.filters, keep)
    variance = tf.maximum(squares / count - tf.square(total / count), 0.0)
    return kept.rows if keep else outputs, pivot + total / count, variance


def _sum(image: tf.Tensor) -> tf.Tensor:
    """Sums [images, rows, width, channels] to [channels]; rows by a product, eight times as fast as a reduction."""
    shape = tf.shape(image)
    rows = tf.matmul(tf.ones([1, shape[2]]), tf.reshape(image, [-1, shape[2], image.shape[3]]))
    return tf.reduce_sum(rows, axis=(0, 1))
