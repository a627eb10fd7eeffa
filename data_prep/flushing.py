"""Has the system write to the disk what programs have written: only that outlives a loss of power."""

import errno
import os
import pathlib

__all__ = ["flush", "flush_folder"]


def flush(path: pathlib.Path) -> None:
    """Has the system write a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems, of other machines mostly, cannot do it with a folder.
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def flush_folder(folder: pathlib.Path) -> None:
    """Has the system write a folder with all that is in it: after it is renamed, a crash leaves it whole."""
    for path in [*folder.rglob("*"), folder]:
        flush(path)
