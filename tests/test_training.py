import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from calcseg_tf.models import model_config
from calcseg_tf.recipe import OptimizerConfig, TrainingConfig
from data_prep.errors import InputError
from tests.fakes.commands import ROOT, assert_one_line_error, command, environment, run_module, run_modules
from tests.fakes.records import claim_length, fake_record, write_fake_records

MODULE = "calcseg_tf.train"
RECIPE = {
    "widths": "4", "crop_size": 24, "global_batch_size": 4, "steps_per_epoch": 3, "crops_per_image": 4, "epochs": 2,
    "learning_rate": 0.01, "optimizer": "sgd", "seed": 3, "operating_images": 0, "images_every_epochs": 0,
}  # fmt: skip


def mammogram(number, calcified=True):
    rng = np.random.default_rng(number)
    pixels = rng.integers(500, 1500, (64, 48), dtype=np.uint16)
    mask = np.zeros(pixels.shape, np.uint8)
    if calcified:
        for row, column in rng.integers(4, 40, (3, 2)):
            mask[row : row + 2, column : column + 2] = 1
    pixels[mask == 1] = 4000
    return fake_record(pixels, mask, name=f"image-{number}", patient=f"patient-{number}")


@pytest.fixture(scope="module")
def records_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    write_fake_records(folder, {"train": [mammogram(n) for n in range(4)], "test": [mammogram(9)]}, shards=2)
    return folder


def train(records_dir, model_dir, *arguments, **changes):
    return run_module(MODULE, *arguments, records_dir=records_dir, model_dir=model_dir, **{**RECIPE, **changes})


def arguments_of(records_dir, model_dir, *arguments, **changes):
    return command(MODULE, *arguments, records_dir=records_dir, model_dir=model_dir, **{**RECIPE, **changes})[3:]


def weights_of(model_dir, name="model.weights.h5"):
    found = {}
    with h5py.File(model_dir / name) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    # Keras writes the means of the last epoch beside them.
    return {name: value for name, value in found.items() if not name.startswith("metrics/")}


def assert_same_weights(one, other, atol=0.0, name="model.weights.h5"):
    first, second = weights_of(one, name), weights_of(other, name)
    assert set(first) == set(second)
    assert first
    for name, value in first.items():
        np.testing.assert_allclose(value, second[name], rtol=0, atol=atol, err_msg=name)


def history_of(model_dir, *without):
    entries = json.loads((model_dir / "history.json").read_text())
    return [{name: value for name, value in entry.items() if name not in without} for entry in entries]


@pytest.fixture(scope="module")
def finished(records_dir, tmp_path_factory):
    """Finished runs: undisturbed and stopped after an epoch (bit for bit repeatable), each also with averaged weights;
    on four replicas, and there in bands and through transforms; on whole mammograms.
    """
    folder = tmp_path_factory.mktemp("finished")
    runs = {
        "whole": (["--deterministic"], {"operating_images": 2, "images_every_epochs": 1}),
        "stopped": (["--deterministic"], {"epochs": 1}),
        "replicas": ([], {"replicas": 4}),
        "averaged": (["--deterministic"], {"ema_momentum": 0.8}),
        "banded": ([], {"replicas": 4, "gradient": "banded", "convolution": "fourier"}),
        "whole_images": (["--deterministic"], {"crop_size": 0, "global_batch_size": 1}),
        "averaged_stopped": (["--deterministic"], {"ema_momentum": 0.8, "epochs": 1}),
    }
    calls = [arguments_of(records_dir, folder / name, *run, **changes) for name, (run, changes) in runs.items()]
    for name, ended in zip(runs, run_modules(MODULE, calls), strict=True):
        assert ended.returncode == 0, (name, ended.stderr)
        (folder / f"{name}.out").write_text(ended.stdout)
    return folder


def test_a_run_leaves_what_it_promises(finished):
    model_dir = finished / "whole"
    names = {path.name for path in model_dir.iterdir()}
    assert names == {"config.json", "model.weights.h5", "history.json", "checkpoints", "tensorboard", "training.log"}
    assert [entry["epoch"] for entry in history_of(model_dir)] == [1, 2]
    for entry in history_of(model_dir):
        assert set(entry) == {
            "epoch", "loss", "positives", "negatives", "negative_threshold", "pixels_per_second", "learning_rate",
        }  # fmt: skip
        assert entry["negatives"] == pytest.approx(3 * entry["positives"])
    assert any("tfevents" in path.name for path in (model_dir / "tensorboard").rglob("*"))
    assert {path.name.split(".")[0] for path in (model_dir / "checkpoints").iterdir()} == {
        "checkpoint", "ckpt-3", "ckpt-6",
    }  # fmt: skip
    config = json.loads((model_dir / "config.json").read_text())
    assert config["training"]["inputs"]["crop_size"] == 24
    assert config["training"]["optimizer"]["learning_rate"] == 0.01
    assert (config["data"]["train_images"], config["data"]["data_set"]) == (4, "fake")
    assert config["operating_threshold_rule"] != "default, not chosen on data"
    said = (finished / "whole.out").read_text()
    for words in ("1 replica on CPU", f"Model: {model_dir}", "Operating threshold", "Research use only"):
        assert words in said


def test_a_stopped_run_goes_on_to_the_result_of_an_undisturbed_one(finished, records_dir, tmp_path):
    shutil.copytree(finished / "stopped", tmp_path / "model")
    ended = train(records_dir, tmp_path / "model", "--deterministic")
    assert ended.returncode == 0, ended.stderr
    assert "Going on after 1 epoch, of 2" in ended.stdout
    assert_same_weights(tmp_path / "model", finished / "whole")
    timing = "pixels_per_second"
    assert history_of(tmp_path / "model", timing) == history_of(finished / "whole", timing)


def assert_same_run(one, other):
    assert_same_weights(one, other, atol=1e-5)
    for first, second in zip(history_of(one), history_of(other), strict=True):
        assert first["loss"] == pytest.approx(second["loss"], rel=1e-5)
        assert (first["positives"], first["negatives"]) == (second["positives"], second["negatives"])


def test_bands_transforms_and_replicas_together_give_the_weights_of_the_plain_run(finished):
    assert_same_run(finished / "banded", finished / "whole")


def test_whole_mammograms_are_trained_on(finished):
    for entry in history_of(finished / "whole_images"):
        assert entry["pixels_per_second"] > 0
        assert entry["negatives"] == pytest.approx(3 * entry["positives"])
    config = json.loads((finished / "whole_images" / "config.json").read_text())
    assert config["training"]["inputs"]["crop_size"] == 0


def test_four_replicas_give_the_weights_of_one(finished):
    assert "4 replicas on CPU" in (finished / "replicas.out").read_text()
    assert_same_run(finished / "replicas", finished / "whole")


def start_workers(*calls):
    """Starts one worker with each call's arguments, all on loopback."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in calls]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{free.getsockname()[1]}" for free in sockets]
    running = []
    for index, arguments in enumerate(calls):
        cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", MODULE, *arguments],
                cwd=ROOT,
                env={**environment(), "TF_CONFIG": json.dumps(cluster)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return running


def finish(running):
    """Waits for workers."""
    try:
        results = [worker.communicate(timeout=240) for worker in running]
    finally:
        for worker in running:
            worker.kill()
    return [
        subprocess.CompletedProcess(worker.args, worker.returncode, *result)
        for worker, result in zip(running, results, strict=True)
    ]


def workers_of(*calls):
    """Runs one worker with each call's arguments to their ends."""
    return finish(start_workers(*calls))


@pytest.mark.slow
def test_two_workers_of_two_replicas_give_the_weights_of_one_process(finished, records_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    arguments = arguments_of(records_dir, tmp_path / "model", replicas=2)
    chief, other = workers_of(arguments, arguments)
    assert (chief.returncode, other.returncode) == (0, 0), (chief.stderr, other.stderr)
    assert "4 replicas on CPU" in chief.stdout
    assert "2 on each of 2 workers; this is worker 0, which writes the model directory" in chief.stdout
    assert "worker 1 is done" in other.stdout
    assert_same_run(tmp_path / "model", finished / "whole")
    # Written once: what the other worker had to write is gone with its folder.
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        path.name for path in (finished / "whole").iterdir()
    }
    assert len(list((tmp_path / "model" / "tensorboard").glob("events*"))) == 1
    assert not list(tmp_path.glob("calcseg-worker-*"))


@pytest.mark.slow
def test_workers_go_on_together_and_refuse_to_train_different_things(finished, records_dir, tmp_path):
    stopped = tmp_path / "stopped"
    shutil.copytree(finished / "stopped", stopped)
    for ended in workers_of(*[arguments_of(records_dir, stopped, replicas=2)] * 2):
        assert ended.returncode == 0, ended.stderr
        assert "Going on after 1 epoch, of 2" in ended.stdout
    assert_same_run(stopped, finished / "whole")
    model_dir = tmp_path / "model"
    other_rate = arguments_of(records_dir, model_dir, replicas=2, learning_rate=0.02)
    for ended in workers_of(arguments_of(records_dir, model_dir, replicas=2), other_rate):
        assert_one_line_error(ended, "the workers of TF_CONFIG must be started with the same flags")
    assert not model_dir.exists()


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_worker_that_is_lost_ends_the_others_in_one_line(records_dir, tmp_path, lost):
    running = start_workers(*[arguments_of(records_dir, tmp_path / "model", replicas=2, epochs=10**4)] * 2)
    deadline = time.monotonic() + 120
    while not (tmp_path / "model" / "history.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    running[lost].kill()
    ended = finish(running)
    assert_one_line_error(ended[1 - lost], "another worker of TF_CONFIG ended or cannot be reached")


@pytest.mark.slow
def test_averaged_weights_are_what_is_written_and_survive_a_stop(finished, records_dir, tmp_path):
    averaged, last = weights_of(finished / "averaged"), weights_of(finished / "whole")
    assert any(np.abs(averaged[name] - last[name]).max() > 1e-3 for name in averaged)
    shutil.copytree(finished / "averaged_stopped", tmp_path / "model")
    again = arguments_of(records_dir, tmp_path / "model", "--deterministic", ema_momentum=0.8)
    for ended in run_modules(MODULE, [again, again]):  # the second finds it finished
        assert ended.returncode == 0, ended.stderr
        assert_same_weights(tmp_path / "model", finished / "averaged")


@pytest.mark.slow
def test_a_finished_run_repeated_changes_nothing(finished, records_dir, tmp_path):
    shutil.copytree(finished / "whole", tmp_path / "model")
    before = (tmp_path / "model" / "config.json").read_bytes()
    ended = train(records_dir, tmp_path / "model", "--deterministic")
    assert ended.returncode == 0, ended.stderr
    assert_same_weights(tmp_path / "model", finished / "whole")
    assert (tmp_path / "model" / "config.json").read_bytes() == before
    assert history_of(tmp_path / "model") == history_of(finished / "whole")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: OptimizerConfig(name="adan"), "--optimizer must be sgd or adam; found 'adan'"),
        (lambda: OptimizerConfig(learning_rate=0.0), "--learning_rate must be positive"),
        (lambda: OptimizerConfig(learning_rate=float("nan")), "--learning_rate must be positive"),
        (lambda: OptimizerConfig(momentum=1.0), "--momentum in"),
        (lambda: TrainingConfig(model_config("fcn"), epochs=0), "--epochs must be at least 1; found 0"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(build, message):
    with pytest.raises(InputError, match=message):
        build()


def refused(records_dir, folder, finished):
    """Every way to be refused: the arguments, and what the one line must say."""
    stopped = folder / "stopped"
    shutil.copytree(finished / "stopped", stopped)
    (folder / "other").mkdir()
    (folder / "other" / "notes.txt").write_text("mine")
    damage(records_dir, folder)
    model_dir = folder / "model"
    return [
        (
            arguments_of(records_dir, stopped, learning_rate=0.02),
            "training.optimizer.learning_rate 0.01; now it is 0.02",
        ),
        (arguments_of(records_dir, stopped, widths="8"), "widths=(8,)"),
        (arguments_of(records_dir, finished / "whole", epochs=1), "already holds 2 epochs; --epochs is 1"),
        (arguments_of(records_dir, folder / "other"), "it holds other files"),
        (
            arguments_of(folder / "flipped", folder / "model-flipped"),
            "a record is damaged; data_prep.verify",
        ),
        (arguments_of(folder / "short", model_dir), "bytes; found"),
        (arguments_of(folder / "claims", model_dir), "not a whole TFRecord file (its end is missing)"),
        (arguments_of(folder / "gone", model_dir), "a shard of the manifest is missing"),
        (arguments_of(folder / "empty", model_dir), "the train split must hold a mammogram; found none"),
        (arguments_of(folder / "healthy", model_dir), "the train split must hold a calcification; found none"),
        (arguments_of(folder / "nowhere", model_dir), "no such folder of records"),
        (arguments_of(folder / "later", model_dir), "schema_version must be 1; found 2: convert the data again"),
        (arguments_of(folder / "changed", model_dir), "its own checksum does not fit"),
        (
            arguments_of(records_dir, model_dir, crop_size=49),
            "--crop_size must fit into a mammogram that is trained on",
        ),
        (arguments_of(records_dir, model_dir, validation_fraction=0.9), "must leave a patient to train on"),
        (
            arguments_of(records_dir, model_dir, validation_fraction=0.3, validate_every_epochs=3),
            "--validate_every_epochs must be at most --epochs, 2; found 3",
        ),
        (arguments_of(records_dir, model_dir, checkpoint_every_steps=-1), "--checkpoint_every_steps must be 0 or more"),
        (
            arguments_of(records_dir, model_dir, operating_false_alarms="nan"),
            "--operating_false_alarms: must be finite",
        ),
        (arguments_of(records_dir, model_dir, operating_images=-1), "--operating_images"),
        (arguments_of(records_dir, model_dir, replicas=3), "must be a multiple of the replicas, 3; found 4"),
        (arguments_of(records_dir, model_dir, "--jit_compile", replicas=2), "--jit_compile takes one replica; found 2"),
        (arguments_of(records_dir, model_dir, model="fnc"), "did you mean fcn?"),
        (arguments_of(records_dir, model_dir, widths="4,x"), "whole numbers with commas between; found ['4', 'x']"),
        (arguments_of(records_dir, model_dir, learning_rat=1), "flag 'learning_rat'. Did you mean"),
        (arguments_of(records_dir, model_dir, "stray"), "found the stray argument 'stray'"),
        (arguments_of(records_dir, model_dir, seed=-4), "--seed must be 0 to"),
        (
            arguments_of(records_dir, folder / "model-nan", learning_rate=1e30),
            "there is no good checkpoint; train again with a lower --learning_rate",
        ),
    ]


def damage(records_dir, folder):
    """Writes folders of records that are each wrong in one way."""
    for name in ("flipped", "short", "claims", "gone", "empty", "later", "changed"):
        shutil.copytree(records_dir, folder / name)
    shards = {name: sorted((folder / name).glob("train-*"))[0] for name in ("flipped", "short", "claims", "gone")}
    data = bytearray(shards["flipped"].read_bytes())
    data[len(data) * 3 // 4] ^= 0x40  # in the last record: the first is read before the run
    shards["flipped"].write_bytes(bytes(data))
    shards["short"].write_bytes(shards["short"].read_bytes()[:-5])
    # A length that TensorFlow's own reader ends the process at.
    shards["claims"].write_bytes(claim_length(1 << 40, bytes(shards["claims"].stat().st_size - 16)))
    shards["gone"].unlink()
    manifest = json.loads((folder / "empty" / "manifest.json").read_text())
    manifest["counts"]["train"]["images"] = 0
    del manifest["sha256_of_the_rest"]
    (folder / "empty" / "manifest.json").write_text(json.dumps(manifest))
    manifest = json.loads((folder / "later" / "manifest.json").read_text())
    (folder / "later" / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 2}))
    manifest["intensity"]["mean"] /= 2
    (folder / "changed" / "manifest.json").write_text(json.dumps(manifest))
    write_fake_records(folder / "healthy", {"train": [mammogram(1, calcified=False)], "test": [mammogram(2)]})


@pytest.mark.slow
def test_every_users_error_is_one_line_and_changes_nothing(finished, records_dir, tmp_path):
    calls = refused(records_dir, tmp_path, finished)
    for ended, (_, words) in zip(run_modules(MODULE, [call for call, _ in calls]), calls, strict=True):
        assert_one_line_error(ended, words)
    assert not (tmp_path / "model").exists()
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["notes.txt"]
    for name, folder in (("stopped", tmp_path), ("whole", finished)):
        epochs = json.loads((folder / name / "config.json").read_text())["training"]["epochs"]
        assert epochs == {"stopped": 1, "whole": 2}[name]
    # What was no longer a number is nowhere on disk.
    assert not list((tmp_path / "model-nan").glob("checkpoints/ckpt*"))
    assert not (tmp_path / "model-nan" / "model.weights.h5").exists()
