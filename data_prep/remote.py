"""Folders of records on other file systems, such as gs://bucket/records, as far as `tf.io.gfile` carries them.

A `RemotePath` answers the calls that records and manifests need as `pathlib.Path` does, so that the code for folders of
this machine serves both. TensorFlow 2.15 brings gs:// and ram://; s3:// and hdfs:// come with tensorflow-io, which is
no part of this project: without it they are refused in one line.

What differs: nothing keeps two conversions from writing one remote folder at the same time.
"""

import contextlib
import io
import os
import pathlib
import re
import shutil
import stat
from collections.abc import Iterator
from typing import Any, cast

from data_prep.errors import InputError

__all__ = ["RemotePath", "as_remote", "is_remote", "records_path", "remove_tree"]

# pathlib makes one slash of two, so that a path may come as "gs:/bucket".
_URL = re.compile(r"[a-z][a-z0-9+.-]+:/")


class RemotePath(pathlib.PurePosixPath):
    """A path of a file system that TensorFlow knows. What fails there is an OSError, as of local files."""

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    def __fspath__(self) -> str:
        return str(self)

    def absolute(self) -> "RemotePath":
        """Returns itself: a URL is absolute."""
        return self

    def resolve(self) -> "RemotePath":
        """Returns itself."""
        return self

    def exists(self) -> bool:
        """Tells whether there is a file or folder."""
        with _gfile() as gfile:
            return bool(gfile.exists(str(self)))

    def is_dir(self) -> bool:
        """Tells whether there is a folder; stores know one by what lies in it."""
        with _gfile() as gfile:
            return bool(gfile.isdir(str(self)))

    def is_file(self) -> bool:
        """Tells whether there is a file."""
        return self.exists() and not self.is_dir()

    def iterdir(self) -> Iterator["RemotePath"]:
        """Yields what lies in a folder."""
        with _gfile() as gfile:
            names = gfile.listdir(str(self))
        yield from (self / name.rstrip("/") for name in names)

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Makes a folder with those above it; one that is there may stay."""
        with _gfile() as gfile:
            gfile.makedirs(str(self))

    def rmdir(self) -> None:
        """Removes a folder."""
        with _gfile() as gfile:
            gfile.rmtree(str(self))

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes a file."""
        with contextlib.suppress(*([FileNotFoundError] if missing_ok else [])), _gfile() as gfile:
            gfile.remove(str(self))

    def stat(self) -> os.stat_result:
        """Returns the size; nothing else is known everywhere."""
        with _gfile() as gfile:
            return os.stat_result((stat.S_IFREG, 0, 0, 1, 0, 0, gfile.stat(str(self)).length, 0, 0, 0))

    def open(self, mode: str = "rb") -> io.BufferedReader:
        """Opens a file for reading bytes."""
        return io.BufferedReader(_Reader(str(self)), 1 << 20)

    def read_bytes(self) -> bytes:
        """Returns what is in a file."""
        with self.open() as file:
            return file.read()

    def read_text(self, encoding: str = "utf-8") -> str:
        """Returns what is in a text file."""
        return self.read_bytes().decode(encoding)

    def receive(self, local: pathlib.Path, partial: "RemotePath") -> None:
        """Takes a file of this machine, under another name first, so that a half one never has this name."""
        with _gfile() as gfile:
            gfile.makedirs(str(self.parent))
            gfile.copy(str(local), str(partial), overwrite=True)
            gfile.rename(str(partial), str(self), overwrite=True)


class _Reader(io.RawIOBase):
    """A file of TensorFlow's as Python's own."""

    def __init__(self, path: str) -> None:
        with _gfile() as gfile:
            self._file = gfile.GFile(path, "rb")
            self._file.size()  # opens it

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _gfile():
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with _gfile():
            self._file.seek(offset, whence)
            return int(self._file.tell())


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Tells a URL from a path of this machine."""
    return _URL.match(os.fspath(path)) is not None


def records_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the path of a folder of records: of this machine, or a `RemotePath`.

    Raises:
        InputError: TensorFlow has no such file system.
    """
    if not is_remote(path):
        return pathlib.Path(path)
    remote = RemotePath(path)
    scheme = remote.parts[0].rstrip(":")
    with _gfile() as gfile:
        if scheme not in (known := sorted(set(gfile.get_registered_schemes()) - {""})):
            raise InputError(
                f"TensorFlow has no file system {scheme}:// here (it has {', '.join(known)}): use a folder of this "
                "machine or a mounted one, and copy the finished records with the store's own tool",
                remote,
            )
    return cast(pathlib.Path, remote)


def as_remote(path: pathlib.Path) -> RemotePath | None:
    """Returns a path that is remote as what it is, None for one of this machine."""
    value: object = path
    return value if isinstance(value, RemotePath) else None


def remove_tree(folder: pathlib.Path) -> None:
    """Removes a folder with all in it, as far as that can be done."""
    if (remote := as_remote(folder)) is not None:
        with contextlib.suppress(OSError):
            remote.rmdir()
    else:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _gfile() -> Iterator[Any]:
    import tensorflow as tf

    try:
        yield tf.io.gfile
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(error.message or "no such file") from None
    except tf.errors.OpError as error:
        raise OSError(f"{type(error).__name__}: {' '.join(error.message.split())[:200]}") from None
