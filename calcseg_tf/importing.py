"""Puts the weights of the paper's published PyTorch network into ours."""

import pathlib

import keras
import numpy as np

from calcseg_tf.model_directory import CONFIG_FILE, ModelInfo, save_weights, write_info
from calcseg_tf.models import build_network
from calcseg_tf.models.fcn import FcnConfig
from calcseg_tf.torch_weights import read_state_dict
from data_prep.errors import InputError

__all__ = ["import_state_dict"]

_KERNEL_SIZES = (3, 5, 7, 9)


def import_state_dict(
    path: pathlib.Path, model_dir: pathlib.Path, mean: float, standard_deviation: float, threshold: float
) -> keras.Model:
    """Reads the paper's state dict and writes a model directory.

    Its keys are `block{1..}.conv{3,5,7,9}`, `block{i}.bn` and `pred`; the widths are read from the weights.

    Args:
        path: The state dict; kernels are OIHW.
        model_dir: Where the model goes.
        mean: Of the intensities in [0, 1] that the weights were trained on.
        standard_deviation: Likewise.
        threshold: Operating threshold in (0, 1).

    Raises:
        InputError: Not such a state dict, or `model_dir` already holds a model.
    """
    if (model_dir / CONFIG_FILE).exists():
        raise InputError("--model_dir already holds a model; choose another folder", model_dir)
    if not 0 <= mean <= 1:
        raise InputError(f"--intensity_mean must be 0 to 1; found {mean}")
    if not 0 < standard_deviation <= 1:
        raise InputError(f"--intensity_standard_deviation must be above 0 and at most 1; found {standard_deviation}")
    state = read_state_dict(path)
    config = _config(state, path)
    info = ModelInfo(
        model=config,
        training=None,
        data={
            "data_set": "imported from PyTorch weights",
            "intensity_mean": mean,
            "intensity_standard_deviation": standard_deviation,
        },
        operating_threshold=threshold,
        operating_threshold_rule="given at import",
    )
    network = build_network(config)
    network.get_layer("normalization").set_statistics(mean, standard_deviation)
    for torch_name, layer_name in _layer_names(config):
        _assign(network.get_layer(layer_name), torch_name, state, path)
    if state:
        raise InputError(f"the state dict holds tensors that the network lacks: {', '.join(sorted(state)[:4])}", path)
    save_weights(model_dir, network)
    write_info(model_dir, info)
    return network


def _config(state: dict[str, np.ndarray], path: pathlib.Path) -> FcnConfig:
    widths: list[int] = []
    while (key := f"block{len(widths) + 1}.bn.weight") in state:
        widths.append(state[key].size)
    if not widths or "pred.weight" not in state:
        raise InputError("the state dict must have block1.bn.weight and pred.weight, the paper's network", path)
    head = state["pred.weight"].shape
    if len(head) != 4:
        raise InputError(f"pred.weight must have 4 dimensions (OIHW); found {len(head)}", path)
    try:
        return FcnConfig(tuple(widths), _KERNEL_SIZES, head[-1])
    except InputError as error:
        raise InputError(error.rule, path) from None


def _layer_names(config: FcnConfig) -> list[tuple[str, str]]:
    names = [("pred", "logit")]
    for block in range(1, len(config.widths) + 1):
        names += [(f"block{block}.conv{size}", f"block{block}_conv{size}") for size in config.kernel_sizes]
        names.append((f"block{block}.bn", f"block{block}_bn"))
    return names


def _assign(layer: keras.layers.Layer, name: str, state: dict[str, np.ndarray], path: pathlib.Path) -> None:
    """Moves one layer's tensors from the state dict into the Keras layer, in Keras' order and layout."""
    is_convolution = isinstance(layer, keras.layers.Conv2D)
    parts = ("weight", "bias") if is_convolution else ("weight", "bias", "running_mean", "running_var")
    state.pop(f"{name}.num_batches_tracked", None)
    values = []
    for part, variable in zip(parts, layer.weights, strict=True):
        value = state.pop(f"{name}.{part}", None)
        if value is None:
            raise InputError(f"the state dict lacks {name}.{part}", path)
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)  # OIHW to HWIO
        if value.shape != tuple(variable.shape):
            raise InputError(f"{name}.{part} must be {list(variable.shape)} (HWIO); found {list(value.shape)}", path)
        with np.errstate(over="ignore"):
            value = value.astype(np.float32)
        if not np.isfinite(value).all():
            raise InputError(f"{name}.{part} holds values that are not finite in float32", path)
        values.append(value)
    layer.set_weights(values)
