"""Which way a network is applied to whole images."""

import keras

from calcseg_tf.inference.engine import Engine
from calcseg_tf.inference.full_resolution import FullResolution
from calcseg_tf.inference.tiling import TiledNetwork
from calcseg_tf.models import ModelConfig
from calcseg_tf.models.fcn import FcnConfig
from calcseg_tf.models.fourier import FOURIER_OUTPUT_PX

__all__ = ["full_resolution"]


def full_resolution(network: keras.Model, config: ModelConfig) -> FullResolution:
    """Returns the engine for the paper's chain of convolutions, tiles with a halo for every other network.

    A kernel wider than the engine's smallest cell sees past the neighbouring one: such a chain takes tiles too.

    Args:
        network: Intensities to logits, built for inference; its variables are read at each plan.
        config: Its shape.
    """
    if isinstance(config, FcnConfig) and max(*config.kernel_sizes, config.head_kernel_size) <= FOURIER_OUTPUT_PX + 1:
        return Engine.of(network)
    return TiledNetwork.of(lambda image: network(image, training=False), config)
