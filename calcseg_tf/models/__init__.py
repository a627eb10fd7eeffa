"""The networks, each a Keras functional model from intensities to logits, and the registry that names them."""

from calcseg_tf.models.registry import ModelConfig, build_network, model_config, model_name, model_names

__all__ = ["ModelConfig", "build_network", "model_config", "model_name", "model_names"]
