"""Starts commands from a process that has imported TensorFlow: kills then fall into their work, not into the import.

The five seconds of processor time that the import takes are paid once, and a campaign has time for many more cases.
"""

import contextlib
import functools
import json
import pathlib
import select
import subprocess
import sys
from collections.abc import Sequence

from tests.fakes.commands import ROOT, environment

__all__ = ["Forked", "fork_command"]

# One command at a time. A child has a session of its own before its number is told, so that its group can be killed.
_SERVER = """
import json, os, runpy, sys, tempfile
import calcseg_tf.augment, tensorflow
own, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    module, arguments, scratch, out, err = json.loads(line)
    child = os.fork()
    if child == 0:
        os.setsid()
        for path, descriptor in ((os.devnull, 0), (out, 1), (err, 2)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666), descriptor)
        own.close()
        sys.stdout = open(1, "w", closefd=False)
        os.environ["TMPDIR"], tempfile.tempdir = scratch, None
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        sys.exit(0)
    while os.getpgid(child) != child:
        pass
    print(child, file=own, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=own, flush=True)
"""


class Forked:
    """A command that runs or has ended, told of as `subprocess.Popen` does.

    Args:
        server: Has just been asked to start it.
    """

    def __init__(self, server: "subprocess.Popen[bytes]") -> None:
        self._server = server
        self._status: int | None = None
        self.pid = self._number()

    def wait(self, timeout: float | None = None) -> int:
        """Returns its status, negative where a signal ended it.

        Raises:
            subprocess.TimeoutExpired: It runs on.
        """
        if self._status is None:
            if not select.select([self._server.stdout], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked command", timeout or 0.0)
            self._status = self._number()
        return self._status

    def poll(self) -> int | None:
        """Returns its status, None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)
        return None

    def _number(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())


def fork_command(
    module: str, arguments: Sequence[str], scratch: pathlib.Path, out: pathlib.Path, server_number: int = 0
) -> Forked:
    """Starts `python -m module`, as the leader of a session.

    Args:
        module: Its name.
        arguments: What stands behind it.
        scratch: Its folder for temporary files.
        out: Receives `stdout` and `stderr`.
        server_number: Another one for a second command at the same time.
    """
    server = _server(server_number)
    assert server.stdin is not None
    request = module, list(arguments), str(scratch), str(out / "stdout"), str(out / "stderr")
    server.stdin.write(json.dumps(request).encode() + b"\n")
    return Forked(server)


@functools.cache
def _server(_: int) -> "subprocess.Popen[bytes]":
    """Starts what forks; it ends with this process, whose end closes its input."""
    return subprocess.Popen(
        [sys.executable, "-c", _SERVER], cwd=ROOT, env={**environment(), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
    )  # fmt: skip
