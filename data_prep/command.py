"""What every entry point shares: flags in, one call, one clear line on a user's error."""

import io
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from data_prep.errors import InputError
from data_prep.help_page import define_help, is_required
from data_prep.printable import printable

__all__ = ["DISCLAIMER", "DISCLAIMER_COLUMN", "run", "say", "split_options"]

DISCLAIMER = "Research use only. Not a medical device, not for diagnosis."

# The last column of tables about patients' images, always empty: its name says it even where there is no row, and a
# line of comment would be read as a row.
DISCLAIMER_COLUMN = "research_use_only_not_for_diagnosis"

_DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


def run(call: Callable[[], None]) -> None:
    """Parses the command line and runs `call`, turning users' errors into one line and exit status 1.

    Args:
        call: The command; reads its flags and prints where the results are. Anything it imports late stays out of the
            start-up time of `--help`.
    """
    _quieten()
    app.run(lambda argv: _main(argv, call), flags_parser=_parse)


def split_options(text: str, flag: str) -> tuple[str, ...]:
    """Splits options in one string as a shell does.

    Args:
        text: Value of a flag.
        flag: Named in the error.

    Raises:
        InputError: A quotation mark is missing.
    """
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise InputError(f"a quotation mark is missing ({error})", flag) from None


def _quieten() -> None:
    """Silences what TensorFlow logs on import: three cuDNN/cuFFT/cuBLAS "factory" lines and CPU features.

    Prints what the terminal's encoding lacks, such as a folder's name that is no UTF-8, with escapes.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    warnings.filterwarnings("ignore", message=r"(?s).*TensorFlow Addons", category=UserWarning)
    logging.set_verbosity(logging.WARNING)


def _parse(argv: Sequence[str]) -> list[str]:
    define_help()
    try:
        remaining: list[str] = flags.FLAGS(list(argv))
    except flags.Error as error:
        _fail(_clear(error))
    except SystemExit:
        sys.exit(0)  # only --help and its like end here, and absl ends them with status 1
    if len(remaining) > 1:
        _fail(
            f"every setting is a --flag, and a value with spaces stands in quotation marks; found the stray argument "
            f"{remaining[1]!r}; --help tells of every flag"
        )
    for flag in flags.FLAGS.get_key_flags_for_module("__main__"):
        if is_required(flag) and flag.value in ("", []):
            _fail(f"--{flag.name} must not be empty (an unset variable of the shell?)")
        _expand_home(flag)
    return remaining


def _clear(error: flags.Error) -> str:
    """Returns absl's message in one line and plain words: first which flags that must be given were not."""
    missing, rest = [], []
    for line in str(error).removeprefix("ERROR:: ").splitlines():
        if found := re.search(r"Flag (--\w+) must have a value other than None", line):
            missing.append(found[1])
        else:
            line = re.sub(r"^flags \w+=.*?: ", "", line)  # the rule says which
            line = re.sub(r"invalid literal for int\(\) with base 10: .*", "this must be a whole number", line)
            rest.append(re.sub(r"could not convert string to float: .*", "this must be a number", line))
    told = [f"{', '.join(missing)} must be given" if missing else "", " ".join(" ".join(rest).split()).rstrip(".")]
    return "; ".join([*filter(None, told), "--help tells of every flag"])


def _expand_home(flag: flags.Flag) -> None:
    """Expands ~, which shells leave alone in `--flag=~/folder`: a folder of the name ~ would be made."""
    if isinstance(flag.value, str):
        flag.value = _at_home(flag.value)
    elif isinstance(flag.value, list) and all(isinstance(text, str) for text in flag.value):
        flag.value = [_at_home(text) for text in flag.value]


def _at_home(text: str) -> str:
    # PATH, NAME=PATH or @PATH.
    return re.sub(r"^(\w*=|@)?~(?=/|$)", lambda found: (found[1] or "") + os.path.expanduser("~"), text)


def _main(_: Sequence[str], call: Callable[[], None]) -> None:
    try:
        call()
    except (InputError, OSError) as error:
        if _DEBUG.value:
            raise
        _fail(str(error), getattr(error, "exit_status", 1))
    except MemoryError:
        if _DEBUG.value:
            raise
        _fail("memory ran out")
    except KeyboardInterrupt:
        _fail("interrupted")


def say(text: str) -> None:
    """Prints lines for the user, at once; a path or a server's words in them may hold what a terminal would obey."""
    print("\n".join(map(printable, text.split("\n"))), flush=True)


def _fail(message: str, status: int = 1) -> None:
    # A path may hold what ends a line.
    print(f"error: {printable(message)}", file=sys.stderr)
    sys.exit(status)
