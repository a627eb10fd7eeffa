"""A model directory turned into a function from intensities to probabilities."""

import functools
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from calcseg_tf.inference.choosing import full_resolution
from calcseg_tf.model_directory import ModelInfo, load_network

__all__ = ["Predictor"]


class Predictor:
    """Predicts whole mammograms at full resolution, in bounded memory; exactly, but for `ModelConfig.fixed_tile_px`.

    Attributes:
        info: What the model directory's `config.json` holds.
    """

    def __init__(self, network: keras.Model, info: ModelInfo) -> None:
        self.info = info
        self._way = way = full_resolution(network, info.model)
        # Traced once, for any size; TensorFlow would compile the step anew for each shape that it meets. AutoGraph only
        # takes time: no Python branch in here is a tensor's.
        graph = functools.partial(tf.function, autograph=False)
        self._plan = graph(
            way.plan, input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32)]
        ).get_concrete_function()
        plan = tf.nest.map_structure(_spec, self._plan.structured_outputs)
        state = tf.nest.map_structure(
            lambda tensor, shape: tf.TensorSpec(shape, tensor.dtype), way.begin(), way.state_shapes()
        )
        parts = tf.TensorSpec(way.part_shape, tf.float32)
        self._step = graph(way.step, input_signature=[plan, state])
        self._answer = graph(lambda plan, parts: tf.sigmoid(way.assemble(plan, parts)), input_signature=[plan, parts])

    @classmethod
    def load(cls, model_dir: pathlib.Path) -> "Predictor":
        """Loads a model directory; from then on this process computes in whole float32.

        Raises:
            InputError: See `load_network`.
        """
        # On GPUs from Ampere on TensorFlow's default keeps 10 of float32's 23 bits in convolutions: no exact answer.
        tf.config.experimental.enable_tensor_float_32_execution(False)
        network, info = load_network(model_dir)
        return cls(network, info)

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
        plan = self._plan(tf.constant(intensity[None, :, :, None], tf.float32))
        state, parts, done = self._way.begin(), [self._way.no_parts()], 0
        while self._way.unfinished(plan, state):
            part, state = self._step(plan, state)
            parts.append(part)
            rows = int(self._way.rows_done(plan, state))
            progress(rows - done)
            done = rows
        progress(len(intensity) - done)
        answer: np.ndarray = self._answer(plan, tf.concat(parts[1:] or parts, 0))[0, :, :, 0].numpy()
        return answer


def _spec(tensor: tf.Tensor) -> tf.TensorSpec:
    return tf.TensorSpec(tensor.shape, tensor.dtype)
