"""Files that are whole or absent: written beside under a temporary name, then renamed."""

import contextlib
import json
import os
import pathlib
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from data_prep.flushing import flush
from data_prep.remote import RemotePath, as_remote

__all__ = ["is_partial", "remove_scratch", "sweep_partial_files", "temporary_beside", "write_json", "write_text"]

# What a killed process leaves of a file; some libraries tell the format by an ending of their own behind it.
_PARTIAL = re.compile(r"\..+\.[0-9a-f]{16}\.partial(?:\..+)?")


@contextlib.contextmanager
def temporary_beside(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path in the folder of `path`; on success it takes its name, on an error it goes.

    For a `RemotePath` it lies on this machine and is copied there under a temporary name.

    Its name is its own even where two threads, processes or machines write the same file at the same time. What the
    caller leaves there is flushed to the disk before the rename, so that a crash leaves the old content or the new one.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    if (remote := as_remote(path)) is not None:
        with tempfile.TemporaryDirectory(prefix=_scratch_prefix()) as folder:
            local = pathlib.Path(folder, path.name)
            yield local
            remote.receive(local, RemotePath(temporary))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
        flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_scratch() -> None:
    """Removes what this process keeps on this machine of remote files: for one that ends at once, without unwinding."""
    for folder in pathlib.Path(tempfile.gettempdir()).glob(f"{_scratch_prefix()}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _scratch_prefix() -> str:
    return f"calcseg-{os.getpid()}-"


def is_partial(path: pathlib.Path) -> bool:
    """Tells a file that a killed process left half written."""
    return _PARTIAL.fullmatch(path.name) is not None and path.is_file()


def sweep_partial_files(folder: pathlib.Path) -> None:
    """Removes what killed processes left of files in a folder into which no other process writes now."""
    if folder.is_dir():
        for path in folder.iterdir():
            if is_partial(path):
                path.unlink(missing_ok=True)


def write_text(path: pathlib.Path, text: str) -> None:
    """Replaces a UTF-8 text file in one step."""
    with temporary_beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: pathlib.Path, value: Any) -> None:
    """Replaces a JSON file in one step; NaN is refused, for JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
