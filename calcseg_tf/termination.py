"""SIGTERM, which cluster schedulers and `docker stop` send before they kill: a run ends where nothing is lost."""

import signal
from types import FrameType

from data_prep.errors import UnfinishedError

__all__ = ["TerminatedError", "Termination"]


class TerminatedError(UnfinishedError):
    """A run that SIGTERM ended; the status is what shells report of that signal."""

    exit_status = 128 + signal.SIGTERM


class Termination:
    """Takes note of SIGTERM while it is entered, and leaves the process as it was; for the main thread alone.

    Attributes:
        requested: Whether the signal came.
    """

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> "Termination":
        self._previous = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._previous)

    def check(self) -> None:
        """Ends the run where the signal came.

        Not the signal's handler does it: what it raised inside Keras' layers would come out as another error.

        Raises:
            TerminatedError: The signal came.
        """
        if self.requested:
            raise TerminatedError(
                "ended by SIGTERM; everything up to here is kept, and the same command goes on from it"
            )

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
