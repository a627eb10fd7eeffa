"""One run at a time in a folder."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

from data_prep.errors import InputError

__all__ = ["HeldError", "only_run_in"]


class HeldError(InputError):
    """Another run holds the folder."""


@contextlib.contextmanager
def only_run_in(folder: pathlib.Path, refusal: str) -> Iterator[None]:
    """Makes the folder and lets no second run write into it; the system frees the lock whatever ends the process.

    A folder made here goes again where nothing was written into it. On NFS the lock holds among the processes of one
    machine only.

    Args:
        folder: Held while the context is.
        refusal: The error's rule where another run holds it.

    Raises:
        HeldError: Another run holds it.
    """
    descriptor, made = _lock(folder, refusal)
    try:
        yield
    finally:
        if made:  # and held still, so that nobody else has begun in it
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
        os.close(descriptor)


def _lock(folder: pathlib.Path, refusal: str) -> tuple[int, bool]:
    """Returns a descriptor that holds the folder, and whether the folder was made here."""
    while True:
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another run ended, and took the folder that it had made
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise HeldError(refusal, folder) from None
        except OSError:
            pass  # a file system without locks: two runs at once are the user's to avoid
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                return descriptor, made
        os.close(descriptor)  # the lock of a folder that is gone
