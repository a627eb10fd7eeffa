"""Files that are whole or absent: written beside under a temporary name, then renamed."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

__all__ = ["temporary_beside", "write_json", "write_text"]


@contextlib.contextmanager
def temporary_beside(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path in the folder of `path`; on success it takes its name, on an error it goes.

    What the caller leaves at the temporary path is flushed to the disk before the rename, so that a crash leaves either
    the old content or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: pathlib.Path, text: str) -> None:
    """Replaces a UTF-8 text file in one step."""
    with temporary_beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: pathlib.Path, value: Any) -> None:
    """Replaces a JSON file in one step; NaN is refused, for JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
