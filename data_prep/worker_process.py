"""What every process that works for another does first."""

import multiprocessing
import os
import signal
import threading

__all__ = ["begin_worker"]


def begin_worker() -> None:
    """Lets Ctrl-C pass, for the parent ends its workers itself, and ends this process when its parent is gone.

    A rerun must not meet the workers of a parent that was killed at work in the same folder.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it reaches the whole group
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
