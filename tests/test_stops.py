"""Runs stopped from outside through the real command: signals, a full disk, a second run in the same folder."""

import random
import shutil
import signal
import subprocess
import time

import pytest

from tests.fakes.commands import ROOT, assert_one_line_error, command, environment
from tests.fakes.records import write_fake_records
from tests.test_training import MODULE, RECIPE, assert_same_weights, history_of, mammogram, train

VALIDATED = {**RECIPE, "validation_fraction": 0.3}
LONG = {**VALIDATED, "steps_per_epoch": 25, "epochs": 4, "checkpoint_every_steps": 7}


@pytest.fixture(scope="module")
def records_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    write_fake_records(folder, {"train": [mammogram(n) for n in range(6)], "test": [mammogram(9)]}, shards=2)
    return folder


def start(records_dir, model_dir, limit_kib=None, **recipe):
    line = command(MODULE, "--deterministic", records_dir=records_dir, model_dir=model_dir, **recipe)
    if limit_kib is not None:  # of the size of every file: the system refuses as it does where the disk is full
        line = ["bash", "-c", f'ulimit -f {limit_kib}; exec "$@"', "bash", *line]
    return subprocess.Popen(
        line, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end(running):
    out, err = running.communicate(timeout=240)
    return subprocess.CompletedProcess(running.args, running.returncode, out, err)


def wait_for(path, running):
    deadline = time.monotonic() + 120
    while not path.exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


def assert_same_run(one, other):
    assert_same_weights(one, other)
    assert history_of(one, "pixels_per_second") == history_of(other, "pixels_per_second")
    assert (one / "config.json").read_text() == (other / "config.json").read_text()
    if (other / "best.weights.h5").exists():
        assert_same_weights(one, other, name="best.weights.h5")


@pytest.mark.slow
def test_a_running_run_refuses_a_second_one_and_ends_at_sigterm_with_143(records_dir, tmp_path):
    recipe = {**VALIDATED, "epochs": 100_000}
    first = start(records_dir, tmp_path / "model", **recipe)
    wait_for(tmp_path / "model" / "checkpoints" / "ckpt-3.index", first)
    assert_one_line_error(end(start(records_dir, tmp_path / "model", **recipe)), "another run is training in this")
    first.send_signal(signal.SIGTERM)
    ended = end(first)
    assert ended.returncode == 143
    lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert lines == ["error: ended by SIGTERM; everything up to here is kept, and the same command goes on from it"]
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("number", "seed"), [(signal.SIGTERM, 1), (signal.SIGKILL, 2), (signal.SIGKILL, 3)])
def test_a_run_stopped_at_random_moments_ends_with_the_result_of_an_undisturbed_one(
    records_dir, tmp_path, number, seed
):
    assert end(start(records_dir, tmp_path / "whole", **LONG)).returncode == 0
    rng, model_dir = random.Random(seed), tmp_path / "stopped"
    stops = 0
    while True:
        before = set(model_dir.glob("checkpoints/ckpt-*.index"))
        running = start(records_dir, model_dir, **LONG)
        # From the first checkpoint of this start on: moments before it lose nothing and are long.
        while set(model_dir.glob("checkpoints/ckpt-*.index")) <= before and running.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 1.5))
        running.send_signal(number)
        ended = end(running)
        if ended.returncode == 0:
            break
        stops += 1
        assert ended.returncode in (-number, 143), ended.stderr
    assert stops >= 1
    assert_same_run(model_dir, tmp_path / "whole")


@pytest.mark.slow
def test_a_full_disk_during_a_checkpoint_costs_no_more_than_the_epoch(records_dir, tmp_path):
    recipe = {**VALIDATED, "widths": "32,32"}  # whose checkpoint is larger than any other file
    assert end(start(records_dir, tmp_path / "whole", **recipe)).returncode == 0
    model_dir = tmp_path / "model"
    first = start(records_dir, model_dir, **{**recipe, "epochs": 1})
    assert end(first).returncode == 0
    before = {path: path.read_bytes() for path in (model_dir / "checkpoints").iterdir()}
    data = next(model_dir.glob("checkpoints/*.data*")).stat().st_size
    ended = end(start(records_dir, model_dir, limit_kib=data // 1024 - 10, **recipe))
    assert_one_line_error(ended, "checkpoints: File too large: what was written before is whole; make space")
    assert {path: path.read_bytes() for path in (model_dir / "checkpoints").iterdir()} == before
    assert end(start(records_dir, model_dir, **recipe)).returncode == 0
    assert_same_run(model_dir, tmp_path / "whole")


@pytest.mark.slow
def test_a_full_disk_leaves_the_weights_that_were_there(records_dir, tmp_path):
    assert train(records_dir, tmp_path / "whole", "--deterministic", epochs=1).returncode == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "model")
    before = {path: path.read_bytes() for path in (tmp_path / "model").iterdir() if path.is_file()}
    ended = end(start(records_dir, tmp_path / "model", limit_kib=8, **{**RECIPE, "epochs": 1}))
    assert_one_line_error(ended, "model: File too large: what was written before is whole; make space")
    assert {path: path.read_bytes() for path in (tmp_path / "model").iterdir() if path.is_file()} == before
