import hashlib
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.fakes.dicom import write_dicom
from tools.fault_cases import FAULTS, Case, applies, run_case
from tools.fault_commands import World, difference, left_over
from tools.fault_processes import fork_command
from tools.faults import read_results, table


def check(world, command, fault, number, folder):
    case = run_case(world, command, fault, number, folder / "case")
    assert case.failure == "", case
    assert not (folder / "case").exists()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["SIGKILL to the process", "full disk"])
def test_a_disturbed_conversion_ends_as_an_undisturbed_one(world, tmp_path, fault):
    check(world, "convert", fault, 0, tmp_path)


@pytest.mark.slow  # the other commands take minutes each: python -m tools.faults
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if applies(fault, "convert")])
def test_a_conversion_disturbed_in_any_way_ends_as_an_undisturbed_one(world, tmp_path, fault):
    check(world, "convert", fault, random.randrange(1 << 32), tmp_path)


@pytest.mark.slow
def test_a_forked_command_is_told_of_as_a_process(tmp_path):
    running = fork_command("http.server", ["0"], tmp_path, tmp_path)
    assert running.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        running.wait(0.01)
    os.killpg(running.pid, signal.SIGKILL)
    assert (running.wait(), running.poll()) == (-signal.SIGKILL, -signal.SIGKILL)
    printed = fork_command("json.tool", ["--no-such-flag"], tmp_path, tmp_path)
    assert printed.wait() == 2
    assert "unrecognized arguments: --no-such-flag" in (tmp_path / "stderr").read_text()


@pytest.mark.parametrize(("listed", "failure"), [("model", "files differ: 1/"), ("other", "not noticed")])
def test_a_changed_bit_of_a_result_must_show_in_its_checksums(tmp_path, listed, failure):
    class Exported(World):
        def __init__(self):
            self.inputs = tmp_path

        def undisturbed(self, name):
            return tmp_path / "result", 0.1

        def line(self, name, inputs, out):  # makes nothing of what was removed
            return [sys.executable, "-m", "json.tool", "--help"]

    folder = tmp_path / "result" / "1"
    (folder / "assets.extra").mkdir(parents=True)
    for name in ("model", "other"):
        (folder / name).write_bytes(b"x" * 10_000)
    digest = hashlib.sha256(b"x" * 10_000).hexdigest()
    (folder / "assets.extra" / "SHA256SUMS").write_text(f"{digest}  {listed}\n")
    number = next(each for each in range(99) if chosen(each, 3) == 1)  # of the files in order: "model"
    case = run_case(Exported(), "export", "changed bit of the result", number, tmp_path / "case")
    assert failure in case.failure


def chosen(number, files):
    return random.Random(f"export changed bit of the result {number}").choice(range(files))


def test_a_difference_and_what_is_left_are_seen(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.csv").write_text("1,2")
        (tmp_path / name / "history.json").write_text(f'[{{"loss": 1.0, "pixels_per_second": {len(name)}}}]')
        (tmp_path / name / "training.log").write_text(name)
    one, other = tmp_path / "one", tmp_path / "other"
    assert difference(one, other) == ""
    (other / "history.json").write_text('[{"loss": 2.0, "pixels_per_second": 5}]')
    assert difference(one, other) == "history.json differs"
    (other / "a.csv").write_text("1,3")
    assert difference(one, other) == "a.csv differs"
    (other / ".b.0123456789abcdef.partial").touch()
    assert difference(one, other) == "files differ: .b.0123456789abcdef.partial"
    assert (left_over(one), left_over(other)) == ([], [".b.0123456789abcdef.partial"])


def test_a_dicom_result_may_differ_in_its_moments_alone(tmp_path):
    for name, time, station in (("one", "101500", "A"), ("later", "101501", "A"), ("elsewhere", "101500", "B")):
        (tmp_path / name).mkdir()
        write_dicom(tmp_path / name / "report.dcm", np.zeros((4, 4), np.uint16), ContentTime=time, StationName=station)
    assert difference(tmp_path / "one", tmp_path / "later") == ""
    assert difference(tmp_path / "one", tmp_path / "elsewhere") == "report.dcm differs"


def test_a_result_that_is_not_the_undisturbed_one_is_a_failure(tmp_path):
    class Spoiled(World):
        def undisturbed(self, name):
            out, seconds = super().undisturbed(name)
            (out / "manifest.json").write_text("{}")
            return out, seconds

    case = run_case(Spoiled(tmp_path / "world"), "convert", "full disk", 0, tmp_path / "case")
    assert case.failure == "manifest.json differs"
    assert (tmp_path / "case" / "disk").exists()  # kept, to look at


def test_the_table_counts_the_cases_of_a_file_that_is_gone_on_with(tmp_path):
    cases = [
        Case("convert", "full disk", 0, True, "", ""), Case("convert", "full disk", 1, False, "", "", 3),
        Case("train", "permission", 0, False, "left: .x.partial", ""),
    ]  # fmt: skip
    lines = table(cases).splitlines()
    assert lines[2:] == [
        "| convert | full disk | 2 | 4 | 2 | 1 | 0 |",
        "| train | permission | 1 | 1 | 0 | 0 | 1 |",
        "| together |  | 3 | 5 | 2 | 1 | 1 |",
    ]
    assert read_results(tmp_path / "nowhere") == []
