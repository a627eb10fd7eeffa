"""One run at a time in a folder."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

from data_prep.errors import InputError

__all__ = ["only_run_in"]


@contextlib.contextmanager
def only_run_in(folder: pathlib.Path, refusal: str) -> Iterator[None]:
    """Makes the folder and lets no second run write into it; the system frees the lock whatever ends the process.

    A folder made here goes again where nothing was written into it.

    Args:
        folder: Held while the context is.
        refusal: The error's rule where another run holds it.

    Raises:
        InputError: Another run holds it.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(refusal, folder) from None
        except OSError:
            pass  # a file system without locks: two runs at once are the user's to avoid
        yield
    finally:
        if made:  # and held still, so that nobody else has begun in it
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
        os.close(descriptor)
