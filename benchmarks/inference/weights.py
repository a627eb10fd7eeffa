"""One file of weights for all peers, written from a model directory."""

import pathlib

import numpy as np

from calcseg_tf.model_directory import load_network
from calcseg_tf.models.fcn import FcnConfig
from data_prep.errors import InputError

__all__ = ["write_weights"]


def write_weights(model_dir: pathlib.Path, path: pathlib.Path) -> float:
    """Writes the weights of the paper's kind of network as NPZ; returns the model's operating threshold.

    Kernels are OIHW. `block<i>.conv<size>` and `block<i>.bn` are as trained; `folded<i>.conv<size>` are the same
    convolutions with batch norm folded in, in float64 before rounding; `pred` is the head. Beside them `mean`,
    `standard_deviation`, `epsilon`, `kernel_sizes`, `blocks` and `halo`.

    Raises:
        InputError: No model, or a network of another kind.
    """
    network, info = load_network(model_dir)
    config = info.model
    if not isinstance(config, FcnConfig):
        raise InputError("the peers know the paper's network (fcn) alone; this model is another", model_dir)
    normalization = network.get_layer("normalization")
    arrays: dict[str, np.ndarray] = {
        "mean": normalization.mean.numpy(),
        "standard_deviation": normalization.standard_deviation.numpy(),
        "kernel_sizes": np.array(config.kernel_sizes),
        "blocks": np.array(len(config.widths)),
        "halo": np.array(config.halo_px),
        "epsilon": np.array(network.get_layer("block1_bn").epsilon),
    }
    for number in range(1, len(config.widths) + 1):
        layer, norm = network.get_layer(f"block{number}_conv"), network.get_layer(f"block{number}_bn")
        trained = {"weight": norm.gamma, "bias": norm.beta, "running_mean": norm.moving_mean,
                   "running_var": norm.moving_variance}  # fmt: skip
        trained = {name: variable.numpy() for name, variable in trained.items()}
        arrays.update({f"block{number}.bn.{name}": value for name, value in trained.items()})
        scale = trained["weight"] / np.sqrt(trained["running_var"].astype(np.float64) + norm.epsilon)
        shift = trained["bias"] - scale * trained["running_mean"]
        share = config.widths[number - 1] // len(config.kernel_sizes)
        for position, (size, kernel) in enumerate(zip(config.kernel_sizes, layer.kernels, strict=True)):
            part = slice(position * share, (position + 1) * share)
            weight, bias = kernel.numpy().transpose(3, 2, 0, 1), layer.bias.numpy()[part]
            arrays[f"block{number}.conv{size}.weight"], arrays[f"block{number}.conv{size}.bias"] = weight, bias
            arrays[f"folded{number}.conv{size}.weight"] = weight * scale[part, None, None, None]
            arrays[f"folded{number}.conv{size}.bias"] = bias * scale[part] + shift[part]
    head = network.get_layer("logit")
    arrays["pred.weight"], arrays["pred.bias"] = head.kernels[0].numpy().transpose(3, 2, 0, 1), head.bias.numpy()
    floats = {name: value.astype(np.float32) for name, value in arrays.items() if value.dtype.kind == "f"}
    np.savez(path, **{**arrays, **floats, "epsilon": arrays["epsilon"]})
    return info.operating_threshold
