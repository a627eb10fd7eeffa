"""The real command stopped from outside leaves no temporary file: maps kept for drawing, results half written."""

import contextlib
import os
import pathlib
import signal
import subprocess
import time

import pytest

from tests.fakes.commands import ROOT, assert_one_line_error, command, environment
from tests.fakes.records import fake_record, write_fake_records
from tests.test_commands import bright_spots, write_model


def start(folder, name):
    (folder / name / "tmp").mkdir(parents=True)
    line = command(
        "calcseg_tf.evaluate", model_dir=folder / "model", records_dir=folder / "records",
        output_dir=folder / name / "out", workers=2,
    )  # fmt: skip
    return subprocess.Popen(
        line, cwd=ROOT, env={**environment(), "TMPDIR": str(folder / name / "tmp")}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(folder, pattern, running):
    deadline = time.monotonic() + 120
    while not list(folder.glob(pattern)) and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    assert running.poll() is None, running.communicate()


def still_running(group, seconds):
    """Processes of a group that have not ended after so many seconds; the others may wait for who asks how they did."""
    deadline = time.monotonic() + seconds
    while True:
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                state, _, its_group, *_ = path.read_text().rpartition(")")[2].split()
                found += [path.parent.name] if its_group == str(group) and state != "Z" else []
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    pixels = bright_spots()
    mask = (pixels == 4095).astype("uint8")
    records = [fake_record(pixels, mask, name=f"image-{n}", patient=f"patient-{n}") for n in range(3)]
    write_fake_records(folder / "records", {"train": [fake_record(name="t", patient="t")], "test": records})
    write_model(folder / "model")
    return folder


def test_sigterm_and_ctrl_c_are_one_line_and_leave_no_temporary_file(folder):
    scoring, writing = (start(folder, name) for name in ("scoring", "writing"))
    # While models' maps are kept and workers begin: SIGTERM, of the process alone, as a scheduler sends it.
    wait_for(folder / "scoring" / "tmp", "calcseg-maps-*/*.png", scoring)
    scoring.send_signal(signal.SIGTERM)
    # While results are written: Ctrl-C, which a terminal sends to the workers too.
    wait_for(folder / "writing" / "out", ".partial-*", writing)
    os.killpg(writing.pid, signal.SIGINT)
    for name, running, status, words in (
        ("scoring", scoring, 143, "ended by SIGTERM"),
        ("writing", writing, 1, "interrupted"),
    ):
        out, err = running.communicate(timeout=120)
        ended = subprocess.CompletedProcess(running.args, running.returncode, out, err)
        assert ended.returncode == status
        ended.returncode = 1
        assert_one_line_error(ended, words)
        assert "Results:" not in out
        left = [str(path) for place in ("tmp", "out") for path in (folder / name / place).rglob("*")]
        assert [path for path in left if "calcseg-maps-" in path or ".partial" in path] == []
        assert still_running(running.pid, 10.0) == []  # no worker outlives it
