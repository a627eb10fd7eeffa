"""Code that ends as none may, to see that the pool finds each."""

import os
import pathlib
import random
import sys
import time
from collections.abc import Callable, Mapping

from data_prep.errors import InputError
from tests.fuzz.oracle import Ending, check_line
from tests.fuzz.target import Target

__all__ = ["TARGETS"]


def _abort() -> None:
    os.abort()


def _end() -> None:
    os._exit(3)


def _hang() -> None:
    time.sleep(600)


def _swell() -> None:
    taken = bytearray(600 << 20)
    taken[:: os.sysconf("SC_PAGESIZE")] = b"x" * len(taken[:: os.sysconf("SC_PAGESIZE")])


def _raise() -> None:
    raise RecursionError("too deep")


def _print() -> None:
    print("Canaryname", file=sys.stderr)


def _say_two_lines() -> None:
    raise InputError("a file must be whole;\nfound half")


def _say_a_name() -> None:
    raise InputError("Modality must be MG; found Canaryname")


def _say_nothing() -> None:
    check_line("cannot be read (None)")


def _target(name: str, break_down: Callable[[], None]) -> Target:
    def attempt(folder: pathlib.Path, data: bytes, _: random.Random) -> Ending:
        if data != b"whole":  # the inputs that are not damaged end well
            break_down()
        return Ending.RECORD

    return Target(name, lambda: [b"whole"], lambda folder: None, attempt, (lambda rng, data: data + b"x",))


TARGETS: Mapping[str, Target] = {
    name: _target(name, break_down)
    for name, break_down in (
        ("abort", _abort), ("end", _end), ("hang", _hang), ("swell", _swell), ("raise", _raise), ("print", _print),
        ("two_lines", _say_two_lines), ("name", _say_a_name), ("nothing", _say_nothing), ("well", lambda: None),
    )
}  # fmt: skip
