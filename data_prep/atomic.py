"""Files that are whole or absent: written beside under a temporary name, then renamed."""

import contextlib
import json
import os
import pathlib
import re
import secrets
from collections.abc import Iterator
from typing import Any

__all__ = ["PARTIAL", "temporary_beside", "write_json", "write_text"]

# What a killed process leaves of a file.
PARTIAL = re.compile(r"\..+\.[0-9a-f]{16}\.partial")


@contextlib.contextmanager
def temporary_beside(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path in the folder of `path`; on success it takes its name, on an error it goes.

    Its name is its own even where two threads, processes or machines write the same file at the same time. What the
    caller leaves there is flushed to the disk before the rename, so that a crash leaves the old content or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
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
