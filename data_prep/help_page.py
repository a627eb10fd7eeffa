"""`--help` on a page: the command's own flags, first those that must be given, then in the order of definition."""

import sys
import textwrap
from collections.abc import Iterator, Sequence

from absl import app, flags

__all__ = ["define_help", "is_required"]

_COLUMNS = 120
# absl appends it behind the full stop of flags that may be repeated, whose own texts say so.
_REPEAT = ";\n    repeat this option to specify a list of values"
_FOOT = (
    "--flagfile=FILE reads flags from a file, one a line; --debug shows an error's traceback; --helpfull: all flags."
)


def define_help() -> None:
    """Puts the page in the place of absl's `--help` and `--helpshort`; `--helpfull` and `--helpxml` stay absl's."""
    app.define_help_flags()
    flags.DEFINE_flag(_Help())
    flags.DEFINE_flag(_HelpShort())


def is_required(flag: flags.Flag) -> bool:
    """Tells whether the command does not run without the flag."""
    return any("other than None" in validator.message for validator in flag.validators)  # absl tells it nowhere else


class _Help(app.HelpFlag):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.allow_override = True  # absl's own is there already

    def parse(self, argument: object) -> None:
        if self._parse(argument):
            print(*_page((sys.modules["__main__"].__doc__ or "").strip()), sep="\n")
            sys.exit()


class _HelpShort(_Help):
    NAME = "helpshort"
    SHORT_NAME = None


def _page(about: str) -> Iterator[str]:
    own: Sequence[flags.Flag] = flags.FLAGS.get_key_flags_for_module("__main__")
    names = [f"  --{'[no]' if flag.boolean else ''}{flag.name}  " for flag in own]
    column = max(map(len, names), default=0)
    yield about + "\n"
    for name, flag in sorted(zip(names, own, strict=True), key=lambda pair: not is_required(pair[1])):
        told = " ".join(f"{flag.help.removesuffix(_REPEAT)} {_default(flag)}".split())
        yield textwrap.fill(
            told, _COLUMNS, initial_indent=name.ljust(column), subsequent_indent=" " * column, break_on_hyphens=False
        )
    yield "\n" + _FOOT


def _default(flag: flags.Flag) -> str:
    if is_required(flag):
        return "(required)"
    if flag.boolean:
        return "(default on)" if flag.default else ""
    if flag.default in (None, "", []):
        return ""
    return f"(default {','.join(flag.default) if isinstance(flag.default, list) else flag.default})"
