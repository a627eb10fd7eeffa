"""Independent checks of DICOM objects: dciodvfy and dcentvfy of dicom3tools, where they are installed."""

import pathlib
import shutil
import subprocess

import pytest

__all__ = ["entity_errors", "needs_checker", "object_errors"]

needs_checker = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy of the Debian package dicom3tools is not installed"
)


def object_errors(path: pathlib.Path) -> list[str]:
    """Returns what dciodvfy calls an error of an object; empty where dciodvfy is not installed."""
    # It counts the bytes of a text where PS3.5 6.2 counts characters.
    errors = _errors("dciodvfy", "-new", str(path))
    return [error for error in errors if error.isascii() or "Length invalid" not in error]


def entity_errors(paths: list[pathlib.Path]) -> list[str]:
    """Returns what dcentvfy finds at odds between objects of the same patient, study, series and instance."""
    return _errors("dcentvfy", *map(str, paths))


def _errors(command: str, *arguments: str) -> list[str]:
    if shutil.which(command) is None:
        return []
    ended = subprocess.run([command, *arguments], capture_output=True, text=True, errors="replace", check=False)
    lines = (ended.stdout + ended.stderr).splitlines()
    return [line for line in lines if line.startswith(("Error", "Abort"))]
