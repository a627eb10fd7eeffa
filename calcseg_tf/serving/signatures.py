"""The SavedModel's two signatures, made of stock TensorFlow operations alone.

Names are a contract with clients: signatures, inputs and outputs stay as they are.
"""

import pathlib

import keras
import tensorflow as tf

from calcseg_tf.inference.tiling import TiledNetwork
from calcseg_tf.model_directory import ModelInfo
from calcseg_tf.models import ModelConfig

__all__ = ["PREDICT_PNG", "SERVING_DEFAULT", "save_model"]

SERVING_DEFAULT = "serving_default"
PREDICT_PNG = "predict_png"

_IHDR_DEPTH_AND_COLOUR = 24  # byte of a PNG that holds the bit depth; the colour type follows (PNG 1.2, 11.2.2)
_GREY_16_BIT = b"\x10\x00"


class _ServedModel(tf.Module):
    """A network with the functions that a server calls; any image size, in memory that tiles bound."""

    def __init__(self, network: keras.Model, config: ModelConfig) -> None:
        super().__init__()
        self._network = network  # tracked, so that its variables are saved
        self._tiles = TiledNetwork.of(lambda image: network(image, training=False), config)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32, name="image")])
    def serving_default(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps intensities in [0, 1] to probabilities of the same shape."""
        return {"probability": self._probability(image)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def predict_png(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps 16-bit greyscale PNGs, each of any size, to PNGs that hold round(probability x 65535)."""
        encoded = tf.map_fn(self._predict_one, image_bytes, fn_output_signature=tf.string, parallel_iterations=1)
        return {"probability_bytes": encoded}

    def _predict_one(self, image_bytes: tf.Tensor) -> tf.Tensor:
        # Lengthened, for bytes too short to be a PNG would fail here with an obscurer error.
        head = tf.strings.join([tf.strings.substr(image_bytes, 0, 32), "." * 32])
        header = tf.strings.substr(head, _IHDR_DEPTH_AND_COLOUR, 2)
        is_grey_16_bit = tf.debugging.Assert(
            tf.equal(header, _GREY_16_BIT), ["image_bytes must be a PNG with one grey channel of 16 bits"]
        )
        # Without the check decode_png would stretch 8 bits to 16 and turn colour to grey, silently.
        with tf.control_dependencies([is_grey_16_bit]):
            stored = tf.io.decode_png(image_bytes, channels=1, dtype=tf.uint16)
        probability = self._probability(tf.cast(stored, tf.float32)[None] / 65535.0)
        return tf.io.encode_png(tf.cast(tf.round(probability[0] * 65535.0), tf.uint16))

    def _probability(self, image: tf.Tensor) -> tf.Tensor:
        return tf.sigmoid(self._tiles.whole(image))


def save_model(network: keras.Model, info: ModelInfo, directory: pathlib.Path) -> None:
    """Saves a network with its signatures into a new folder.

    Args:
        network: Intensities to logits, built for inference.
        info: Gives the network's config, which says how tiles are cut.
        directory: Receives `saved_model.pb` and the variables.
    """
    served = _ServedModel(network, info.model)
    signatures = {SERVING_DEFAULT: served.serving_default, PREDICT_PNG: served.predict_png}
    tf.saved_model.save(served, str(directory), signatures=signatures)
