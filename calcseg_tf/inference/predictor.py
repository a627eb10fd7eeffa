"""A model directory turned into a function from intensities to probabilities."""

import pathlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from calcseg_tf.inference.tiling import DEFAULT_TILE_SIZE, TiledNetwork
from calcseg_tf.model_directory import ModelInfo, load_network

__all__ = ["Predictor"]


class Predictor:
    """Predicts whole mammograms at full resolution, in bounded memory; exactly, but for `ModelConfig.fixed_tile_px`.

    Attributes:
        info: What the model directory's `config.json` holds.
    """

    def __init__(self, network: keras.Model, info: ModelInfo, tile_size: int = DEFAULT_TILE_SIZE) -> None:
        self.info = info
        self._tiles = TiledNetwork.of(lambda image: network(image, training=False), info.model, tile_size)
        self._band = tf.function(
            lambda image, air, top: tf.sigmoid(self._tiles.band(image, air, top)),
            input_signature=[
                tf.TensorSpec([1, None, None, 1], tf.float32),
                tf.TensorSpec([None, None], tf.float32),
                tf.TensorSpec([], tf.int32),
            ],
        )

    @classmethod
    def load(cls, model_dir: pathlib.Path, tile_size: int = DEFAULT_TILE_SIZE) -> "Predictor":
        """Loads a model directory.

        Raises:
            InputError: See `load_network`.
        """
        network, info = load_network(model_dir)
        return cls(network, info, tile_size)

    def at_threshold(self, threshold: float | None) -> "Predictor":
        """Sets the operating threshold that `info` tells, where one is given; returns itself.

        Raises:
            InputError: Not between 0 and 1.
        """
        self.info = self.info.at_threshold(threshold)
        return self

    def probability(self, intensity: np.ndarray, progress: Callable[[int], None] = lambda _: None) -> np.ndarray:
        """Returns float32 [height, width] in [0, 1], the probability that a pixel is part of a calcification.

        Args:
            intensity: float32 [height, width] in [0, 1].
            progress: Called with the number of rows done since the last call.
        """
        image = tf.constant(intensity[None, :, :, None], tf.float32)
        air = self._tiles.air(tf.shape(image)[1:3])
        result = np.empty(intensity.shape, np.float32)
        for top in range(0, len(intensity), self._tiles.tile_size):
            rows = self._band(image, air, tf.constant(top)).numpy()[0, :, :, 0]
            result[top : top + len(rows)] = rows
            progress(len(rows))
        return result
