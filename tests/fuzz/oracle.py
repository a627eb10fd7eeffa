"""What must be true of every ending: kinds of ending, messages, records, memory."""

import contextlib
import enum
import os
import pathlib
import re
from collections.abc import Iterable

import numpy as np

from data_prep.errors import InputError
from data_prep.mammogram import Laterality, View
from data_prep.schema import Record

__all__ = ["CANARIES", "Ending", "Memory", "WrongEndingError", "check_error", "check_line", "check_record"]

# Parts of what stands for a patient in the seeds; no message may hold one, in whatever case.
CANARIES = ("canary", "77413993", "qzx", "19430217")

_LONGEST = 1000  # characters; a line that a person reads
_VAGUE = re.compile(r"\(None\)|MemoryError|\bError\)?$|: *$|Traceback")


class Ending(enum.Enum):
    """How a case may end."""

    RECORD = "records"
    REJECTION = "rejections"  # named; the rest of the data set goes on
    ERROR = "errors"  # one clear line, which stops the command


class WrongEndingError(AssertionError):
    """A case ended as none may."""


def check_error(error: InputError) -> None:
    """Checks the line that a user would see, and the rule, which may stand in a manifest."""
    check_line(error.rule)
    if len(str(error).splitlines()) != 1:
        raise WrongEndingError(f"an error is one line; found {str(error)!r}")


def check_line(line: str, longest: int = _LONGEST) -> None:
    """Checks one line that leaves `data_prep` or tells a user why."""
    if not line.isprintable() or not 10 <= len(line) <= longest:
        raise WrongEndingError(f"a message is one printable line of 10 to {longest} characters; found {line[:900]!r}")
    if found := [part for part in CANARIES if part in line.lower()]:
        raise WrongEndingError(f"a message quotes no header; found {found} in {line!r}")
    if _VAGUE.search(line):
        raise WrongEndingError(f"a message names a rule; found {line!r}")


def check_record(record: Record) -> None:
    """Checks that a record is what its readers will accept."""
    pixels, mask = record.pixels, record.mask
    if (
        pixels.dtype != np.uint16
        or mask.dtype != np.uint8
        or pixels.shape != mask.shape
        or pixels.ndim != 2
        or not pixels.size
    ):
        raise WrongEndingError(f"pixels {pixels.dtype} {pixels.shape}, mask {mask.dtype} {mask.shape}")
    if not 8 <= record.bits_stored <= 16 or int(pixels.max()) >= 1 << record.bits_stored:
        raise WrongEndingError(f"bits stored {record.bits_stored}, greatest pixel {pixels.max()}")
    if not set(np.unique(mask).tolist()) <= {0, 1, 255}:
        raise WrongEndingError(f"mask values {np.unique(mask)[:9]}")
    Laterality(record.laterality), View(record.view)
    spacing = np.array(record.pixel_spacing_mm or (1.0, 1.0), np.float32)  # as it is stored
    if spacing.shape != (2,) or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise WrongEndingError(f"pixel spacing {record.pixel_spacing_mm}")


class Memory:
    """The greatest resident memory since its making, of this process and its children, above what it was then."""

    def __init__(self) -> None:
        self._before = sum(_status(pid, "VmRSS") for pid in _family())
        for pid in _family():
            with contextlib.suppress(OSError):
                pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")

    def growth(self) -> int:
        """Returns bytes."""
        return max(0, sum(_status(pid, "VmHWM") for pid in _family()) - self._before)


def _family() -> Iterable[int]:
    yield os.getpid()
    for path in pathlib.Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            yield from map(int, path.read_text(encoding="ascii").split())


def _status(pid: int, field: str) -> int:
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return 0
