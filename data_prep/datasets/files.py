"""Files of a data set: every visible one below a folder, and whether it may be DICOM."""

import os
import pathlib
from collections.abc import Iterator

from data_prep.mammogram import is_dicom

__all__ = ["may_be_dicom", "walk_files"]


def walk_files(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields every visible file in order of path; follows links to folders, each folder once."""
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield pathlib.Path(folder, name)


def may_be_dicom(path: pathlib.Path) -> bool:
    """Tells by suffix or content; a file that cannot be opened counts where its name says nothing else."""
    if path.name.upper() == "DICOMDIR":
        return False
    try:
        return is_dicom(path)
    except OSError:
        return not path.suffix
