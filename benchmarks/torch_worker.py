"""The other side of benchmarks.training_speed: the paper's network, loss and update in PyTorch, channels-last.

Runs in PyTorch's own environment, so it imports nothing of ours. Reads crops, masks and first weights from an NPZ file;
takes one training step for each line on standard input and answers it with one line of JSON.
"""

import json
import resource
import sys
import time

import numpy as np
import torch
from torch import nn

KERNEL_SIZES = (3, 5, 7, 9)


class Fcn(nn.Module):
    """The paper's network, with a block's branches as it draws them."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        pairs = list(zip([1, *widths], widths, strict=False))
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(before, width // 4, size, padding=size // 2) for size in KERNEL_SIZES)
            for before, width in pairs
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, eps=1.001e-5, momentum=0.1) for width in widths)
        self.head = nn.Conv2d(widths[-1], 1, 5, padding=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised images to logits, [batch, 1, height, width]."""
        for block, norm in zip(self.blocks, self.norms, strict=True):
            x = torch.relu(norm(torch.cat([branch(x) for branch in block], 1)))
        return self.head(x)


def load(network: Fcn, weights: "np.lib.npyio.NpzFile") -> None:
    """Takes over the first weights; kernels come as HWIO."""
    with torch.no_grad():
        for number, block in enumerate(network.blocks, start=1):
            bias = np.split(weights[f"block{number}_bias"], len(KERNEL_SIZES))
            for size, branch, part in zip(KERNEL_SIZES, block, bias, strict=True):
                branch.weight.copy_(
                    torch.from_numpy(weights[f"block{number}_kernel{size}"].transpose(3, 2, 0, 1).copy())
                )
                branch.bias.copy_(torch.from_numpy(part))
        network.head.weight.copy_(torch.from_numpy(weights["logit_kernel5"].transpose(3, 2, 0, 1).copy()))
        network.head.bias.copy_(torch.from_numpy(weights["logit_bias"]))


def hard_negative_loss(logit: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """The paper's loss: mean cross-entropy over the positives and three times as many hardest negatives."""
    loss = nn.functional.binary_cross_entropy_with_logits(logit, positive.float(), reduction="none")
    wanted = 3 * int(positive.sum())
    hardest = torch.topk(loss.detach().masked_fill(positive, -torch.inf).flatten(), wanted).indices
    return (loss[positive].sum() + loss.flatten()[hardest].sum()) / (wanted + wanted // 3)


def main() -> None:
    """Answers each line with the seconds and the loss of a step."""
    path, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    data = np.load(path)
    network = Fcn([int(width) for width in data["widths"]])
    load(network, data)
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9)
    image = torch.from_numpy(data["image"].transpose(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last)
    image = (image - float(data["mean"])) / float(data["standard_deviation"])
    positive = torch.from_numpy(data["mask"].transpose(0, 3, 1, 2) == 1)
    before = peak_bytes()
    for _ in sys.stdin:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = hard_negative_loss(network(image), positive)
        loss.backward()
        optimizer.step()
        seconds = time.perf_counter() - start
        answer = {"seconds": seconds, "loss": float(loss.detach()), "peak_bytes": peak_bytes(), "before_bytes": before}
        print(json.dumps(answer), flush=True)


def peak_bytes() -> int:
    """Returns the most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
