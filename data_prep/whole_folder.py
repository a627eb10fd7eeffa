"""A folder of results that appears whole: files move up from a hidden part of it once all are written."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

from data_prep.errors import InputError
from data_prep.flushing import flush_folder
from data_prep.only_run import only_run_in

__all__ = ["check_new_folder", "whole_folder"]


def check_new_folder(output_dir: pathlib.Path, partial: str) -> None:
    """Checks that a folder may be filled: it is new, empty, or holds what a killed run left.

    Args:
        output_dir: The folder.
        partial: Name of the hidden folder in it, as `whole_folder` takes it.

    Raises:
        InputError: It is a file, or holds something else.
    """
    if output_dir.exists() and not output_dir.is_dir():
        raise InputError("--output_dir must be a folder; found a file", output_dir)
    others = [path for path in output_dir.iterdir() if path.name != partial] if output_dir.exists() else []
    if others:
        raise InputError(f"--output_dir must be new or empty; found {len(others)} files or folders in it", output_dir)


@contextlib.contextmanager
def whole_folder(output_dir: pathlib.Path, partial: str, last: str) -> Iterator[pathlib.Path]:
    """Gives a hidden folder to write into, and moves its files up when the context ends without an error.

    Args:
        output_dir: Receives the files; made where it is missing.
        partial: Name of the hidden folder in it; what a killed run left there goes.
        last: The file that moves last: where it is, all is.

    Raises:
        InputError: Another run is writing into the folder, or has just filled it.
    """
    with only_run_in(output_dir, "another run is writing into this folder: wait for it"):
        check_new_folder(output_dir, partial)
        hidden = output_dir / partial
        shutil.rmtree(hidden, ignore_errors=True)
        hidden.mkdir()
        try:
            yield hidden
            flush_folder(hidden)
            for path in sorted(hidden.iterdir(), key=lambda path: (path.name == last, path.name)):
                path.rename(output_dir / path.name)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
