"""A whole mammogram here and in other runtimes: same weights, same image, same cores, in turns.

python -m benchmarks.inference --image=MAMMOGRAM --torch_weights=FILE --torch_python=build/torch/bin/python
    --runtimes_python=build/runtimes/bin/python --output_dir=build/inference --scaling=1

benchmarks/requirements-torch.txt and benchmarks/inference/requirements-runtimes.txt say how to make the two
environments; peers without one are left out. Every turn of a peer is a new process with nothing beside it. A careful
engineer's peers get batch norm folded into the kernels, windows of one size with a halo (512 and 1024 px are tried, the
faster is kept), as many threads as cores, and a warm-up that is not timed. Beside the whole mammogram they get the
breast alone, in case they would be spared the air. Answers are compared with the network in float64, which is computed
once and kept in the output folder. Reckoned from seconds a megapixel, for 8.5 megapixels on 2 quiet cores: that answer
4 minutes, the choice of sizes 4, a turn of all peers 8, a turn of --scaling 30.

Writes inference.md (also printed), inference.png and inference.json.
"""

import argparse
import functools
import hashlib
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tqdm

from benchmarks.inference.figures import BREAST, MAMMOGRAM, Context, ScalePoint
from benchmarks.inference.images import Subject, demo_input, scaled_images
from benchmarks.inference.measuring import Measured, Run, agree, choose_window, measure
from benchmarks.inference.peers import PEERS, Peer, PeerError, Task, run_tasks
from benchmarks.inference.report import machine, write_report
from data_prep.errors import InputError

_DEMO = "the demo"


def main() -> None:
    """Measures, prints the tables and writes the files."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--image", type=pathlib.Path, required=True, help="a DICOM mammogram, or a 16-bit grey PNG")
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument("--torch_weights", type=pathlib.Path, help="the authors' published state dict")
    weights.add_argument("--model_dir", type=pathlib.Path, help="or a model of ours; the peers get its weights")
    parser.add_argument("--torch_python", help="Python of an environment with PyTorch")
    parser.add_argument("--runtimes_python", help="Python of one with ONNX Runtime, OpenVINO and onnx")
    parser.add_argument("--peers", default="all", help=f"some of {','.join(peer.key for peer in PEERS)}")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--scaling", type=int, default=0, help="turns of the scaling part; 0 leaves it out")
    parser.add_argument(
        "--megapixels", type=float, nargs="+", default=[1, 2, 4, 8, 16], help="of the scaling part's images"
    )
    parser.add_argument("--crop", type=int, default=0, help="take a square of so many px of the image, for a trial")
    parser.add_argument("--memory_gb", type=float, default=20.0, help="most that a process may have")
    parser.add_argument("--output_dir", type=pathlib.Path, required=True)
    options = parser.parse_args()
    if options.turns < 1:
        parser.error(f"--turns must be at least 1; found {options.turns}")
    try:
        print(run(options))
    except (InputError, PeerError) as error:
        parser.exit(1, f"error: {error}\n")


def run(options: argparse.Namespace) -> str:
    """Measures all; returns the markdown."""
    cores = len(os.sched_getaffinity(0))
    measured = [Measured(peer) for peer in _chosen(options)]
    before = machine(cores)
    options.output_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        inputs = _prepare_weights(options, folder)
        threshold, halo = inputs.pop("threshold"), inputs.pop("halo")
        subject = _crop(Subject.read(options.image), options.crop)
        images = {
            MAMMOGRAM: subject.intensity,
            BREAST: subject.around_breast(2 * halo),
            _DEMO: demo_input(subject.intensity),
        }
        paths = {name: _save(folder / f"{name}.npy", image) for name, image in images.items()}
        answer = functools.partial(_run_tasks, options=options, inputs=inputs, cores=cores)
        with tqdm.tqdm(total=len(measured) * (1 + options.turns), unit="process") as bar:
            for row in measured:
                bar.set_description(f"{row.peer.key}, sizes")
                choose_window(row, answer, paths[_DEMO if row.peer.as_demo else BREAST])
                bar.update()
            for turn in range(options.turns):
                for row in measured:
                    bar.set_description(f"{row.peer.key}, turn {turn + 1}")
                    output = folder / f"{row.peer.key}.npy"
                    first = Task(paths[_DEMO if row.peer.as_demo else MAMMOGRAM], None if turn else output)
                    rest = {} if row.peer.as_demo else {BREAST: Task(paths[BREAST])}
                    measure(row, answer, {MAMMOGRAM: first, **rest})
                    bar.update()
        for row in measured:
            if row.answers:
                exact = _exact(options.output_dir, inputs["weights"], images[_DEMO if row.peer.as_demo else MAMMOGRAM])
                row.agreement = agree(np.load(folder / f"{row.peer.key}.npy"), exact, threshold)
        scale = _measure_scaling(options, measured, subject, folder, answer) if options.scaling else []
        context = Context(
            {name: image.size / 1e6 for name, image in images.items()},
            float(subject.breast.sum()) / 1e6,
            threshold,
            options.turns,
            before,
        )
        return write_report(options.output_dir, context, measured, scale)


def _chosen(options: argparse.Namespace) -> list[Peer]:
    """Returns the peers that are asked for and have an environment."""
    known = {peer.key: peer for peer in PEERS}
    keys = list(known) if options.peers == "all" else options.peers.split(",")
    if unknown := [key for key in keys if key not in known]:
        raise InputError(f"--peers are some of {', '.join(known)}; found {unknown[0]!r}")
    pythons = _pythons(options)
    chosen = [known[key] for key in keys if pythons[known[key].environment]]
    if options.peers != "all" and len(chosen) < len(keys):
        raise InputError("these --peers need --torch_python and --runtimes_python")
    return chosen


def _pythons(options: argparse.Namespace) -> dict[str, str | None]:
    return {"ours": sys.executable, "torch": options.torch_python, "runtimes": options.runtimes_python}


def _run_tasks(
    peer: Peer,
    window: int,
    tasks: Sequence[Task],
    options: argparse.Namespace,
    inputs: Mapping[str, pathlib.Path],
    cores: int,
) -> list[dict[str, Any]]:
    """Runs tasks in a peer's own environment, on its own kind of weights."""
    python = _pythons(options)[peer.environment]
    assert python is not None  # see `_chosen`
    return run_tasks(peer, python, inputs[peer.takes], window, tasks, cores, int(options.memory_gb * 1e9))


def _prepare_weights(options: argparse.Namespace, folder: pathlib.Path) -> dict[str, Any]:
    """Makes what the peers take: "model", "version" and "weights"; also the operating "threshold" and the "halo"."""
    from benchmarks.inference.weights import write_weights

    model_dir = options.model_dir
    if options.torch_weights:
        model_dir = folder / "model"
        _command("calcseg_tf.import_weights", f"--torch_weights={options.torch_weights}", f"--model_dir={model_dir}")
    path = folder / "weights.npz"
    threshold = write_weights(model_dir, path)
    _command("calcseg_tf.export", f"--model_dir={model_dir}", f"--output_dir={folder / 'export'}")
    with np.load(path) as weights:
        halo = int(weights["halo"])
    version = next((folder / "export").glob("[0-9]*"))
    return {"model": model_dir, "version": version, "weights": path, "threshold": threshold, "halo": halo}


def _command(module: str, *flags: str) -> None:
    ended = subprocess.run([sys.executable, "-m", module, *flags], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise InputError((ended.stderr.strip().splitlines() or ["ended early"])[-1].removeprefix("error: "), module)


def _crop(subject: Subject, side: int) -> Subject:
    """Takes a square from the middle of the breast; 0 takes all."""
    if not side:
        return subject
    rows, columns = np.nonzero(subject.breast)
    top, left = (
        max(0, min(int(np.median(places)) - side // 2, length - side))
        for places, length in zip((rows, columns), subject.intensity.shape, strict=True)
    )
    window = np.s_[top : top + side, left : left + side]
    return Subject(np.ascontiguousarray(subject.intensity[window]), subject.breast[window])


def _save(path: pathlib.Path, image: np.ndarray) -> pathlib.Path:
    np.save(path, image)
    return path


def _exact(folder: pathlib.Path, weights_path: pathlib.Path, image: np.ndarray) -> np.ndarray:
    """Returns the float64 answer; computed once for the same weights and image."""
    from benchmarks.inference.reference import predict_float64

    with np.load(weights_path) as file:
        weights = {name: file[name] for name in file.files}
    digest = hashlib.sha256(image.tobytes())
    for name in sorted(weights):
        digest.update(weights[name].tobytes())
    path = folder / f"float64-{image.shape[0]}x{image.shape[1]}-{digest.hexdigest()[:16]}.npy"
    if not path.exists():
        np.save(path, predict_float64(weights, image))
    return np.load(path)


def _measure_scaling(
    options: argparse.Namespace, measured: Sequence[Measured], subject: Subject, folder: pathlib.Path, answer: Run
) -> list[ScalePoint]:
    """Measures images of several sizes; the demo, which takes an image in one pass, is left out."""
    rows = [row for row in measured if row.answers and not row.peer.as_demo]
    points = []
    with tqdm.tqdm(total=len(options.megapixels) * options.scaling * len(rows), unit="process") as bar:
        for megapixels in options.megapixels:
            images = scaled_images(subject, megapixels)
            tasks = {kind: Task(_save(folder / f"{kind}.npy", image)) for kind, (image, _) in images.items()}
            fresh = [Measured(row.peer, row.window) for row in rows]
            for _ in range(options.scaling):
                for row in fresh:
                    bar.set_description(f"{row.peer.key}, {megapixels:g} megapixels")
                    measure(row, answer, tasks)
                    bar.update()
            for kind, (image, tissue) in images.items():
                seconds = {
                    row.peer.key: statistics.median(each["seconds"] for each in row.answers[kind])
                    for row in fresh if row.answers
                }  # fmt: skip
                points.append(ScalePoint(kind, image.size / 1e6, tissue, seconds))
    return sorted(points, key=lambda point: point.kind, reverse=True)


if __name__ == "__main__":
    main()
