"""Correlation with large kernels by real Fourier transforms of tiles, as matrix products in stock TensorFlow ops.

A block of the paper's network is one 9 x 9 convolution of many channels. Direct convolution takes 81 multiplications
for each pair of channels and pixel; through the transform of a tile it takes about 3.3. The transforms themselves are
dense matrices, so that every direction - output, gradient of the input, gradient of the kernel - is a few matrix
products, for which any machine has a fast library, while the convolutions' backward kernels are slow on CPUs.

How a tile is done (overlap-save): S x S outputs need T x T inputs, T = S + size of the kernel - 1. With X and W the
transforms of the tile and of the kernel, X conj(W) transforms back to their correlation, of which S x S values are free
of wrap-around. A real tile's transform is conjugate symmetric, so T x (T / 2 + 1) frequencies suffice. Complex numbers
are kept as pairs of real channels [re, im], and a complex product of channels is one real product with
[[re W, -im W], [im W, re W]].
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["Fourier", "fourier_multiplications"]

_OUTPUT_PX = 32  # S; measured against 24, 40 and 48 (BUILD_NOTES.md, "Fourier convolution")


def fourier_multiplications(kernel_px: int, channels: int, filters: int) -> float:
    """Returns how many multiplications `Fourier.outputs` takes for each pixel; direct, it is kernel_px^2 a pair."""
    side = _OUTPUT_PX + kernel_px - 1
    half = side // 2 + 1
    forward = side * 2 * half * side + 2 * side * 2 * side * half
    back = 2 * _OUTPUT_PX * 2 * side * half + _OUTPUT_PX * _OUTPUT_PX * 2 * half
    product = 4 * side * half
    return (forward * channels + back * filters + product * channels * filters) / _OUTPUT_PX**2


class Fourier:
    """A `calcseg_tf.models.convolution.Correlation` through transforms of tiles; float32 only."""

    def __init__(self, kernel_px: int) -> None:
        self._transforms = _Transforms.of(kernel_px)

    def prepare(self, kernel: tf.Tensor) -> tf.Tensor:
        """Returns float32 [frequencies, 2 channels, 2 filters]: what multiplies a tile's spectrum [re, im]."""
        size, _, channels, filters = kernel.shape
        flat = tf.reshape(kernel, [1, size, size, channels * filters])
        quarters = self._transforms.spectrum(flat, self._transforms.columns_twice)
        quarters = tf.reshape(quarters, [2, 2, -1, channels, filters])
        return tf.reshape(tf.transpose(quarters, [2, 0, 3, 1, 4]), [-1, 2 * channels, 2 * filters])

    def outputs(self, padded: tf.Tensor, prepared: tf.Tensor) -> tf.Tensor:
        """Correlates; see `Correlation.outputs`."""
        grid = _Grid.of_padded(padded, self._transforms.kernel_px)
        return self._outputs(self._spectrum(grid.tiles(padded, self._transforms.tile_px)), prepared, grid)

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
        return self._outputs(spectrum, prepared, grid), self._kernel_gradient(spectrum, grid.tiles(image, _OUTPUT_PX))

    def _kernel_gradient(self, spectrum: tf.Tensor, blocks: tf.Tensor) -> tf.Tensor:
        """Sums U conj(X) over the tiles, for each pair of channels, and transforms it back."""
        size = self._transforms.kernel_px
        frequencies, channels, filters = spectrum.shape[0], blocks.shape[3], spectrum.shape[2] // 2
        # Tiles and [re, im] of U are summed over alike: [[re X, -im X], [im X, re X]] makes it one product.
        quarters = self._transforms.spectrum(blocks, self._transforms.columns_twice)
        quarters = tf.transpose(tf.reshape(quarters, [-1, 2, 2, frequencies, channels]), [3, 0, 1, 2, 4])
        quarters = tf.reshape(quarters, [frequencies, -1, 2 * channels])
        product = tf.matmul(quarters, tf.reshape(spectrum, [frequencies, -1, filters]), transpose_a=True)
        product = tf.transpose(tf.reshape(product, [frequencies, 2, channels * filters]), [1, 0, 2])
        turned = self._transforms.inverse(product[None], size)
        return tf.reverse(tf.reshape(turned, [size, size, channels, filters]), [0, 1])

    def _spectrum(self, tiles: tf.Tensor) -> tf.Tensor:
        """Transforms tiles to [frequencies, tiles, 2 channels]."""
        channels = tiles.shape[3]
        frequencies = self._transforms.tile_px * (self._transforms.tile_px // 2 + 1)
        spectrum = self._transforms.spectrum(tiles, self._transforms.columns)
        spectrum = tf.transpose(tf.reshape(spectrum, [-1, 2, frequencies, channels]), [2, 0, 1, 3])
        return tf.reshape(spectrum, [frequencies, -1, 2 * channels])

    def _outputs(self, spectrum: tf.Tensor, prepared: tf.Tensor, grid: "_Grid") -> tf.Tensor:
        product = tf.matmul(spectrum, prepared)
        frequencies, _, channels = product.shape
        product = tf.transpose(tf.reshape(product, [frequencies, -1, 2, channels // 2]), [1, 2, 0, 3])
        return grid.join(self._transforms.inverse(product, _OUTPUT_PX))


@dataclasses.dataclass(frozen=True, eq=False)
class _Transforms:
    """The matrices that transform a real T x T tile and back, each applied from the left.

    With v the frequency along a row (0 to T / 2) and u that along a column (0 to T - 1):

    Attributes:
        kernel_px: Side of the kernel.
        tile_px: T.
        rows: [(re/im, v), x].
        columns: [(re/im, u), (y, re/im)].
        columns_twice: [(re, -im, im, re), u), (y, re/im)].
        columns_back: [(y, re/im), (re/im, u)].
        rows_back: [x, (re/im, v)].
    """

    kernel_px: int
    tile_px: int
    rows: np.ndarray
    columns: np.ndarray
    columns_twice: np.ndarray
    columns_back: np.ndarray
    rows_back: np.ndarray

    @staticmethod
    @functools.cache
    def of(kernel_px: int) -> "_Transforms":
        """Makes the matrices for a kernel's size."""
        size = _OUTPUT_PX + kernel_px - 1
        half = size // 2 + 1
        position = np.arange(size)
        angle_v = 2 * np.pi * np.outer(np.arange(half), position) / size
        angle_u = 2 * np.pi * np.outer(position, position) / size
        cos_u, sin_u = np.cos(angle_u), np.sin(angle_u)
        # exp(-i angle) (re + i im): re' = cos re + sin im, im' = cos im - sin re
        columns = np.stack([np.stack([cos_u, sin_u], 2), np.stack([-sin_u, cos_u], 2)])
        columns_twice = np.stack([columns[0], -columns[1], columns[1], columns[0]])
        columns_back = np.stack([np.stack([cos_u, -sin_u], 1), np.stack([sin_u, cos_u], 1)], 1)
        # Each v but 0 and T / 2 stands for its mirror image as well.
        weight = np.where((np.arange(half) == 0) | (2 * np.arange(half) == size), 1.0, 2.0)[:, None]
        rows_back = np.concatenate([np.cos(angle_v) * weight, -np.sin(angle_v) * weight]).T
        return _Transforms(
            kernel_px=kernel_px,
            tile_px=size,
            rows=np.concatenate([np.cos(angle_v), -np.sin(angle_v)]).astype(np.float32),
            columns=columns.reshape(2 * size, 2 * size).astype(np.float32),
            columns_twice=columns_twice.reshape(4 * size, 2 * size).astype(np.float32),
            columns_back=(columns_back.reshape(2 * size, 2 * size) / size).astype(np.float32),
            rows_back=(rows_back / size).astype(np.float32),
        )

    def spectrum(self, tiles: tf.Tensor, columns: np.ndarray) -> tf.Tensor:
        """Transforms [tiles, side <= T, side, channels], zeros to the right and below.

        Returns:
            float32 [tiles, (re/im, u) as `columns` has them, (v, channels)].
        """
        side, channels = tiles.shape[1], tiles.shape[3]
        half = self.rows.shape[0] // 2
        by_row = tf.matmul(self.rows[:, :side], tf.reshape(tiles, [-1, side, channels]))
        return tf.matmul(columns[:, : 2 * side], tf.reshape(by_row, [-1, 2 * side, half * channels]))

    def inverse(self, spectrum: tf.Tensor, side: int) -> tf.Tensor:
        """Transforms [tiles, 2, frequencies, channels] back to the first [tiles, side, side, channels]."""
        channels = spectrum.shape[3]
        half = self.rows.shape[0] // 2
        by_row = tf.matmul(self.columns_back[: 2 * side], tf.reshape(spectrum, [-1, 2 * self.tile_px, half * channels]))
        tiles = tf.matmul(self.rows_back[:side], tf.reshape(by_row, [-1, 2 * half, channels]))
        return tf.reshape(tiles, [-1, side, side, channels])


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
        """Cuts [tiles, side, side, channels] from [batch, height, width, channels], zeros to the right and below."""
        height, width = (self._along(size) * _OUTPUT_PX + side - _OUTPUT_PX for size in (self.height, self.width))
        shape = tf.shape(image)
        below, right = height - shape[1], width - shape[2]
        image = tf.cond(
            below + right > 0, lambda: tf.pad(image, [[0, 0], [0, below], [0, right], [0, 0]]), lambda: image
        )
        top = tf.range(self.batch)[:, None] * height + tf.range(self._along(self.height)) * _OUTPUT_PX
        left = tf.range(self._along(self.width)) * _OUTPUT_PX
        row = top[:, :, None, None, None] + tf.range(side)[:, None]
        column = left[:, None, None] + tf.range(side)
        channels = image.shape[3]
        return tf.reshape(
            tf.gather(tf.reshape(image, [-1, channels]), row * width + column), [-1, side, side, channels]
        )

    def join(self, tiles: tf.Tensor) -> tf.Tensor:
        """Lays S x S tiles side by side: [batch, height, width, channels]."""
        channels = tiles.shape[3]
        rows, columns = self._along(self.height), self._along(self.width)
        tiles = tf.reshape(tiles, [self.batch, rows, columns, _OUTPUT_PX, _OUTPUT_PX, channels])
        shape = [self.batch, rows * _OUTPUT_PX, columns * _OUTPUT_PX, channels]
        return tf.reshape(tf.transpose(tiles, [0, 1, 3, 2, 4, 5]), shape)[:, : self.height, : self.width]

    def _along(self, size: Any) -> Any:
        return -(-size // _OUTPUT_PX)
