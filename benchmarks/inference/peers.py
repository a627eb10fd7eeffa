"""Who is compared, and how a task reaches the process that does it."""

import dataclasses
import json
import pathlib
import subprocess
from collections.abc import Sequence
from typing import Any

__all__ = ["PEERS", "Peer", "PeerError", "Task", "run_tasks"]

_ROOT = pathlib.Path(__file__).parents[2]
_WINDOWS = (512, 1024)  # px; at 1024 ONNX Runtime takes 3.7 GB


class PeerError(RuntimeError):
    """A peer's process ended without an answer; the message is its last words."""


@dataclasses.dataclass(frozen=True)
class Peer:
    """One row of the table.

    Attributes:
        key: Its name in flags and in the JSON file.
        name: Its name in the table.
        environment: Whose Python runs it: "ours", "torch" or "runtimes".
        module: Of this package, its worker.
        takes: "model" (directory), "version" (folder of the SavedModel) or "weights" (NPZ).
        windows: Sizes to choose from, in px; 0 is the whole image in one pass, or its own affair.
        fastest: Take the fastest size; otherwise the first that fits into memory.
        as_demo: It gets the demo's own input.
    """

    key: str
    name: str
    environment: str
    module: str
    takes: str = "weights"
    windows: tuple[int, ...] = _WINDOWS
    fastest: bool = True
    as_demo: bool = False


PEERS = (
    Peer("ours", "ours, `Predictor`", "ours", "keras_worker", "model", (0,)),
    Peer("saved_model", "ours, SavedModel", "ours", "keras_worker", "version", (0,)),
    Peer("demo", "PyTorch as the authors' demo", "torch", "torch_worker", windows=(0, 2048, 1024), fastest=False,
         as_demo=True),
    Peer("channels_last", "PyTorch, channels-last", "torch", "torch_worker"),
    Peer("compiled", "PyTorch, `torch.compile`", "torch", "torch_worker"),
    Peer("onnxruntime", "ONNX Runtime", "runtimes", "runtime_worker"),
    Peer("openvino", "OpenVINO, float32", "runtimes", "runtime_worker"),
    Peer("openvino_default", "OpenVINO, its default precision", "runtimes", "runtime_worker"),
    Peer("plain", "plain Keras graph", "ours", "keras_worker", "model"),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Task:
    """One image to predict.

    Attributes:
        image: NPY of intensities.
        output: Where the probabilities go, or None.
    """

    image: pathlib.Path
    output: pathlib.Path | None = None


def run_tasks(
    peer: Peer, python: str, path: pathlib.Path, window: int, tasks: Sequence[Task], cores: int, most_bytes: int
) -> list[dict[str, Any]]:
    """Runs tasks in one new process of a peer, nothing beside it; returns its answers (`worker.answer_tasks`).

    Args:
        peer: Which.
        python: Its environment's interpreter.
        path: What the peer `takes`.
        window: In px, one of the peer's.
        tasks: In this order.
        cores: Threads to use.
        most_bytes: Memory that the process may have.

    Raises:
        PeerError: It ended before it had answered all.
    """
    lines = [
        json.dumps({"image": str(task.image), "output": task.output and str(task.output), "window": window})
        for task in tasks
    ]
    ended = subprocess.run(
        [python, "-m", f"benchmarks.inference.{peer.module}", peer.key, str(path), str(cores), str(most_bytes)],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        cwd=_ROOT,
        check=False,
    )
    answers = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('{"seconds"')]
    if len(answers) < len(tasks):
        said = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
        errors = [line for line in said if "Error" in line] or said  # a runtime may add lines after its message
        raise PeerError(errors[-1][:300] if errors else f"ended with status {ended.returncode}")
    return answers
