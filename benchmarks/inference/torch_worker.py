"""The paper's network in PyTorch, in an environment that has it: python -m benchmarks.inference.torch_worker.

Ways: "demo" as the authors' public demo runs it, its modules one by one on the whole image in one pass; "channels_last"
and "compiled" as a careful engineer would: batch norm folded away, inference mode, windows.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from benchmarks.inference.worker import Peer, answer_tasks, arguments


class DemoBlock(nn.Module):
    """Four parallel convolutions, concatenated, batch norm, ReLU."""

    def __init__(self, weights: Mapping[str, np.ndarray], number: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            _convolution(weights, f"block{number}.conv{size}") for size in weights["kernel_sizes"]
        )
        parts = {name: torch.from_numpy(weights[f"block{number}.bn.{name}"]) for name in
                 ("weight", "bias", "running_mean", "running_var")}  # fmt: skip
        self.norm = nn.BatchNorm2d(len(parts["bias"]), eps=float(weights["epsilon"]))
        self.norm.load_state_dict(parts, strict=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [1, channels, height, width] to [1, width of the block, height, width]."""
        return torch.relu(self.norm(torch.cat([branch(x) for branch in self.branches], 1)))


class FoldedBlock(nn.Module):
    """The same with batch norm in the kernels, and ReLU in place."""

    def __init__(self, weights: Mapping[str, np.ndarray], number: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            _convolution(weights, f"folded{number}.conv{size}") for size in weights["kernel_sizes"]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [1, channels, height, width] to [1, width of the block, height, width]."""
        return torch.cat([branch(x) for branch in self.branches], 1).relu_()


class Network(nn.Module):
    """Intensities to probabilities, [1, 1, height, width]."""

    def __init__(self, weights: Mapping[str, np.ndarray], block: type[nn.Module]) -> None:
        super().__init__()
        self.mean, self.deviation = float(weights["mean"]), float(weights["standard_deviation"])
        self.blocks = nn.Sequential(*[block(weights, number) for number in range(1, int(weights["blocks"]) + 1)])
        self.head = _convolution(weights, "pred")

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Predicts."""
        return torch.sigmoid(self.head(self.blocks((image - self.mean) / self.deviation)))


def _convolution(weights: Mapping[str, np.ndarray], name: str) -> nn.Conv2d:
    kernel = torch.from_numpy(weights[f"{name}.weight"])
    out, into, size, _ = kernel.shape
    convolution = nn.Conv2d(into, out, size, padding=size // 2)
    convolution.load_state_dict({"weight": kernel, "bias": torch.from_numpy(weights[f"{name}.bias"])})
    return convolution


def main() -> None:
    """Runs one of the ways."""
    way, path, threads = arguments()
    torch.set_num_threads(threads)
    weights = np.load(path)
    network = Network(weights, DemoBlock if way == "demo" else FoldedBlock).eval()
    layout = torch.contiguous_format if way == "demo" else torch.channels_last
    network = network.to(memory_format=layout)
    run = torch.compile(network, dynamic=False) if way == "compiled" else network
    without_gradient = torch.no_grad if way == "demo" else torch.inference_mode

    def predict(window: np.ndarray) -> np.ndarray:
        with without_gradient():
            image = torch.from_numpy(window)[None, None].contiguous(memory_format=layout)
            return run(image)[0, 0].numpy()

    answer_tasks(Peer(predict, int(weights["halo"]), {"PyTorch": torch.__version__, "precision": "float32"}))


if __name__ == "__main__":
    main()
