"""Convolution with large kernels through real Fourier transforms, with its own exact gradient, in stock TensorFlow ops.

A block of the paper's network is one 9 x 9 convolution of many channels. Direct convolution takes 81 multiplications for
each pair of channels and pixel; through the transform of a tile it takes about 3.3. The transforms themselves are dense
matrices, so that every direction - output, gradient of the input, gradient of the kernel - is a few matrix products, for
which any machine has a fast library, while the convolutions' backward kernels are slow on CPUs.

How a tile is done (overlap-save): S x S outputs need T x T inputs, T = S + size of the kernel - 1. With X and W the
transforms of the tile and of the kernel, X conj(W) transforms back to their correlation, of which S x S values are free of
wrap-around. A real tile's transform is conjugate symmetric, so T x (T / 2 + 1) frequencies suffice. Complex numbers are
kept as pairs of real channels [re, im], and a complex product of channels is one real product with
[[re W, -im W], [im W, re W]].
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["fourier_conv2d", "fourier_multiplications"]

_OUTPUT_PX = 32  # S; measured against 24, 40 and 48 (BUILD_NOTES.md, "Fourier convolution")
_TILES_AT_ONCE = 128  # bounds the spectra in memory; fewer would read the kernel's spectrum too often


def fourier_conv2d(image: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Computes `tf.nn.conv2d(image, kernel, strides=1, padding="SAME")`, to rounding, and so its gradients.

    Args:
        image: float32 [batch, height, width, channels]; the channels must be known, the sizes need not be.
        kernel: float32 [size, size, channels, filters], of odd size; all known.

    Returns:
        float32 [batch, height, width, filters].

    Raises:
        ValueError: The kernel is not square and odd.
    """
    rows, columns, channels, filters = kernel.shape
    if rows != columns or rows % 2 == 0:
        raise ValueError(f"the kernel must be square and odd; found {rows} x {columns}")
    transforms = _Transforms.of(rows)

    @tf.custom_gradient  # type: ignore[misc]
    def convolve(image: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, object]:
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return _gradients(image, kernel, upstream, transforms)

        return _correlate(image, kernel, transforms), gradient

    return convolve(image, tf.ensure_shape(kernel, [rows, columns, channels, filters]))


def fourier_multiplications(kernel_px: int, channels: int, filters: int) -> float:
    """Returns how many multiplications `fourier_conv2d` takes for each pixel; direct, it is kernel_px^2 a pair."""
    side = _OUTPUT_PX + kernel_px - 1
    half = side // 2 + 1
    forward = side * 2 * half * side + 2 * side * 2 * side * half
    back = 2 * _OUTPUT_PX * 2 * side * half + _OUTPUT_PX * _OUTPUT_PX * 2 * half
    product = 4 * side * half
    return (forward * channels + back * filters + product * channels * filters) / _OUTPUT_PX**2


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

    def spectrum(self, tiles: tf.Tensor) -> tf.Tensor:
        """Transforms [tiles, side <= T, side, channels], zeros to the right and below, to [re/im, u, v] in the middle.

        Returns:
            float32 [tiles, 2, frequencies, channels].
        """
        spectrum = self._spectrum(tiles, self.columns)
        return tf.reshape(spectrum, [-1, 2, self.tile_px * (self.tile_px // 2 + 1), tiles.shape[3]])

    def _spectrum(self, tiles: tf.Tensor, columns: np.ndarray) -> tf.Tensor:
        side, channels = tiles.shape[1], tiles.shape[3]
        half = self.rows.shape[0] // 2
        by_row = tf.matmul(self.rows[:, :side], tf.reshape(tiles, [-1, side, channels]))
        return tf.matmul(columns[:, : 2 * side], tf.reshape(by_row, [-1, 2 * side, half * channels]))

    def inverse(self, spectrum: tf.Tensor, side: int) -> tf.Tensor:
        """Transforms back and keeps the first `side` rows and columns: [tiles, side, side, channels]."""
        channels = spectrum.shape[3]
        half = self.rows.shape[0] // 2
        by_row = tf.matmul(
            self.columns_back[: 2 * side], tf.reshape(spectrum, [-1, 2 * self.tile_px, half * channels])
        )
        tiles = tf.matmul(self.rows_back[:side], tf.reshape(by_row, [-1, 2 * half, channels]))
        return tf.reshape(tiles, [-1, side, side, channels])

    def channel_matrices(self, kernel: tf.Tensor, after: tf.Tensor) -> tf.Tensor:
        """Returns float32 [frequencies, 2 channels, 2 filters]: what multiplies a tile's spectrum [re, im].

        Made no earlier than `after`: else TensorFlow would make those of every layer and direction at a step's start.
        """
        size, _, channels, filters = kernel.shape
        with tf.control_dependencies([after]):
            kernel = tf.identity(kernel)
        flat = tf.reshape(kernel, [1, size, size, channels * filters])
        quarters = tf.reshape(self._spectrum(flat, self.columns_twice), [2, 2, -1, channels, filters])
        return tf.reshape(tf.transpose(quarters, [2, 0, 3, 1, 4]), [-1, 2 * channels, 2 * filters])


def _correlate(image: tf.Tensor, kernel: tf.Tensor, transforms: _Transforms) -> tf.Tensor:
    matrices = transforms.channel_matrices(kernel, after=image)
    strips = _Strips.of(image, transforms.kernel_px // 2)

    def convolve(first: tf.Tensor, last: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        spectrum = _by_frequency(transforms.spectrum(strips.tiles(first, last, transforms.tile_px)))
        return strips.join(transforms.inverse(_by_tile(tf.matmul(spectrum, matrices)), _OUTPUT_PX)), tf.zeros([])

    return strips.map(convolve)[0]


def _gradients(
    image: tf.Tensor, kernel: tf.Tensor, upstream: tf.Tensor, transforms: _Transforms
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the gradients of the image and of the kernel.

    That of the image is the correlation of the upstream gradient with the kernel turned by 180 degrees. That of the
    kernel, turned likewise, is the correlation of the upstream tiles with the image's S x S blocks. Both need the
    spectrum of the upstream tiles. Nothing is kept from the forward pass: a transform is cheaper than the memory.
    """
    size, _, channels, filters = kernel.shape
    turned = tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])
    matrices = transforms.channel_matrices(turned, after=upstream)
    image_strips, upstream_strips = _Strips.of(image, 0), _Strips.of(upstream, size // 2)

    def differentiate(first: tf.Tensor, last: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        spectrum = _by_frequency(transforms.spectrum(upstream_strips.tiles(first, last, transforms.tile_px)))
        tiles = transforms.inverse(_by_tile(tf.matmul(spectrum, matrices)), _OUTPUT_PX)
        blocks = _by_frequency(transforms.spectrum(image_strips.tiles(first, last, _OUTPUT_PX)))
        return upstream_strips.join(tiles), tf.matmul(blocks, spectrum, transpose_a=True)

    image_gradient, products = upstream_strips.map(differentiate)
    re = products[:, :channels, :filters] + products[:, channels:, filters:]
    im = products[:, :channels, filters:] - products[:, channels:, :filters]
    flat = tf.reshape(tf.stack([re, im]), [1, 2, -1, channels * filters])
    kernel_gradient = tf.reshape(transforms.inverse(flat, size), [size, size, channels, filters])
    return image_gradient, tf.reverse(kernel_gradient, [0, 1])


@dataclasses.dataclass(frozen=True)
class _Strips:
    """A batch of images cut into strips, each one row of S x S tiles, and these into chunks that fit the memory.

    Attributes:
        pixels: float32 [padded pixels of the batch, channels].
        shape: Of the images: batch, height, width; int32 scalars, Python's where they are known.
        padded: Height and width with their padding.
    """

    pixels: tf.Tensor
    shape: tuple[Any, Any, Any]
    padded: tuple[Any, Any]

    @staticmethod
    def of(image: tf.Tensor, margin: int) -> "_Strips":
        """Pads [batch, height, width, channels] by `margin` on every side, and to whole tiles to the right and below."""
        dynamic = tf.shape(image)
        batch, height, width = (dynamic[i] if n is None else n for i, n in enumerate(image.shape[:3]))
        more_rows, more_columns = -height % _OUTPUT_PX, -width % _OUTPUT_PX
        padding = [[0, 0], [margin, margin + more_rows], [margin, margin + more_columns], [0, 0]]
        padded = (height + more_rows + 2 * margin, width + more_columns + 2 * margin)
        return _Strips(tf.reshape(tf.pad(image, padding), [-1, image.shape[3]]), (batch, height, width), padded)

    @property
    def _rows(self) -> Any:
        return -(-self.shape[1] // _OUTPUT_PX)

    @property
    def _columns(self) -> Any:
        return -(-self.shape[2] // _OUTPUT_PX)

    def tiles(self, first: tf.Tensor, last: tf.Tensor, side: int) -> tf.Tensor:
        """Cuts the tiles of the strips from `first` to before `last`: [tiles, side, side, channels]."""
        strip = tf.range(first, last)
        height, width = self.padded
        top = strip // self._rows * height + strip % self._rows * _OUTPUT_PX
        left = tf.range(self._columns) * _OUTPUT_PX
        row = top[:, None, None, None] + tf.range(side)[:, None]
        column = left[:, None, None] + tf.range(side)
        return tf.reshape(tf.gather(self.pixels, row * width + column), [-1, side, side, self.pixels.shape[1]])

    def join(self, tiles: tf.Tensor) -> tf.Tensor:
        """Lays the S x S outputs of whole strips side by side: [strips, S, width, channels]."""
        channels = tiles.shape[3]
        tiles = tf.reshape(tiles, [-1, self._columns, _OUTPUT_PX, _OUTPUT_PX, channels])
        strips = tf.reshape(
            tf.transpose(tiles, [0, 2, 1, 3, 4]), [-1, _OUTPUT_PX, self._columns * _OUTPUT_PX, channels]
        )
        return strips[:, :, : self.shape[2]]

    def map(self, of_strips: Callable[[Any, Any], tuple[tf.Tensor, tf.Tensor]]) -> tuple[tf.Tensor, tf.Tensor]:
        """Maps chunks of strips to joined outputs and an addend, in order.

        Returns:
            The images of the outputs, [batch, height, width, filters], and the sum of the addends.
        """
        batch, height, width = self.shape
        count = batch * self._rows
        at_once = tf.maximum(_TILES_AT_ONCE // self._columns, 1)
        if tf.get_static_value(tf.convert_to_tensor(count <= at_once)):
            strips, total = of_strips(0, count)
        else:
            first_strips, first_total = of_strips(0, tf.minimum(at_once, count))
            chunks = -(-count // at_once)
            kept = tf.TensorArray(tf.float32, chunks, element_shape=[None, *first_strips.shape[1:]], infer_shape=False)

            def step(chunk: tf.Tensor, kept: tf.TensorArray, total: tf.Tensor) -> tuple[Any, ...]:
                first = chunk * at_once
                strips, addend = of_strips(first, tf.minimum(first + at_once, count))
                return chunk + 1, kept.write(chunk, strips), total + addend

            _, kept, total = tf.while_loop(
                lambda chunk, *_: chunk < chunks, step, (1, kept.write(0, first_strips), first_total), parallel_iterations=1
            )
            strips = kept.concat()
        channels = strips.shape[3]
        return tf.reshape(strips, [batch, self._rows * _OUTPUT_PX, width, channels])[:, :height], total


def _by_frequency(spectrum: tf.Tensor) -> tf.Tensor:
    """[tiles, 2, frequencies, channels] to [frequencies, tiles, 2 channels]."""
    _, _, frequencies, channels = spectrum.shape
    return tf.reshape(tf.transpose(spectrum, [2, 0, 1, 3]), [frequencies, -1, 2 * channels])


def _by_tile(spectrum: tf.Tensor) -> tf.Tensor:
    """[frequencies, tiles, 2 channels] to [tiles, 2, frequencies, channels]."""
    frequencies, _, channels = spectrum.shape
    return tf.transpose(tf.reshape(spectrum, [frequencies, -1, 2, channels // 2]), [1, 2, 0, 3])
