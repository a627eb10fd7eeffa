"""Runs entry points as a user would: in processes of their own, from the project's root."""

import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Sequence

__all__ = ["ROOT", "assert_one_line_error", "command", "environment", "heed_interrupt", "run_module", "run_modules"]

ROOT = pathlib.Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """The process's own, without accelerators."""
    return {**os.environ, "CUDA_VISIBLE_DEVICES": ""}


def command(module: str, *arguments: str, **flags: object) -> list[str]:
    """The command line of `python -m module --name=value ...`."""
    return [sys.executable, "-m", module, *arguments, *(f"--{name}={value}" for name, value in flags.items())]


def heed_interrupt() -> None:
    """Lets a child take Ctrl-C: a shell lets what it runs in the background ignore it, tests and their children too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_module(module: str, *arguments: str, **flags: object) -> subprocess.CompletedProcess[str]:
    """Runs it to its end."""
    return subprocess.run(
        command(module, *arguments, **flags),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


_ONE_AFTER_ANOTHER = """
import json, os, runpy, sys, tempfile
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
calls = json.load(sys.stdin)
if calls[0][0].startswith("calcseg_tf."):
    import calcseg_tf.augment, tensorflow
results = []
for module, arguments in calls:
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            sys.exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0), err.seek(0)
        results.append([status, out.read(), err.read()])
print(json.dumps(results))
"""


def run_modules(module: str, calls: Sequence[Sequence[str]]) -> list[subprocess.CompletedProcess[str]]:
    """Runs an entry point several times, each in a process forked off one that has imported what they need.

    Saves the four seconds that each would take for it; `calls` holds the arguments of each.
    """
    ended = subprocess.run(
        [sys.executable, "-c", _ONE_AFTER_ANOTHER],
        input=json.dumps([(module, list(arguments)) for arguments in calls]),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=580,
        check=True,
    )
    results = json.loads(ended.stdout.splitlines()[-1])
    return [
        subprocess.CompletedProcess([module, *arguments], *result)
        for arguments, result in zip(calls, results, strict=True)
    ]


def assert_one_line_error(ended: subprocess.CompletedProcess[str], *words: object) -> None:
    """Checks the contract of a user's error: status 1, one line that holds the words, no traceback."""
    assert ended.returncode == 1, ended
    lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    for word in words:
        assert str(word) in lines[0], lines[0]
