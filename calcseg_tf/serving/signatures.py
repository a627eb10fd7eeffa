"""The SavedModel's signatures, made of stock TensorFlow operations alone."""

import contextlib
import io
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from calcseg_tf.inference.choosing import full_resolution
from calcseg_tf.models import ModelConfig
from calcseg_tf.probability_map import FULL_SCALE
from calcseg_tf.serving.checks import check_intensities, check_png, check_tile_places
from calcseg_tf.serving.contract import (
    METADATA,
    PREDICT_PNG,
    PREDICT_TILES,
    PROBABILITY,
    PROBABILITY_BYTES,
    SERVING_DEFAULT,
    Signature,
    TileGeometry,
    signatures,
)

__all__ = ["ServedModel", "decode_intensity", "save_model"]


class ServedModel(tf.Module):
    """A network with the functions that a server calls.

    Attributes:
        tiles: How an image is cut for `predict_tiles`.
        functions: By the names of their signatures.
    """

    def __init__(self, network: keras.Model, config: ModelConfig, metadata: str = "") -> None:
        super().__init__()
        self.tiles = TileGeometry.of(config)
        # Tracked, so that they are saved; the network itself would bring along a graph of each layer, twice the file.
        self._variables = network.variables
        self._metadata = metadata
        way = full_resolution(network, config)
        image = tf.TensorSpec([None, None, None, 1], tf.float32)
        # Traced once, though two places call each.
        self._probability = _graph(lambda image: tf.sigmoid(way.whole(image)), [image])
        # As the layers have it, for runtimes that know no loop of changing shapes.
        self._window = _graph(lambda image: tf.sigmoid(network(image, training=False)), [image])
        methods: dict[str, Callable[..., Any]] = {
            SERVING_DEFAULT: self.predict,
            PREDICT_PNG: self.predict_png,
            PREDICT_TILES: self.predict_tiles,
            METADATA: self.metadata,
        }
        forms = signatures(self.tiles)
        self.functions = {name: _graph(call, _input_signature(forms[name])) for name, call in methods.items()}

    def predict(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps intensities in [0, 1] to probabilities of the same shape; only input and output grow with the image.

        Args:
            image: float32 [batch, height, width, 1].
        """
        return {PROBABILITY: self._probability(check_intensities(image))}

    def predict_png(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps 16-bit greyscale PNGs, each of any size, to PNGs that hold round(probability x 65535).

        Full scale is 65535. Where an sBIT chunk (PNG 1.2, 11.3.3.4) directly behind the header tells that b bits are
        significant, samples round(stored x 65535 / (2^b - 1)) are taken back to exactly stored / (2^b - 1).

        Args:
            image_bytes: string [batch].
        """
        encoded = tf.map_fn(
            lambda one: self._predict_png(*one),
            (image_bytes, tf.range(tf.size(image_bytes))),
            fn_output_signature=tf.string,
            parallel_iterations=1,
        )
        return {PROBABILITY_BYTES: encoded}

    def predict_tiles(self, image: tf.Tensor, origin: tf.Tensor, size: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps windows of one size to their tiles, for servers that batch: exactly what the whole image would give.

        Args:
            image: float32 [batch, window, window, 1] in [0, 1]: the tile with its halo; 0 where the image has ended.
            origin: int32 [batch, 2], (row, column) of the tile's first pixel, without halo, in its whole image; a
                multiple of `origin_multiple_px`.
            size: int32 [batch, 2], (height, width) of the whole image. The network pads with zeros where the image
                truly ends, and only there: origin and size tell where that is.

        Returns:
            float32 [batch, tile, tile, 1]; 0 where the image has ended.
        """
        tile = self.tiles.tile_px
        image = check_intensities(image, self.tiles.window_px)
        origin = check_tile_places(origin, size, tf.shape(image)[0], self.tiles.origin_multiple_px)
        # One after the other: a batch takes no more memory than a window.
        probability = tf.map_fn(
            lambda one: self._tile(*one),
            (image, origin, size),
            fn_output_signature=tf.TensorSpec([tile, tile, 1], tf.float32),
            parallel_iterations=1,
        )
        return {PROBABILITY: tf.ensure_shape(probability, [None, tile, tile, 1])}

    def metadata(self, client: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the text of `metadata.json` once an element; batching servers refuse signatures without an input.

        Args:
            client: string [batch], any text.
        """
        return {METADATA: tf.fill(tf.shape(client), self._metadata)}

    def _predict_png(self, image_bytes: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        intensity = decode_intensity(image_bytes, index)
        probability = self._probability(intensity[None])
        return tf.io.encode_png(tf.cast(tf.round(probability[0] * FULL_SCALE), tf.uint16), compression=1)

    def _tile(self, window: tf.Tensor, origin: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        """Predicts one tile, float32 [tile, tile, 1], from the part of its window that the image covers."""
        tile, halo = self.tiles.tile_px, self.tiles.halo_px
        begin = tf.maximum(halo - origin, 0)
        end = tf.minimum(size - origin + halo, self.tiles.window_px)
        seen = window[begin[0] : end[0], begin[1] : end[1]]
        first, shown = halo - begin, tf.minimum(size - origin, tile)
        probability = self._window(seen[None])[0, first[0] : first[0] + shown[0], first[1] : first[1] + shown[1]]
        return tf.pad(probability, [[0, tile - shown[0]], [0, tile - shown[1]], [0, 0]])


def save_model(served: ServedModel, directory: pathlib.Path) -> None:
    """Saves a model with its signatures into a new folder.

    Args:
        served: The network and its functions.
        directory: Receives `saved_model.pb` and the variables.
    """
    # Where SIGTERM meets it TensorFlow prints a traceback, and raises all the same.
    with contextlib.redirect_stderr(io.StringIO()):
        tf.saved_model.save(served, str(directory), signatures=served.functions)


def decode_intensity(image_bytes: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG as `ServedModel.predict_png` takes it.

    Args:
        image_bytes: string scalar.
        index: int32 scalar, its place in the request, for messages.

    Returns:
        float32 [height, width, 1] in [0, 1].
    """
    image_bytes, bits = check_png(image_bytes, index)
    sample = tf.cast(tf.io.decode_png(image_bytes, channels=1, dtype=tf.uint16), tf.float32)
    # Of 16 bits too: by a constant, TensorFlow would multiply instead of dividing, and round otherwise.
    return _exact_intensity(sample, tf.bitwise.left_shift(1, bits) - 1)


def _exact_intensity(sample: tf.Tensor, full_scale: tf.Tensor) -> tf.Tensor:
    """Takes samples of full scale 65535 back to the multiples of 1 / full_scale that they were rounded from.

    A sample that no such multiple rounds to (another program's idea of sBIT) keeps its own intensity.
    """
    full_scale = tf.cast(full_scale, tf.float32)
    stored = tf.round(sample * (full_scale / FULL_SCALE))
    is_rounded = tf.abs(stored * (FULL_SCALE / full_scale) - sample) < 0.55  # half a step, and rounding to float32
    return tf.where(is_rounded, stored / full_scale, sample / FULL_SCALE)


def _graph(function: Callable[..., Any], signature: list[tf.TensorSpec]) -> Any:
    """Makes a graph; no branch here is Python's, and AutoGraph, which looks for them, takes most of the time."""
    return tf.function(function, signature, autograph=False)


def _input_signature(signature: Signature) -> list[tf.TensorSpec]:
    return [tf.TensorSpec(form.shape, form.dtype, name) for name, form in signature.inputs.items()]
