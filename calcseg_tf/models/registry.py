"""Names the networks: one line a network, read by every command."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import Any

import keras

from calcseg_tf.models.config import ModelConfig
from calcseg_tf.models.deeplabv3 import DeepLabV3Config, build_deeplabv3
from calcseg_tf.models.fcn import FcnConfig, build_fcn
from calcseg_tf.models.scale_space import ScaleSpaceConfig, build_scale_space
from calcseg_tf.models.unet import UnetConfig, build_unet
from data_prep.errors import InputError

__all__ = ["ModelConfig", "build_network", "model_config", "model_name", "model_names"]


_MODELS: Mapping[str, tuple[type, Callable[[Any, bool], keras.Model]]] = {
    "fcn": (FcnConfig, build_fcn),
    "unet": (UnetConfig, build_unet),
    "deeplabv3": (DeepLabV3Config, build_deeplabv3),
    "scale_space": (ScaleSpaceConfig, build_scale_space),
}


def model_names() -> tuple[str, ...]:
    """Returns the names that `model_config` takes."""
    return tuple(_MODELS)


def model_config(name: str, **options: Any) -> ModelConfig:
    """Makes a network's config from its name and options, lists standing for tuples (as JSON gives them).

    Raises:
        InputError: Unknown name or option, with the near match, or a value outside the config's rules.
    """
    if name not in _MODELS:
        near = difflib.get_close_matches(name, _MODELS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"--model must be one of {', '.join(_MODELS)}; found {name!r}{hint}")
    config_type = _MODELS[name][0]
    known = {field.name for field in dataclasses.fields(config_type)}
    if unknown := sorted(set(options) - known):
        options_of = f"has the options {', '.join(sorted(known))}" if known else "has no options"
        raise InputError(f"model {name} {options_of}; found {', '.join(unknown)}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    config: ModelConfig = config_type(**values)
    return config


def model_name(config: ModelConfig) -> str:
    """Returns the name under which a config's network is registered."""
    return next(name for name, (config_type, _) in _MODELS.items() if isinstance(config, config_type))


def build_network(config: ModelConfig, *, synchronized_batch_norm: bool = False) -> keras.Model:
    """Builds the network of a config: intensities [batch, height, width, 1] in [0, 1] to logits of the same shape."""
    _, build = _MODELS[model_name(config)]
    return build(config, synchronized_batch_norm)
