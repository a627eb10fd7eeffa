"""SIGTERM, which cluster schedulers and `docker stop` send before they kill: a run ends where nothing is lost."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from data_prep.errors import UnfinishedError

__all__ = ["TerminatedError", "Termination", "ended_by_sigterm"]


_SECONDS_TO_TRY_AGAIN = 0.01


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


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Ends what it holds at once where SIGTERM comes; for a main thread in which no library would swallow the error.

    In another thread nothing changes.

    Raises:
        TerminatedError: The signal came.
    """
    came = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut the clearing up short
        raise TerminatedError("ended by SIGTERM")

    def again(ignored: "sys.UnraisableHookArgs") -> None:
        # It met a callback of the interpreter's, such as a weak reference's, whose errors are told and forgotten.
        if isinstance(ignored.exc_value, TerminatedError):
            signal.signal(signal.SIGTERM, end)
            threading.Timer(_SECONDS_TO_TRY_AGAIN, os.kill, (os.getpid(), signal.SIGTERM)).start()
        else:
            told(ignored)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told, sys.unraisablehook = sys.unraisablehook, again
    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except TerminatedError:
        raise
    except BaseException:
        if came:  # what it became on its way, or the end of other processes that got the signal too
            raise TerminatedError("ended by SIGTERM") from None
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)
        sys.unraisablehook = told
