import hashlib
import json
import shutil

import numpy as np
import pytest

from calcseg_tf import shipped
from calcseg_tf.fine_tuning import FineTuningConfig
from calcseg_tf.initial_weights import describe_initial_model, load_initial_weights
from calcseg_tf.model_directory import load_network, read_info
from calcseg_tf.models import build_network, model_config
from data_prep.errors import InputError
from tests.fakes.commands import assert_one_line_error, run_modules
from tests.fakes.records import write_fake_records
from tests.test_training import MODULE, arguments_of, assert_same_weights, mammogram, weights_of

STILL = {"learning_rate": 1e-12, "epochs": 1, "seed": 4}  # another seed: other random weights, had it begun with them


@pytest.fixture(scope="module")
def records_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    write_fake_records(folder, {"train": [mammogram(n) for n in range(4)], "test": [mammogram(9)]}, shards=2)
    return folder


@pytest.fixture(scope="module")
def runs(records_dir, tmp_path_factory):
    """Runs that start from the weights of `first`: without moving from them, with averages, stopped and resumed."""
    folder = tmp_path_factory.mktemp("runs")
    first = {"initial_model": folder / "first"}
    calls = {
        "first": {"epochs": 1},
        "still": {**first, **STILL},
        "averaged": {**first, **STILL, "ema_momentum": 0.99},
        "whole": {**first, "epochs": 2},
        "stopped": {**first, "epochs": 1},
        "other": {"epochs": 1, "seed": 5},
    }
    lines = [arguments_of(records_dir, folder / name, "--deterministic", **flags) for name, flags in calls.items()]
    lines.append(arguments_of(records_dir, folder / "stopped", "--deterministic", **calls["whole"]))
    for line, ended in zip(lines, run_modules(MODULE, lines), strict=True):
        assert ended.returncode == 0, (line, ended.stderr)
    # Killed within its first checkpoint: parts, and no list of checkpoints.
    (folder / "killed" / "checkpoints" / "ckpt-3_temp").mkdir(parents=True)
    shutil.copy(folder / "still" / "config.json", folder / "killed")
    (folder / "killed" / ".config.json.0123456789abcdef.partial").touch()
    [ended] = run_modules(MODULE, [arguments_of(records_dir, folder / "killed", "--deterministic", **first, **STILL)])
    assert ended.returncode == 0, ended.stderr
    return folder


def trained(model_dir):
    """The weights but for the running averages of batch norm, which no learning rate holds still."""
    network, _ = load_network(model_dir)
    return [weight.numpy() for weight in network.trainable_weights]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["still", "averaged", "killed"])
def test_a_run_starts_from_the_weights_of_the_model_it_is_given(runs, name):
    for value, wanted in zip(trained(runs / name), trained(runs / "first"), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-7)
    assert not np.allclose(trained(runs / name)[0], trained(runs / "other")[0], atol=1e-3)


@pytest.mark.slow
def test_a_stopped_run_goes_on_from_its_checkpoint_not_from_the_initial_weights(runs):
    assert_same_weights(runs / "stopped", runs / "whole")


@pytest.mark.slow
def test_the_config_tells_the_weights_it_started_from_by_their_digest_not_by_their_place(runs):
    text = (runs / "still" / "config.json").read_text()
    config = json.loads(text)
    digest = hashlib.sha256((runs / "first" / "model.weights.h5").read_bytes()).hexdigest()
    assert config["data"]["initial_model"]["weights_sha256"] == digest
    assert config["data"]["initial_model"]["data_set"] == "fake"
    assert str(runs) not in text


@pytest.mark.slow
def test_a_run_goes_on_only_with_the_weights_it_started_from(runs, records_dir, tmp_path):
    shutil.copytree(runs / "still", tmp_path / "model")
    changes = {
        "data.initial_model": {"initial_model": runs / "other", **STILL, "epochs": 2},
        "found fcn FcnConfig(widths=(4, 16, 32, 64, 128)": {"initial_model": "shipped", **STILL},
        "exclude each other": {"initial_model": "shipped", "backbone_weights": "some.h5"},
        "--initial_model must be a model directory, or shipped": {"initial_model": tmp_path / "nowhere", **STILL},
    }
    lines = [arguments_of(records_dir, tmp_path / "model", "--deterministic", **flags) for flags in changes.values()]
    for message, ended in zip(changes, run_modules(MODULE, lines), strict=True):
        assert_one_line_error(ended, message)
    assert weights_of(tmp_path / "model").keys() == weights_of(runs / "still").keys()


def test_the_weights_that_come_with_the_package_can_be_started_from():
    info = read_info(shipped.MODEL_DIR)
    network = build_network(info.model)
    load_initial_weights(network, "shipped")
    expected, _ = load_network(shipped.MODEL_DIR)
    for value, wanted in zip(network.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(value, wanted)
    assert describe_initial_model("shipped", info.model)["data_set"] == info.data["data_set"]


def test_another_network_is_refused_with_both_shapes():
    with pytest.raises(InputError, match=r"\(4, 16, 32, 64, 128\)") as told:
        describe_initial_model("shipped", model_config("fcn", widths=[8]))
    assert "(8,)" in str(told.value)


def test_two_starts_exclude_each_other():
    with pytest.raises(InputError, match="exclude each other"):
        FineTuningConfig(initial_model="shipped", backbone_weights="some.h5")
