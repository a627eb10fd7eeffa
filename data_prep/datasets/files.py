"""Files of a data set: every visible one below a folder, and whether it may be DICOM."""

import collections
import os
import pathlib
import stat
import unicodedata
from collections.abc import Iterable, Iterator

from data_prep.errors import InputError
from data_prep.mammogram import is_dicom
from data_prep.manifest import Rejection

__all__ = ["kinds_of_files", "may_be_dicom", "read_small", "reject_names", "require_folder", "walk_files"]


def walk_files(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields every visible file in order of path; follows links to folders, each folder once.

    Files and folders that `reject_names` finds are passed over.
    """
    for folder, _, names in _walk(root):
        for name in filter(_is_text, names):
            yield folder / name


def require_folder(path: pathlib.Path) -> None:
    """Checks that a data set is a folder.

    Raises:
        InputError: Nothing is there, or a file such as an archive.
    """
    if not path.is_dir():
        rule = "a data set is a folder; found a file: unpack an archive first" if path.exists() else "no such folder"
        raise InputError(rule, path)


def kinds_of_files(paths: Iterable[pathlib.Path]) -> str:
    """Tells how many files of which suffix there are, the most common first: "12 .jpg, 1 .txt", or "none"."""
    suffixes = collections.Counter(path.suffix.lower() or "without a suffix" for path in paths)
    return ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(4)) or "none"


def reject_names(root: pathlib.Path) -> tuple[Rejection, ...]:
    """Finds visible files and folders whose names are no UTF-8, as old archives leave them, or hold control characters.

    Such a name is no text: it can be written neither into a table nor on one line. It is told with escapes.
    """
    return tuple(
        Rejection(
            _escaped((folder / name).relative_to(root).as_posix()),
            "the name of a file or folder must be text in UTF-8 without control characters: rename it",
        )
        for folder, folders, names in _walk(root)
        for name in sorted([*folders, *names])
        if not _is_text(name)
    )


def _walk(root: pathlib.Path) -> Iterator[tuple[pathlib.Path, list[str], list[str]]]:
    """Yields folders as `os.walk` does; those whose names are no text are told, but not entered.

    Pipes, sockets and devices are passed over: reading one may never end.
    """
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(real)
        visible = sorted(name for name in folders if not name.startswith("."))
        folders[:] = filter(_is_text, visible)
        files = [name for name in names if not name.startswith(".") and not _is_special(os.path.join(folder, name))]
        yield pathlib.Path(folder), visible, sorted(files)


def _is_special(path: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False  # a broken link: told where it is read


def _is_text(name: str) -> bool:
    # Cc are control characters, Cs what stands for bytes that are no UTF-8 (PEP 383), Zl and Zp end a line.
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name)


def _escaped(name: str) -> str:
    told = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(character if _is_text(character) else ascii(character)[1:-1] for character in told)


def may_be_dicom(path: pathlib.Path) -> bool:
    """Tells by suffix or content; a file that cannot be opened counts where its name says nothing else."""
    if path.name.upper() == "DICOMDIR":
        return False
    try:
        return is_dicom(path)
    except OSError:
        return not path.suffix


def read_small(path: pathlib.Path, most: int, what: str) -> bytes:
    """Reads a file that is known to be small, in memory of that size whatever it holds.

    Args:
        path: The file.
        most: Bytes that it may have.
        what: Names it in the error, such as "a table".

    Raises:
        InputError: It cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
    if len(data) > most:
        raise InputError(f"{what} has at most {most} bytes; found more", path)
    return data
