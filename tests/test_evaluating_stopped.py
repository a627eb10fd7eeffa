"""The real command stopped from outside leaves no temporary file: maps kept for drawing, results half written."""

import contextlib
import os
import pathlib
import signal
import subprocess
import time

import pytest

from tests.fakes.commands import ROOT, assert_one_line_error, command, environment, heed_interrupt
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
        preexec_fn=heed_interrupt, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        # SIGTERM comes to the process alone, as schedulers send it, and Ctrl-C to its workers too, as terminals do.
        (signal.SIGTERM, 143, "ended by SIGTERM"),
        pytest.param(signal.SIGINT, 1, "interrupted", marks=pytest.mark.slow),
    ],
)
def test_a_signal_is_one_line_and_leaves_no_temporary_file(folder, number, status, words):
    running = start(folder, number.name)
    # Results are being written; the models' maps are kept until pictures of them are drawn.
    wait_for(folder / number.name / "out", ".partial-*/roc.csv", running)
    assert list((folder / number.name / "out").glob(".partial-*/*.png"))
    (os.killpg if number == signal.SIGINT else os.kill)(running.pid, number)
    out, err = running.communicate(timeout=120)
    assert running.returncode == status
    assert_one_line_error(subprocess.CompletedProcess(running.args, 1, out, err), words)
    assert "Results:" not in out
    left = [str(path) for place in ("tmp", "out") for path in (folder / number.name / place).rglob("*")]
    assert [path for path in left if ".partial" in path] == []
    assert still_running(running.pid, 10.0) == []  # no worker outlives it
