import os
import random
import re
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest

from calcseg_tf.bulk import BulkConfig, predict_bulk
from calcseg_tf.bulk.processes import InProcesses, default_workers
from calcseg_tf.prediction import Status
from data_prep.errors import InputError, UnfinishedError
from tests.bulk.brightness import BLACK_HOLE, DEADLY, DEADLY_ONCE, Brightness, BrightnessModel, in_threads
from tests.bulk.test_running import contents, rows
from tests.fakes.commands import ROOT, assert_one_line_error, environment, heed_interrupt
from tests.fakes.folder import write_png

IMAGES = 4


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    for number in range(IMAGES):
        pixels = np.random.default_rng(number).integers(0, 65536, (24, 20 + number), np.uint16)
        write_png(root / f"case{number % 2}" / f"{number}.png", pixels)
    return root


@pytest.fixture(scope="module")
def expected(archive, tmp_path_factory):
    """The results of one run that nothing disturbed, in threads."""
    out = tmp_path_factory.mktemp("expected")
    predict_bulk(BulkConfig(str(archive), out, recursive=True), in_threads(Brightness()), lambda _: None)
    return contents(out)


def predict(archive, out, workers=2):
    out.parent.mkdir(exist_ok=True)
    runner = InProcesses(BrightnessModel(out.parent), workers)
    return predict_bulk(BulkConfig(str(archive), out, recursive=True), runner, lambda _: None)


def start(archive, out, seconds=0.0, workers=2, limit_kib=None):
    line = [sys.executable, "-m", "tests.bulk.brightness", archive, out, out.parent, seconds, workers]
    line = list(map(str, line))
    if limit_kib is not None:  # of the size of every file: the system refuses as it does where the disk is full
        line = ["bash", "-c", f'ulimit -f {limit_kib}; exec "$@"', "bash", *line]
    return subprocess.Popen(
        line, cwd=ROOT, env=environment(), text=True, start_new_session=True, preexec_fn=heed_interrupt,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def end(running):
    out, err = running.communicate(timeout=240)
    return subprocess.CompletedProcess(running.args, running.returncode, out, err)


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def some_result(out):
    return any(path.parent.name[0] != "." for path in out.rglob("statistics.json"))


def hidden(out):
    return [path for path in out.rglob("*") if path.name.startswith(".")]


@pytest.mark.slow
def test_processes_give_the_results_of_one_and_each_loads_its_model_once(archive, expected, tmp_path):
    report = predict(archive, tmp_path / "out", 2)
    assert contents(tmp_path / "out") == expected
    assert [outcome.status for outcome in report.outcomes] == [Status.PREDICTED] * IMAGES
    loads = (tmp_path / "loaded").read_text().split()
    assert len(set(loads)) == len(loads) <= 2


@pytest.mark.slow
def test_no_more_processes_are_started_than_there_are_images_left(archive, expected, tmp_path):
    predict(archive, tmp_path / "out", 1)
    for path in (tmp_path / "out" / "case0" / "0").iterdir():
        path.unlink()
    (tmp_path / "loaded").unlink()
    predict(archive, tmp_path / "out", 4)
    assert len((tmp_path / "loaded").read_text().split()) == 1
    assert contents(tmp_path / "out") == expected


@pytest.mark.slow
def test_a_single_image_has_all_cores(archive, tmp_path):
    cores = len(os.sched_getaffinity(0))
    runner = InProcesses(BrightnessModel(tmp_path), workers=cores)
    predict_bulk(BulkConfig(str(archive / "case0" / "0.png"), tmp_path / "out"), runner, lambda _: None)
    assert (tmp_path / "threads").read_text() == str(cores)


@pytest.mark.slow
def test_a_process_that_dies_costs_its_image_one_more_try(tmp_path):
    root = tmp_path / "archive"
    sizes = {"a": DEADLY, "b": DEADLY_ONCE, "d": BLACK_HOLE}
    for name, height in sizes.items():
        write_png(root / f"{name}.png", np.zeros((height, 8), np.uint16))
    report = predict(root, tmp_path / "out", 1)
    failures = {outcome.job.name: outcome.reason for outcome in report.failures}
    assert set(failures) == {"a.png", "d.png"}
    told = "2 processes ended at it: a process ended with status -9, perhaps for want of memory: try fewer --workers"
    assert failures["a.png"] == told
    assert [row["status"] for row in rows(tmp_path / "out")] == ["failed", "predicted", "failed"]
    # One that died at a; one that did b (whose first try met the mark that a left) and d, and died at a.
    assert len((tmp_path / "loaded").read_text().split()) == 2
    assert hidden(tmp_path / "out") == []


def test_a_model_for_which_there_is_no_memory_ends_the_run(archive, tmp_path):
    (tmp_path / "no memory").touch()
    with pytest.raises(UnfinishedError, match=r"loading the model, a process ended with status -9.*--workers"):
        predict(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_that_changes_while_processes_load_it_ends_the_run(tmp_path):
    write_png(tmp_path / "archive" / "a.png", np.zeros((DEADLY_ONCE, 8), np.uint16))  # a second process loads it
    (tmp_path / "changing").touch()
    with pytest.raises(UnfinishedError, match="the model directory changed during the run") as raised:
        predict(tmp_path / "archive", tmp_path / "out", 1)
    assert "the same command goes on" not in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
def test_a_signal_ends_it_within_seconds_and_the_same_command_goes_on(archive, expected, tmp_path, number, status):
    out = tmp_path / "out"
    running = start(archive, out, seconds=1.0)
    wait_for(lambda: some_result(out))
    time.sleep(0.2)  # until it is told
    asked = time.monotonic()
    if number == signal.SIGINT:  # Ctrl-C reaches the whole group
        os.killpg(running.pid, number)
    else:
        running.send_signal(number)
    ended = end(running)
    assert time.monotonic() - asked < 20
    assert ended.returncode == status, ended
    lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    done = len(list(out.rglob("statistics.json")))
    found = re.search(rf"\. (\d) of {IMAGES} images have their result: the same command goes on", lines[0])
    assert 0 < int(found[1]) <= done < IMAGES
    assert "Traceback" not in ended.stderr
    assert hidden(out) == []
    assert not (out / "predictions.csv").exists()
    assert end(start(archive, out)).returncode == 0
    assert contents(out) == expected


@pytest.mark.slow
def test_a_running_run_refuses_a_second_one(archive, tmp_path):
    running = start(archive, tmp_path / "out", seconds=20.0)
    wait_for(lambda: (tmp_path / "loaded").exists())
    assert_one_line_error(end(start(archive, tmp_path / "out")), "another run is predicting into this --output_dir")
    running.terminate()
    assert end(running).returncode == 143
    assert not (tmp_path / "out").exists()


def begun(out, running, results):
    """Whether a run has loaded its model, or, where `results` is not 0, has so many."""
    there = len(list(out.rglob("statistics.json"))) >= results if results else (out.parent / "loaded").exists()
    return there or running.poll() is not None


def kill_and_go_on(archive, out, rng):
    """Kills runs at random moments until one comes through."""
    results = 0
    while True:
        running = start(archive, out, seconds=0.05)
        wait_for(partial(begun, out, running, results))
        (out.parent / "loaded").unlink(missing_ok=True)
        time.sleep(rng.uniform(0, 1))
        running.kill()
        ended = end(running)
        if ended.returncode == 0:
            return
        assert ended.returncode == -9, ended.stderr
        results += 1  # however slow the machine is, the next gets further


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_a_run_killed_at_any_moment_is_finished_by_the_same_command(archive, expected, tmp_path, seed):
    kill_and_go_on(archive, tmp_path / "out", random.Random(seed))
    assert contents(tmp_path / "out") == expected
    assert hidden(tmp_path / "out") == []
    assert len(rows(tmp_path / "out")) == IMAGES


@pytest.mark.slow
def test_a_full_disk_is_one_line(archive, tmp_path):
    ended = end(start(archive, tmp_path / "out", limit_kib=8))  # an overlay is larger
    assert_one_line_error(ended, "out: File too large. ", ": the same command goes on")
    assert contents(tmp_path / "out") == {}
    assert hidden(tmp_path / "out") == []


def test_at_least_one_process_is_asked_for(tmp_path):
    assert default_workers() >= 1
    with pytest.raises(InputError, match="--workers: must be at least 1; found 0"):
        InProcesses(BrightnessModel(tmp_path), 0)
