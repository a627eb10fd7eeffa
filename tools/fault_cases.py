"""One disturbed run: killed, without space on the disk or without permission; then the same command to its end."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from tests.fakes.commands import ROOT, environment
from tools.fault_commands import COMMANDS, World, difference, left_over
from tools.fault_processes import Forked, fork_command

__all__ = ["FAULTS", "Case", "Fault", "applies", "can_mount", "run_case"]

_SLOWER = 20.0  # than undisturbed, and a minute: nothing may take as long on a shared machine
_PAGE = 4096
_SECOND = "second"  # folder of what a second run says

# What TensorFlow and multiprocessing make in the system's folder for temporary files; a process that is killed at once
# cannot remove it.
_OF_LIBRARIES = ("__autograph_generated_file", "pymp-")


@dataclasses.dataclass(frozen=True)
class Case:
    """How a case ended.

    Attributes:
        command: Its command.
        fault: What happened to it.
        number: Its number, which is its seed.
        in_one_line: The disturbed run ended in one clear line; else it was killed, or came through.
        failure: What is wrong; "" where the result is that of the undisturbed run.
        told: What happened, for a person.
        times: How often it was disturbed: kills that met a running command, else 1.
    """

    command: str
    fault: str
    number: int
    in_one_line: bool
    failure: str
    told: str
    times: int = 1


class _FailedError(AssertionError):
    """What must not be."""


@dataclasses.dataclass(frozen=True)
class _Run:
    """A command in a folder of its own.

    Attributes:
        world: Where the inputs and the undisturbed result are.
        name: Of the command.
        folder: Of this case.
        rng: Random numbers of this case.
        told: What happened so far, for a person.
    """

    world: World
    name: str
    folder: pathlib.Path
    rng: random.Random
    told: list[str] = dataclasses.field(default_factory=list)

    @property
    def out(self) -> pathlib.Path:
        return self.folder / "disk" / "out"

    @functools.cached_property
    def seconds(self) -> float:
        return self.world.undisturbed(self.name)[1]

    def start(
        self,
        inputs: pathlib.Path | None = None,
        before: Sequence[str] = (),
        flags: Sequence[str] = (),
        second: bool = False,
    ) -> "subprocess.Popen[str] | Forked":
        """Starts it as the leader of a process group; by a program of its own where something stands before it.

        Args:
            inputs: The world's by default.
            before: What stands before it on its command line.
            flags: More of them.
            second: While the first one runs.
        """
        line = [*self.world.line(self.name, inputs or self.world.inputs, self.out), *flags]
        if not before:
            folder = self.folder / _SECOND if second else self.folder
            return fork_command(line[2], line[3:], self.folder / "tmp", folder, int(second))
        with (self.folder / "stdout").open("w") as out, (self.folder / "stderr").open("w") as err:
            return subprocess.Popen(
                [*before, *line],
                cwd=ROOT, env={**environment(), "TMPDIR": str(self.folder / "tmp")}, start_new_session=True,
                stdout=out, stderr=err, text=True,
            )  # fmt: skip

    def end(self, running: "subprocess.Popen[str] | Forked", seconds: float, second: bool = False) -> tuple[int, str]:
        """Waits for its end; returns its status and the line of its error.

        Raises:
            _FailedError: It does not end, or not as a command may.
        """
        try:
            status = running.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
            raise _FailedError(f"no end within {seconds:.0f} s") from None
        folder = self.folder / _SECOND if second else self.folder
        said = (folder / "stderr").read_text(encoding="utf-8", errors="replace")
        lines = [line for line in said.splitlines() if line.startswith("error: ")]
        if "Traceback" in said or len(lines) > 1 or (status > 0 and not lines):
            raise _FailedError(f"status {status}, not one clear line: {said[-1500:]}")
        return status, lines[0] if lines else ""

    def again(self, inputs: pathlib.Path | None = None) -> None:
        """Runs the same command to its end and checks the result.

        Raises:
            _FailedError: The result is not the undisturbed one, or something temporary is left.
        """
        status, line = self.end(self.start(inputs), 60 + _SLOWER * self.seconds)
        done = COMMANDS[self.name].done
        if status and not (done and done in line):
            raise _FailedError(f"the same command fails: {line or status}")
        self.check()

    def check(self) -> None:
        """Checks the result.

        Raises:
            _FailedError: It is not the undisturbed one, or something temporary is left.
        """
        expected, _ = self.world.undisturbed(self.name)
        if found := difference(expected, self.out):
            raise _FailedError(found)
        temporary = [name for name in os.listdir(self.folder / "tmp") if not name.startswith(_OF_LIBRARIES)]
        if left := [*left_over(self.out), *temporary]:
            raise _FailedError(f"left: {', '.join(left[:6])}")


# Returns whether a disturbed run ended in one line, what happened, and how often it was disturbed.
Fault = Callable[[_Run], tuple[bool, str, int]]


def _kill(number: signal.Signals, group: bool, run: _Run) -> tuple[bool, str, int]:
    """Kills it one to four times at random moments, then runs it to its end."""
    groups, one_line, kills = [], False, 0
    done = COMMANDS[run.name].done
    for _ in range(run.rng.randint(1, 4)):
        moment = run.rng.uniform(0, run.seconds)
        running = run.start()
        groups.append(running.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(moment)
        if running.poll() is None:
            (os.killpg if group else os.kill)(running.pid, number)
            kills += 1
        status, line = run.end(running, 60 + _SLOWER * run.seconds)  # after SIGTERM a training finishes its step
        if status not in (0, -number, 128 + number) and not (status == 1 and done and done in line):
            raise _FailedError(f"status {status} after {number.name}: {line}")
        one_line |= bool(line)
        run.told.append(f"{moment:.2f} s: {line or status}")
    run.again()
    deadline = time.monotonic() + 15
    while left := [group for group in groups if _runs(group)]:
        if time.monotonic() > deadline:
            raise _FailedError(f"processes outlive the command: {left}")
        time.sleep(0.1)
    return one_line, "; ".join(run.told), kills


def _runs(group: int) -> bool:
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            state, _, its_group, *_ = path.read_text().rpartition(")")[2].split()
            if its_group == str(group) and state != "Z":
                return True
    return False


def _two_at_once(run: _Run) -> tuple[bool, str, int]:
    """Runs it twice at once into one folder: the result is whole, and one refuses while the other runs."""
    moment = run.rng.uniform(0, 0.5 * run.seconds)
    (run.folder / _SECOND).mkdir()
    first = run.start()
    with contextlib.suppress(subprocess.TimeoutExpired):
        first.wait(moment)
    second = run.start(second=True)
    ends = [run.end(each, 60 + 2 * _SLOWER * run.seconds, each is second) for each in (first, second)]
    refusals = [line for status, line in ends if status]
    done = COMMANDS[run.name].done
    told = f"{moment:.2f} s: {', '.join(line or str(status) for status, line in ends)}"
    if len(refusals) == 2 or not all("another " in line or (done and done in line) for line in refusals):
        raise _FailedError(told)
    run.check()
    return bool(refusals), told, 1


def _full_disk(run: _Run) -> tuple[bool, str, int]:
    """Runs it on a disk of a random size, from a page to a little more than its result, then with room."""
    files = [path.stat().st_size for path in run.world.undisturbed(run.name)[0].rglob("*")]
    size = max(_PAGE, int(run.rng.uniform(0, 1.1) * sum(-(-each // _PAGE) * _PAGE for each in files)))
    with _disk(run.folder / "disk", size) as (before, make_room):
        status, line = run.end(run.start(before=before), 60 + _SLOWER * run.seconds)
        if status not in (0, 1):
            raise _FailedError(f"status {status}")
        make_room()
        run.again()
    return bool(status), f"{size} bytes: {line or status}", 1


@contextlib.contextmanager
def _disk(folder: pathlib.Path, size: int) -> Iterator[tuple[list[str], Callable[[], None]]]:
    """Gives a small disk, where root may mount one, else what limits every file; yields that and what takes it away."""
    if not can_mount():
        yield ["bash", "-c", f'ulimit -f {max(1, size // 4 // 1024)}; exec "$@"', "bash"], lambda: None
        return
    _mount(folder, size)
    try:
        yield [], lambda: _mount(folder, 1 << 30, "remount,")
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _mount(folder: pathlib.Path, size: int, how: str = "") -> None:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"{how}size={size}", "tmpfs", folder], check=True, capture_output=True
    )


@functools.cache
def can_mount() -> bool:
    """Tells whether this process may mount a file system."""
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


def _denied(run: _Run) -> tuple[bool, str, int]:
    """Runs it without the right to write its output or to read an input, then with it."""
    inputs = run.folder / "inputs"
    shutil.copytree(run.world.inputs, inputs)
    place = run.rng.choice(("parent of the output", "output", *COMMANDS[run.name].inputs))
    if place == "output":
        run.out.mkdir()
    denied = {"parent of the output": run.out.parent, "output": run.out}.get(place) or next(inputs.glob(place))
    mode = denied.stat().st_mode
    denied.chmod(0o000 if denied.is_relative_to(inputs) else 0o555)
    try:
        status, line = run.end(run.start(inputs, _WITHOUT_RIGHTS), 60 + _SLOWER * run.seconds)
    finally:
        denied.chmod(mode)
    if status != 1:
        raise _FailedError(f"{place} denied, status {status}")
    run.again(inputs)
    return True, f"{place}: {line}", 1


def _damaged(run: _Run) -> tuple[bool, str, int]:
    """Runs it with one bit changed in an input whose bytes are checked, or in what a training goes on from; then right.

    A command that does not notice it has the undisturbed result all the same.
    """
    command, inputs = COMMANDS[run.name], run.folder / "inputs"
    shutil.copytree(run.world.inputs, inputs)
    places = [inputs.glob(pattern) for pattern in command.checked]
    if command.half:
        run.end(run.start(inputs, flags=command.half), 60 + _SLOWER * run.seconds)
        places += [(run.out / "checkpoints").glob("*"), run.out.glob("*.weights.h5")]
    path = run.rng.choice(sorted(run.rng.choice(places)))
    whole = path.read_bytes()
    told = _change_bit(run, path)
    status, line = run.end(run.start(inputs), 60 + _SLOWER * run.seconds)
    if status == 0:
        # HDF5 has bytes that nothing reads; the digest of the whole file tells them all the same.
        expected = run.world.undisturbed(run.name)[0]
        if found := difference(expected, run.out, not path.is_relative_to(inputs / "model")):
            raise _FailedError(f"{told}: not noticed, and {found}")
        return False, f"{told}: the same result", 1
    path.write_bytes(whole)
    run.again(inputs)
    return True, f"{told}: {line}", 1


def _damaged_result(run: _Run) -> tuple[bool, str, int]:
    """Changes one bit of its result, which the checksums there must tell; then removes it and makes it again."""
    sums = pathlib.Path(COMMANDS[run.name].sums)
    shutil.copytree(run.world.undisturbed(run.name)[0], run.out)
    folder = run.out / sums.parts[0]
    path = run.rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    told = _change_bit(run, path)
    line = ["sha256sum", "--check", "--strict", "--quiet", sums.relative_to(sums.parts[0])]
    ended = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    # Digits of either case are the same digest.
    if ended.returncode == 0 and path != run.out / sums:
        raise _FailedError(f"{told}: not noticed")
    shutil.rmtree(run.out)
    run.again()
    return ended.returncode != 0, f"{told}: {' '.join((ended.stdout or ended.stderr).split())}", 1


def _change_bit(run: _Run, path: pathlib.Path) -> str:
    data = bytearray(path.read_bytes())
    place, bit = run.rng.randrange(len(data)), run.rng.randrange(8)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    return f"bit {bit} of byte {place} of {path.name}"


# Root passes over permissions by two rights, which its children may do without.
_RIGHTS = "-dac_override,-dac_read_search"
_WITHOUT_RIGHTS = ["setpriv", f"--bounding-set={_RIGHTS}", f"--inh-caps={_RIGHTS}"] if os.geteuid() == 0 else []

_CHANGED_BIT = "changed bit"
_CHANGED_RESULT = "changed bit of the result"

FAULTS: Mapping[str, Fault] = {
    **{
        f"{number.name} to the {'group' if group else 'process'}": functools.partial(_kill, number, group)
        for number in (signal.SIGKILL, signal.SIGTERM)
        for group in (False, True)
    },
    "full disk": _full_disk,
    "permission": _denied,
    _CHANGED_BIT: _damaged,
    _CHANGED_RESULT: _damaged_result,
    "two at once": _two_at_once,
}


def applies(fault: str, command: str) -> bool:
    """Tells whether a fault can befall a command."""
    needed = {_CHANGED_BIT: COMMANDS[command].checked, _CHANGED_RESULT: COMMANDS[command].sums}
    return bool(needed.get(fault, True))


def run_case(world: World, command: str, fault: str, number: int, folder: pathlib.Path) -> Case:
    """Runs one case; the same number does the same, as far as the machine keeps time.

    Args:
        world: Inputs and undisturbed results.
        command: Of `COMMANDS`.
        fault: Of `FAULTS`.
        number: Seed.
        folder: Made, and removed where the case ends well.
    """
    for part in ("disk", "tmp"):
        (folder / part).mkdir(parents=True)
    world.undisturbed(command)  # makes what it needs
    run = _Run(world, command, folder, random.Random(f"{command} {fault} {number}"))
    try:
        one_line, told, times = FAULTS[fault](run)
    except _FailedError as error:
        return Case(command, fault, number, False, str(error), "; ".join([*run.told, f"kept in {folder}"]))
    shutil.rmtree(folder)
    return Case(command, fault, number, one_line, "", told, times)
