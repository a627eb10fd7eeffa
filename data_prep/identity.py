"""Names that leave `data_prep`: salted hashes of the data set's own, or those themselves where it is public."""

import contextlib
import dataclasses
import fcntl
import hashlib
import hmac
import os
import pathlib
import re

from data_prep.errors import InputError

__all__ = ["Identity", "read_or_make_salt"]

_SALT_BYTES = 32
_MIN_SALT_BYTES = 16
_HEX_DIGITS = 16  # 64 bits: two of a million names agree with a probability of 3e-8

_LINE = re.compile(r" line \d+\Z")
_SUFFIXES = (".dcm", ".dicom", ".png", ".tif", ".tiff", ".npy", ".xml", ".csv")


@dataclasses.dataclass(frozen=True)
class Identity:
    """How names leave.

    Attributes:
        salt: Key of the hash; None keeps the names as they are, for public data sets only.
    """

    salt: bytes | None = dataclasses.field(repr=False)

    def image(self, key: str) -> str:
        """Returns `image/id` for the key of a case."""
        return self._name("image", key)

    def patient(self, key: str) -> str:
        """Returns `patient/id` for a patient's name; "" for an unknown patient."""
        return self._name("patient", key) if key else ""

    def file(self, place: str) -> str:
        """Returns what stands for a file of the data set, such as "3f0c...9a.dcm", or a line in it.

        Names of files and folders tell patients and dates in any form, so none of it is kept but a suffix that is ours.

        Args:
            place: Path relative to the data directory, with "/"; perhaps with " line 12" behind it.
        """
        if self.salt is None:
            return place
        path = _LINE.sub("", place)
        suffix = pathlib.PurePosixPath(path).suffix.lower()
        return self._name("file", path) + (suffix if suffix in _SUFFIXES else "") + place[len(path) :]

    def _name(self, kind: str, key: str) -> str:
        if self.salt is None:
            return key
        return hmac.new(self.salt, f"{kind}:{key}".encode(), hashlib.sha256).hexdigest()[:_HEX_DIGITS]


def read_or_make_salt(path: pathlib.Path) -> bytes:
    """Returns the salt kept in a file; makes one of 32 random bytes, for the owner's eyes alone, where there is none.

    An empty file, as a process killed on the way leaves it, is none. Of two processes that make it at once, one does.

    Raises:
        InputError: The file cannot be read or made, or holds fewer than 16 bytes.
    """
    try:
        salt = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise InputError(f"the salt cannot be read ({error.strerror})", path) from None
    try:
        salt = salt or _make_salt(path)
    except OSError as error:
        raise InputError(f"the salt cannot be written ({error.strerror})", path) from None
    if len(salt) < _MIN_SALT_BYTES:
        raise InputError(f"a salt has at least {_MIN_SALT_BYTES} bytes; found {len(salt)}", path)
    return salt


def _make_salt(path: pathlib.Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if not (salt := file.read()):
            salt = os.urandom(_SALT_BYTES)
            file.write(salt)
            file.flush()
            os.fsync(file.fileno())
        return salt
