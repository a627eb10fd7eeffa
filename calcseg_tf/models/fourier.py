"""Correlation with large kernels by real Fourier transforms of tiles, as matrix products in stock TensorFlow ops.

A block of the paper's network is one 9 x 9 convolution of many channels. Direct convolution takes 81 multiplications
for each pair of channels and pixel; through the transform of a tile it takes about 3.1. The transforms themselves are
dense matrices, so that every direction - output, gradient of the input, gradient of the kernel - is a few matrix
products, for which any machine has a fast library, while the convolutions' backward kernels are slow on CPUs.

How a tile is done (overlap-save): S x S outputs need T x T inputs, T = S + size of the kernel - 1. With X and W the
transforms of the tile and of the kernel, X conj(W) transforms back to their correlation, of which S x S values are free
of wrap-around. Along one axis the frequencies are odd multiples of half a period: what wraps around then changes its
sign, which is discarded all the same, and a real tile's T x T / 2 frequencies are all complex, none stored twice and
none with an imaginary part of 0. Complex numbers are kept as pairs of real ones, and a complex product of channels is a
real one with [[re W, -im W], [im W, re W]].

Tiles are laid pixel by pixel, [T, T, tiles, channels]. Every transform then is a product of a small matrix with a very
wide one, and but for the pairs [re, im] that the product of channels takes side by side nothing is ever transposed:
twice as fast as one product for each tile (BUILD_NOTES.md, "Engine").
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["FOURIER_OUTPUT_PX", "Fourier", "fourier_multiplications"]

FOURIER_OUTPUT_PX = 32  # S; measured against 24, 40 and 48 (BUILD_NOTES.md, "Fourier convolution")


def fourier_multiplications(kernel_px: int, channels: int, filters: int) -> float:
    """Returns how many multiplications `Fourier.outputs` takes for each pixel; direct, it is kernel_px^2 a pair."""
    side = FOURIER_OUTPUT_PX + kernel_px - 1
    forward = side * side * side + 2 * side * 2 * side * (side // 2)
    back = 2 * FOURIER_OUTPUT_PX * 2 * side * (side // 2) + FOURIER_OUTPUT_PX**2 * side
    product = 4 * side * (side // 2)
    return (forward * channels + back * filters + product * channels * filters) / FOURIER_OUTPUT_PX**2


class Fourier:
    """A `calcseg_tf.models.convolution.Correlation` through transforms of tiles; float32 only."""

    def __init__(self, kernel_px: int) -> None:
        self._transforms = _Transforms.of(kernel_px)

    def prepare(self, kernel: tf.Tensor) -> tf.Tensor:
        """Returns float32 [v, 2, u, filters, 2 channels]: what a tile's spectrum [re, im] gives to re and im.

        Channels last: oneDNN multiplies by a transposed matrix faster than by a plain one of this size.
        """
        size, _, channels, filters = kernel.shape
        flat = tf.reshape(kernel, [size, size, 1, channels * filters])
        quarters = self._transforms.spectrum(flat, self._transforms.second_twice)
        quarters = tf.reshape(quarters, [-1, 2, 2, self._transforms.tile_px, channels, filters])
        quarters = tf.transpose(quarters, [0, 1, 3, 5, 2, 4])
        return tf.reshape(quarters, [-1, 2, self._transforms.tile_px, filters, 2 * channels])

    def tile_outputs(self, tiles: tf.Tensor, prepared: tf.Tensor) -> tf.Tensor:
        """Correlates [T, T, tiles, channels] to [S, S, tiles, filters]."""
        return self._outputs(self._spectrum(tiles), prepared)

    def outputs(self, padded: tf.Tensor, prepared: tf.Tensor) -> tf.Tensor:
        """Correlates; see `Correlation.outputs`."""
        grid = _Grid.of_padded(padded, self._transforms.kernel_px)
        return grid.join(self.tile_outputs(grid.tiles(padded, self._transforms.tile_px), prepared))

    def image_gradient(self, upstream: tf.Tensor, prepared: tf.Tensor) -> tf.Tensor:
        """Differentiates; see `Correlation.image_gradient`."""
        return self.outputs(upstream, prepared)

    def gradients(self, image: tf.Tensor, upstream: tf.Tensor, prepared: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Differentiates; see `Correlation.gradients`.

        The kernel's gradient, turned, is the correlation of the upstream tiles with the image's S x S blocks, so that
        the tiles' spectrum serves both. That of the image is not kept from the forward pass: making it again costs less
        than the memory.
        """
        grid = _Grid.of_padded(upstream, self._transforms.kernel_px)
        spectrum = self._spectrum(grid.tiles(upstream, self._transforms.tile_px))
        blocks = self._spectrum(grid.tiles(image, FOURIER_OUTPUT_PX))
        return grid.join(self._outputs(spectrum, prepared)), self._kernel_gradient(spectrum, blocks)

    def _kernel_gradient(self, spectrum: tf.Tensor, blocks: tf.Tensor) -> tf.Tensor:
        """Sums U conj(X) over the tiles, for each pair of channels, and transforms it back."""
        size, side = self._transforms.kernel_px, self._transforms.tile_px
        channels, filters = blocks.shape[-1] // 2, spectrum.shape[-1] // 2
        # [v, u, re/im of X, channels, re/im of U, filters]
        pairs = tf.matmul(blocks, spectrum, transpose_a=True)
        pairs = tf.reshape(pairs, [-1, side, 2, channels, 2, filters])
        re = pairs[:, :, 0, :, 0] + pairs[:, :, 1, :, 1]
        im = pairs[:, :, 0, :, 1] - pairs[:, :, 1, :, 0]
        turned = self._transforms.inverse(tf.stack([re, im], axis=1), size)
        return tf.reverse(turned, [0, 1])

    def _spectrum(self, tiles: tf.Tensor) -> tf.Tensor:
        """Transforms tiles [side, side, tiles, channels] to [v, u, tiles, 2 channels]."""
        count, channels, side = tf.shape(tiles)[2], tiles.shape[3], self._transforms.tile_px
        spectrum = self._transforms.spectrum(tiles, self._transforms.second)
        spectrum = tf.transpose(tf.reshape(spectrum, [side // 2, 2, side, count, channels]), [0, 2, 3, 1, 4])
        return tf.reshape(spectrum, [side // 2, side, count, 2 * channels])

    def _outputs(self, spectrum: tf.Tensor, prepared: tf.Tensor) -> tf.Tensor:
        product = tf.matmul(spectrum[:, None], prepared, transpose_b=True)
        return self._transforms.inverse(product, FOURIER_OUTPUT_PX)


@dataclasses.dataclass(frozen=True, eq=False)
class _Transforms:
    """The matrices that transform a real T x T tile and back, each applied from the left.

    The first one goes along the tile's first axis, y, with frequencies v + 1/2, v from 0 to T / 2 - 1; the second one
    along x, with frequencies u from 0 to T - 1.

    Attributes:
        kernel_px: Side of the kernel.
        tile_px: T.
        first: [(v, re/im), y].
        second: [(re/im, u), re/im, x].
        second_twice: [((re, im), (-im, re), u), re/im, x].
        second_back: [re/im, x, (re/im, u)].
        first_back: [y, (v, re/im)].
    """

    kernel_px: int
    tile_px: int
    first: np.ndarray
    second: np.ndarray
    second_twice: np.ndarray
    second_back: np.ndarray
    first_back: np.ndarray

    @staticmethod
    @functools.cache
    def of(kernel_px: int) -> "_Transforms":
        """Makes the matrices for a kernel's size."""
        size = FOURIER_OUTPUT_PX + kernel_px - 1
        position = np.arange(size)
        angle_v = 2 * np.pi * np.outer(np.arange(size // 2) + 0.5, position) / size
        angle_u = 2 * np.pi * np.outer(position, position) / size
        cos_u, sin_u = np.cos(angle_u), np.sin(angle_u)
        first = np.stack([np.cos(angle_v), -np.sin(angle_v)], 1).reshape(size, size)
        # exp(-i angle) (re + i im): re' = cos re + sin im, im' = cos im - sin re
        re, im = np.stack([cos_u, sin_u], 1), np.stack([-sin_u, cos_u], 1)
        # Back, exp(i angle) (re + i im): re' = cos re - sin im, im' = cos im + sin re
        second_back = np.stack([np.concatenate([cos_u, -sin_u], 1), np.concatenate([sin_u, cos_u], 1)])
        return _Transforms(
            kernel_px=kernel_px,
            tile_px=size,
            first=first.astype(np.float32),
            second=np.concatenate([re, im]).astype(np.float32),
            second_twice=np.concatenate([re, im, -im, re]).astype(np.float32),
            second_back=(second_back / size).astype(np.float32),
            # Each frequency stands for its mirror image as well.
            first_back=(2 * first.T / size).astype(np.float32),
        )

    def spectrum(self, tiles: tf.Tensor, second: np.ndarray) -> tf.Tensor:
        """Transforms [side <= T, side, tiles, channels], zeros to the right and below.

        Returns:
            float32 [v, (re/im, u) as `second` has them, tiles x channels].
        """
        side = tiles.shape[0]
        half = tf.matmul(self.first[:, :side], tf.reshape(tiles, [side, -1]))
        matrix = second[:, :, :side].reshape(-1, 2 * side)
        return tf.matmul(matrix, tf.reshape(half, [self.tile_px // 2, 2 * side, -1]))

    def inverse(self, spectrum: tf.Tensor, side: int) -> tf.Tensor:
        """Transforms [v, re/im, u, tiles, channels] back to the first [side, side, tiles, channels]."""
        count, channels = tf.shape(spectrum)[3], spectrum.shape[4]
        matrix = self.second_back[:, :side].reshape(2 * side, -1)
        half = tf.matmul(matrix, tf.reshape(spectrum, [self.tile_px // 2, 2 * self.tile_px, -1]))
        tiles = tf.matmul(self.first_back[:side], tf.reshape(half, [self.tile_px, -1]))
        return tf.reshape(tiles, [side, side, count, channels])


@dataclasses.dataclass(frozen=True)
class _Grid:
    """Where the tiles of a batch lie.

    Attributes:
        batch: Images.
        height: Of the outputs, in px; int32 scalars, Python's where they are known.
        width: Likewise.
    """

    batch: Any
    height: Any
    width: Any

    @staticmethod
    def of_padded(padded: tf.Tensor, kernel_px: int) -> "_Grid":
        """Returns the grid of the outputs that lie wholly inside [batch, height, width, channels]."""
        dynamic = tf.shape(padded)
        batch, height, width = (dynamic[i] if n is None else n for i, n in enumerate(padded.shape[:3]))
        return _Grid(batch, height - kernel_px + 1, width - kernel_px + 1)

    def tiles(self, image: tf.Tensor, side: int) -> tf.Tensor:
        """Cuts [side, side, tiles, channels] from [batch, height, width, channels], zeros to the right and below."""
        rows, columns = self._along(self.height), self._along(self.width)
        height, width = (along * FOURIER_OUTPUT_PX + side - FOURIER_OUTPUT_PX for along in (rows, columns))
        shape = tf.shape(image)
        below, right = height - shape[1], width - shape[2]
        image = tf.cond(
            below + right > 0, lambda: tf.pad(image, [[0, 0], [0, below], [0, right], [0, 0]]), lambda: image
        )
        top = tf.range(self.batch)[:, None] * height + tf.range(rows) * FOURIER_OUTPUT_PX
        row = tf.range(side)[:, None, None] + top
        column = tf.range(side)[:, None] + tf.range(columns) * FOURIER_OUTPUT_PX
        channels = image.shape[3]
        # [side, side, batch, rows, columns]
        pixel = row[:, None, :, :, None] * width + column[None, :, None, None, :]
        return tf.reshape(tf.gather(tf.reshape(image, [-1, channels]), pixel), [side, side, -1, channels])

    def join(self, tiles: tf.Tensor) -> tf.Tensor:
        """Lays S x S tiles side by side: [batch, height, width, channels]."""
        side, channels = FOURIER_OUTPUT_PX, tiles.shape[3]
        rows, columns = self._along(self.height), self._along(self.width)
        tiles = tf.reshape(tiles, [side, side, self.batch, rows, columns, channels])
        shape = [self.batch, rows * side, columns * side, channels]
        return tf.reshape(tf.transpose(tiles, [2, 3, 0, 4, 1, 5]), shape)[:, : self.height, : self.width]

    def _along(self, size: Any) -> Any:
        return -(-size // FOURIER_OUTPUT_PX)
