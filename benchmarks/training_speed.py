"""A training step of the paper's network here and in PyTorch: same crops, first weights, loss, update and cores.

python -m benchmarks.training_speed --torch_python=build/torch/bin/python      20 minutes on 2 cores

benchmarks/requirements-torch.txt says how to make that environment. The sides take turns, each turn in a process of its
own with nothing beside it (threads of one that waits would spin); the losses show that they compute the same. With
--linear ours alone, over batches of many sizes.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks.synthetic import fake_crops

MEAN, STANDARD_DEVIATION = 0.2, 0.2
SIZES = ((8, 256), (4, 512))  # the default batch, and one of larger crops
LINEAR = ((1, 128), (1, 256), (2, 256), (4, 256), (8, 256), (2, 512), (4, 512), (1, 1024), (2, 1024))


def main() -> None:
    """Measures and prints markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch_python", help="Python with PyTorch")
    parser.add_argument("--turns", type=int, default=3, help="of each side and size")
    parser.add_argument("--steps", type=int, default=2, help="of a turn, after the first, which traces and warms up")
    parser.add_argument("--linear", action="store_true")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(*options.worker)
    elif options.linear:
        compare(["ours"], options, LINEAR)
    elif options.torch_python:
        compare(["ours", "plain", "PyTorch"], options, SIZES)
    else:
        parser.error("--torch_python or --linear is required")


def compare(sides: list[str], options: argparse.Namespace, sizes: tuple[tuple[int, int], ...]) -> None:
    """Prints one row a size and side: seconds a megapixel, ratio to ours, peak memory, losses."""
    cores = len(os.sched_getaffinity(0))
    print(
        f"{cores} cores; load before: {os.getloadavg()[0]:.2f}; medians of {options.turns} turns of {options.steps}\n"
    )
    print(
        "| batch | side | s/MPix | times ours | peak memory, before the first step | loss of the first and last step |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    for count, size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "crops.npz")
            write_crops(path, count, size)
            turns = [
                {side: turn(command(side, path, cores, options), options.steps + 1) for side in sides}
                for _ in range(options.turns)
            ]
        megapixels = count * size * size / 1e6
        for side in sides:
            seconds = [statistics.median(step["seconds"] for step in answers[side][1:]) for answers in turns]
            ours = [statistics.median(step["seconds"] for step in answers["ours"][1:]) for answers in turns]
            steps = [step for answers in turns for step in answers[side]]
            print(
                f"| {count} x {size} x {size} | {side} | {statistics.median(seconds) / megapixels:.2f} | "
                f"{statistics.median(b / a for a, b in zip(ours, seconds, strict=True)):.2f} | "
                f"{max(step['peak_bytes'] for step in steps) / 1e9:.2f} GB, {steps[0]['before_bytes'] / 1e9:.2f} GB | "
                f"{steps[0]['loss']:.6f} {steps[-1]['loss']:.6f} |",
                flush=True,
            )


def write_crops(path: pathlib.Path, count: int, size: int) -> None:
    """Writes crops, masks and first weights for all sides."""
    image, mask = fake_crops(size, count)
    rng = np.random.default_rng(0)
    widths, weights = (4, 16, 32, 64, 128), {}
    for number, (before, width) in enumerate(zip((1, *widths), widths, strict=False), start=1):
        for side in (3, 5, 7, 9):
            limit = np.sqrt(6 / (side * side * (before + width // 4)))
            weights[f"block{number}_kernel{side}"] = rng.uniform(-limit, limit, (side, side, before, width // 4))
        weights[f"block{number}_bias"] = np.zeros(width)
    weights["logit_kernel5"] = rng.uniform(-0.04, 0.04, (5, 5, widths[-1], 1))
    weights["logit_bias"] = np.zeros(1)
    np.savez(
        path, image=image, mask=mask, widths=widths, mean=MEAN, standard_deviation=STANDARD_DEVIATION,
        **{name: value.astype(np.float32) for name, value in weights.items()},
    )  # fmt: skip


def command(side: str, path: pathlib.Path, cores: int, options: argparse.Namespace) -> list[str]:
    """Returns the command of a side's worker."""
    if side == "PyTorch":
        return [options.torch_python, str(pathlib.Path(__file__).with_name("torch_worker.py")), str(path), str(cores)]
    return [sys.executable, "-m", "benchmarks.training_speed", "--worker", side, str(path)]


def turn(arguments: list[str], steps: int) -> list[dict[str, float]]:
    """Runs a worker for some steps; the first traces and warms up."""
    ended = subprocess.run(arguments, input="step\n" * steps, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in ended.stdout.splitlines()]


def work(side: str, path: str) -> None:
    """Is our worker: as `calcseg_tf.train` computes by default, or ("plain") as Keras' own layers would."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from calcseg_tf.models.fcn import FcnConfig
    from calcseg_tf.recipe import TrainingConfig
    from calcseg_tf.training import build_segmenter

    ways = {"convolution": "separate", "gradient": "plain"} if side == "plain" else {}
    segmenter = build_segmenter(TrainingConfig(FcnConfig(), **ways), MEAN, STANDARD_DEVIATION)
    data = np.load(path)
    for layer in segmenter.layers:
        if hasattr(layer, "kernels"):
            names = [f"kernel{size}" for size in layer.kernel_sizes] + ["bias"]
            layer.set_weights([data[f"{layer.name.removesuffix('_conv')}_{name}"] for name in names])
    # As `fit` does. `train_on_batch` makes and deletes an iterator, which waits for up to as long as the step took.
    step = segmenter.make_train_function()
    batches = iter(tf.data.Dataset.from_tensors((data["image"], data["mask"])).repeat())
    before = peak_bytes()
    for _ in sys.stdin:
        segmenter.reset_metrics()
        start = time.perf_counter()
        loss = step(batches)["loss"].numpy()
        seconds = time.perf_counter() - start
        answer = {"seconds": seconds, "loss": float(loss), "peak_bytes": peak_bytes(), "before_bytes": before}
        print(json.dumps(answer), flush=True)


def peak_bytes() -> int:
    """Returns the most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
