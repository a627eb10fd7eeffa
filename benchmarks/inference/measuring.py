"""The turns: every peer in a process of its own, one after the other, all on the same images."""

import dataclasses
import pathlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.inference.figures import MAMMOGRAM
from benchmarks.inference.peers import Peer, PeerError, Task
from data_prep.components import label_components

__all__ = ["Agreement", "Measured", "Run", "agree", "choose_window", "measure"]

Run = Callable[[Peer, int, Sequence[Task]], list[dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How far an answer is from the float64 one, for the same input.

    Attributes:
        largest_difference: In probability.
        components: 8-connected, at the operating threshold or above.
        exact_components: Those of the float64 answer.
        other_pixels: Pixels that the two put on different sides of the threshold.
    """

    largest_difference: float
    components: int
    exact_components: int
    other_pixels: int


@dataclasses.dataclass
class Measured:
    """What one peer did.

    Attributes:
        peer: Which.
        window: Chosen size in px; None before the choice.
        tries: Seconds for each size that was tried, on the breast alone; a message where it failed.
        answers: For each image's name the worker's answers, one a turn.
        agreement: With float64, of the first turn.
        failure: Why there is nothing more.
    """

    peer: Peer
    window: int | None = None
    tries: dict[int, float | str] = dataclasses.field(default_factory=dict)
    answers: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    agreement: Agreement | None = None
    failure: str = ""

    def seconds(self, image: str) -> float | None:
        """Returns the median over the turns."""
        return statistics.median(answer["seconds"] for answer in self.answers[image]) if image in self.answers else None

    def times(self, ours: "Measured", image: str) -> float | None:
        """Returns seconds by those of ours on the whole mammogram in the same turn, the median over the turns."""
        if image not in self.answers or MAMMOGRAM not in ours.answers:
            return None
        pairs = zip(self.answers[image], ours.answers[MAMMOGRAM], strict=False)
        return statistics.median(answer["seconds"] / other["seconds"] for answer, other in pairs)

    def cpu_seconds(self, image: str, cores: int) -> float | None:
        """Returns the least CPU time of a core over the turns; what other processes take is not in it."""
        if image not in self.answers:
            return None
        return min(answer["cpu_seconds"] for answer in self.answers[image]) / cores

    @property
    def peak_bytes(self) -> int:
        """The most memory that any of its turns had after its first image."""
        return max(answer["peak_bytes"] for answer in next(iter(self.answers.values())))

    @property
    def about(self) -> dict[str, Any]:
        """Versions and precision, as the worker told them."""
        return dict(next(iter(self.answers.values()))[0]["about"]) if self.answers else {}


def choose_window(measured: Measured, run: Run, image: pathlib.Path) -> None:
    """Tries a peer's sizes on an image, each in a new process, and keeps the fastest, or the first that fits.

    A peer with one size is not tried; one that none fits has failed.
    """
    peer = measured.peer
    if len(peer.windows) == 1:
        measured.window = peer.windows[0]
        return
    for window in peer.windows:
        try:
            measured.tries[window] = run(peer, window, [Task(image)])[0]["seconds"]
        except PeerError as error:
            measured.tries[window] = str(error)
            continue
        if not peer.fastest:
            break
    done = {window: seconds for window, seconds in measured.tries.items() if isinstance(seconds, float)}
    if done:
        measured.window = min(done, key=lambda window: done[window])
    else:
        measured.failure = str(measured.tries[peer.windows[-1]])


def measure(measured: Measured, run: Run, images: Mapping[str, Task]) -> None:
    """Takes one turn: a new process that predicts the images in their order; a failure is kept, not raised."""
    if measured.failure or measured.window is None:
        return
    try:
        answers = run(measured.peer, measured.window, list(images.values()))
    except PeerError as error:
        measured.failure = str(error)
        return
    for name, answer in zip(images, answers, strict=True):
        measured.answers.setdefault(name, []).append(answer)


def agree(probability: np.ndarray, exact: np.ndarray, threshold: float) -> Agreement:
    """Compares an answer with the float64 one.

    Args:
        probability: float32 [height, width].
        exact: float64, the same shape.
        threshold: From which on a pixel counts.
    """
    found, wanted = probability >= threshold, exact >= threshold
    return Agreement(
        float(np.abs(probability - exact).max()),
        label_components(found)[1],
        label_components(wanted)[1],
        int(np.count_nonzero(found != wanted)),
    )
