"""A network's convolutions as the engine applies them: batch norm folded in, and each in the way that is fastest."""

import abc
import dataclasses
from collections.abc import Sequence

import keras
import tensorflow as tf

from calcseg_tf.models.fourier import FOURIER_OUTPUT_PX, Fourier
from calcseg_tf.models.normalization import BatchNormalization
from calcseg_tf.models.parallel_conv import ParallelConv2D

__all__ = ["Stage", "stages_of"]

Tensors = tuple[tf.Tensor, ...]


class Stage(abc.ABC):
    """A convolution with all that follows it up to the next, on cells of S x S px.

    Features of cells are laid pixel by pixel, float32 [S, S, cells, channels], as Fourier's products want them.

    Attributes:
        reach: How far an output pixel sees in each direction, px.
        channels: Of what it takes from `project`.
        cell_px: The only S it works with, or None where it takes any.
    """

    cell_px: int | None = None

    def __init__(self, folded: "_Folded") -> None:
        self._folded = folded
        self.reach = folded.layer.reach
        self.channels = folded.layer.kernels[0].shape[2]

    def prepare(self) -> Tensors:
        """Returns what depends on the weights alone."""
        return self._folded.merged_kernel_and_bias()

    def project(self, features: tf.Tensor, prepared: Tensors) -> tf.Tensor:
        """Does what needs no neighbours: the features before to [S, S, cells, channels]."""
        return features

    @abc.abstractmethod
    def apply(self, pixels: tf.Tensor, index: tf.Tensor, prepared: Tensors) -> tf.Tensor:
        """Does the rest.

        Args:
            pixels: [count, channels], some of them the projected cells.
            index: int32 [S + 2 reach, S + 2 reach, cells], the pixels that each cell sees.
            prepared: What `prepare` returned.

        Returns:
            Features [S, S, cells, filters].
        """


def stages_of(layers: Sequence[keras.layers.Layer]) -> tuple[Stage, ...]:
    """Returns the stages of a chain of parallel convolutions, each with or without batch norm and ReLU after it.

    Raises:
        ValueError: A layer that is none of these, or at a wrong place.
    """
    stages: list[Stage] = []
    rest = list(layers)
    while rest:
        layer = rest.pop(0)
        if not isinstance(layer, ParallelConv2D):
            raise ValueError(f"the engine wants a convolution; found layer {layer.name}")
        norm = rest.pop(0) if rest and isinstance(rest[0], BatchNormalization) else None
        relu = bool(rest) and isinstance(rest[0], keras.layers.ReLU)
        if relu:
            rest.pop(0)
        stages.append(_stage(_Folded(layer, norm, relu)))
    return tuple(stages)


@dataclasses.dataclass(frozen=True, eq=False)
class _Folded:
    """A convolution, and what follows it."""

    layer: ParallelConv2D
    norm: BatchNormalization | None
    relu: bool

    def kernels_and_bias(self) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Returns the kernels, by size, and the bias, with batch norm's moving statistics folded into both."""
        if self.norm is None:
            return [tf.identity(kernel) for kernel in self.layer.kernels], tf.identity(self.layer.bias)
        scale = self.norm.gamma * tf.math.rsqrt(self.norm.moving_variance + self.norm.epsilon)
        scales = tf.split(scale, len(self.layer.kernels))
        bias = (self.layer.bias - self.norm.moving_mean) * scale + self.norm.beta
        return [kernel * part for kernel, part in zip(self.layer.kernels, scales, strict=True)], bias

    def merged_kernel_and_bias(self) -> Tensors:
        """Returns the kernels side by side, and the bias."""
        kernels, bias = self.kernels_and_bias()
        return self.layer.merged(kernels), bias

    def activated(self, outputs: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        """Adds the bias, and rectifies."""
        outputs = tf.nn.bias_add(outputs, bias)
        return tf.nn.relu(outputs) if self.relu else outputs


def _stage(folded: _Folded) -> Stage:
    way = folded.layer.way(tf.float32, training=False)
    kinds: dict[str, type[Stage]] = {
        "fourier": _FourierStage,
        "shifted": _ShiftedStage,
        "merged": _MergedStage,
        "separate": _SeparateStage,
    }
    return kinds[way](folded)


class _FourierStage(Stage):
    """Through transforms of the cells."""

    cell_px = FOURIER_OUTPUT_PX

    def __init__(self, folded: _Folded) -> None:
        super().__init__(folded)
        self._fourier = Fourier(2 * self.reach + 1)

    def prepare(self) -> Tensors:
        kernel, bias = super().prepare()
        return self._fourier.prepare(kernel), bias

    def apply(self, pixels: tf.Tensor, index: tf.Tensor, prepared: Tensors) -> tf.Tensor:
        kernel, bias = prepared
        return self._folded.activated(self._fourier.tile_outputs(tf.gather(pixels, index), kernel), bias)


class _MergedStage(Stage):
    """One convolution."""

    def apply(self, pixels: tf.Tensor, index: tf.Tensor, prepared: Tensors) -> tf.Tensor:
        kernel, bias = prepared
        tiles = tf.gather(pixels, tf.transpose(index, [2, 0, 1]))
        outputs = tf.nn.conv2d(tiles, kernel, strides=1, padding="VALID")
        return tf.transpose(self._folded.activated(outputs, bias), [1, 2, 0, 3])


class _SeparateStage(Stage):
    """A convolution for each size of kernel."""

    def prepare(self) -> Tensors:
        kernels, bias = self._folded.kernels_and_bias()
        return *kernels, bias

    def apply(self, pixels: tf.Tensor, index: tf.Tensor, prepared: Tensors) -> tf.Tensor:
        *kernels, bias = prepared
        tiles = tf.gather(pixels, tf.transpose(index, [2, 0, 1]))
        outputs = [self._convolved(tiles, kernel) for kernel in kernels]
        together = tf.concat(outputs, axis=-1) if len(outputs) > 1 else outputs[0]
        return tf.transpose(self._folded.activated(together, bias), [1, 2, 0, 3])

    def _convolved(self, tiles: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        margin = self.reach - kernel.shape[0] // 2
        side = tf.shape(tiles)[1]
        inner = tiles[:, margin : side - margin, margin : side - margin]
        return tf.nn.conv2d(inner, kernel, strides=1, padding="VALID")


class _ShiftedStage(Stage):
    """One filter: what a pixel adds to each of its neighbours needs no neighbours; then shifted maps are summed."""

    def __init__(self, folded: _Folded) -> None:
        super().__init__(folded)
        self._size = 2 * self.reach + 1
        self.channels = self._size**2

    def prepare(self) -> Tensors:
        kernel, bias = super().prepare()
        return tf.transpose(tf.reshape(kernel, [self._size**2, -1])), bias

    def project(self, features: tf.Tensor, prepared: Tensors) -> tf.Tensor:
        weights, _ = prepared
        shape = tf.shape(features)
        maps = tf.matmul(tf.reshape(features, [-1, weights.shape[0]]), weights)
        return tf.reshape(maps, [shape[0], shape[1], shape[2], self.channels])

    def apply(self, pixels: tf.Tensor, index: tf.Tensor, prepared: Tensors) -> tf.Tensor:
        _, bias = prepared
        maps = tf.unstack(tf.transpose(tf.gather(pixels, index), [3, 0, 1, 2]), num=self.channels)
        side = tf.shape(index)[0] - 2 * self.reach
        places = [(row, column) for row in range(self._size) for column in range(self._size)]
        parts = [part[y : y + side, x : x + side] for part, (y, x) in zip(maps, places, strict=True)]
        return self._folded.activated(tf.add_n(parts)[..., None], bias)
