"""Puts the weights of the paper's published PyTorch network into ours."""

import pathlib
import tempfile

import keras
import numpy as np

from calcseg_tf.checkpointing import disk_errors_told
from calcseg_tf.model_directory import CONFIG_FILE, WEIGHTS_FILE, ModelInfo, save_weights, told_digest, write_info
from calcseg_tf.models import build_network
from calcseg_tf.models.fcn import FcnConfig
from calcseg_tf.models.parallel_conv import ParallelConv2D
from calcseg_tf.torch_weights import read_state_dict
from data_prep.atomic import sweep_partial_files
from data_prep.errors import InputError
from data_prep.only_run import only_run_in

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
    _require_free(model_dir)
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
    reader = _Reader(state, path)
    for number in range(1, len(config.widths) + 1):
        convolution = network.get_layer(f"block{number}_conv")
        convolution.set_weights(
            reader.convolutions(convolution, [f"block{number}.conv{size}" for size in _KERNEL_SIZES])
        )
        batch_norm = network.get_layer(f"block{number}_bn")
        parts = ("weight", "bias", "running_mean", "running_var")
        state.pop(f"block{number}.bn.num_batches_tracked", None)
        batch_norm.set_weights(
            [
                reader.take(f"block{number}.bn.{part}", old.shape)
                for part, old in zip(parts, batch_norm.weights, strict=True)
            ]
        )
    head = network.get_layer("logit")
    head.set_weights(reader.convolutions(head, ["pred"]))
    if state:
        raise InputError(f"the state dict holds tensors that the network lacks: {', '.join(sorted(state)[:4])}", path)
    held = "another run is writing into this --model_dir: wait for it"
    with only_run_in(model_dir, held), disk_errors_told(model_dir):
        _require_free(model_dir)
        _require_no_others(model_dir / WEIGHTS_FILE, network)
        sweep_partial_files(model_dir)
        save_weights(model_dir, network)
        write_info(model_dir, info)  # last: where it is, the model is whole
    return network


def _require_free(model_dir: pathlib.Path) -> None:
    if (model_dir / CONFIG_FILE).exists():
        raise InputError("--model_dir already holds a model; choose another folder", model_dir)


def _require_no_others(weights: pathlib.Path, network: keras.Model) -> None:
    """Checks that a file of weights is that of this import, which was killed before it wrote the config."""
    if weights.exists():
        with tempfile.TemporaryDirectory() as folder:
            save_weights(pathlib.Path(folder), network)
            ours = told_digest(pathlib.Path(folder, WEIGHTS_FILE))
        if told_digest(weights) != ours:
            raise InputError("--model_dir holds other weights; choose another folder", weights)


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


class _Reader:
    """Takes tensors out of the state dict, checked, in Keras' layout."""

    def __init__(self, state: dict[str, np.ndarray], path: pathlib.Path) -> None:
        self._state = state
        self._path = path

    def convolutions(self, layer: ParallelConv2D, names: list[str]) -> list[np.ndarray]:
        """Returns the weights of a layer whose kernels have these names: the kernels, then their biases as one."""
        kernels = [self.take(f"{name}.weight", kernel.shape) for name, kernel in zip(names, layer.kernels, strict=True)]
        biases = [self.take(f"{name}.bias", kernel.shape[3:]) for name, kernel in zip(names, kernels, strict=True)]
        return [*kernels, np.concatenate(biases)]

    def take(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Takes one tensor, float32 of the shape that Keras wants: HWIO for kernels, which come as OIHW."""
        value = self._state.pop(name, None)
        if value is None:
            raise InputError(f"the state dict lacks {name}", self._path)
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)  # OIHW to HWIO
        if value.shape != tuple(shape):
            layout = " (HWIO)" if value.ndim == 4 else ""
            raise InputError(f"{name} must be {list(shape)}{layout}; found {list(value.shape)}", self._path)
        with np.errstate(over="ignore"):
            value = value.astype(np.float32)
        if not np.isfinite(value).all():
            raise InputError(f"{name} holds values that are not finite in float32", self._path)
        return value
