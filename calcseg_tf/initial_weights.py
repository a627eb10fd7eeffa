"""Where the weights of a training run start: those of another model directory."""

import pathlib
from typing import Any

import keras

from calcseg_tf import shipped
from calcseg_tf.model_directory import load_network, read_info, weights_sha256
from calcseg_tf.models import ModelConfig, model_name
from data_prep.errors import InputError

__all__ = ["describe_initial_model", "load_initial_weights"]


def describe_initial_model(name: str, wanted: ModelConfig) -> dict[str, Any]:
    """Returns what `config.json` keeps of the model that a run starts from; its folder's path is not among it.

    Args:
        name: A model directory, or "shipped".
        wanted: The network that is to be trained.

    Raises:
        InputError: No model directory, or it holds another network.
    """
    folder = _folder(name)
    info = read_info(folder)
    if info.model != wanted:
        found, asked = (f"{model_name(each)} {each}" for each in (info.model, wanted))
        raise InputError(f"--initial_model must hold the network that is trained, {asked}; found {found}", folder)
    return {"weights_sha256": weights_sha256(folder), **info.data}


def load_initial_weights(network: keras.Model, name: str) -> None:
    """Gives a network the weights of a model directory, its normalisation too: training begins where that model stood.

    Args:
        network: Of the same shape; its layers have the same names.
        name: A model directory, or "shipped".

    Raises:
        InputError: The weights are missing or damaged.
    """
    initial, _ = load_network(_folder(name))
    for layer in initial.layers:
        network.get_layer(layer.name).set_weights(layer.get_weights())


def _folder(name: str) -> pathlib.Path:
    folder = shipped.model_directory(name)
    if not folder.is_dir():
        raise InputError(f"--initial_model must be a model directory, or {shipped.SHIPPED}; found no folder", folder)
    return folder
