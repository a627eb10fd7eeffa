import dataclasses
import os
import signal
import subprocess
import time

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from calcseg_tf.held_out import ValidationConfig
from calcseg_tf.input_pipeline import InputConfig
from calcseg_tf.models import model_config
from calcseg_tf.recipe import OptimizerConfig, TrainingConfig
from calcseg_tf.tensorboard_log import LogConfig, TensorBoardLog, drop_events
from calcseg_tf.training import train
from data_prep.errors import InputError
from tests.fakes.commands import ROOT, command, environment, run_module
from tests.fakes.mammograms import write_speckled_records

CONFIG = TrainingConfig(
    model=model_config("fcn", widths=(4,), kernel_sizes=(3,)),
    inputs=InputConfig(crop_size=24, global_batch_size=2, steps_per_epoch=5, crops_per_image=4),
    optimizer=OptimizerConfig("adam", 0.01),
    validation=ValidationConfig(validation_fraction=0.5),
    epochs=3,
)


def steps_of(directory):
    """What TensorBoard reads: the steps of each tag, pictures and scalars alike."""
    found = EventAccumulator(str(directory), size_guidance={"tensors": 0}).Reload()
    return {tag: [event.step for event in found.Tensors(tag)] for tag in found.Tags()["tensors"]}


def write(directory, steps, tag="train/loss"):
    writer = tf.summary.create_file_writer(str(directory))
    with writer.as_default():
        for step in steps:
            tf.summary.scalar(tag, 1.0, step)
    writer.close()


def after(last):
    return lambda step, _: step > last


def test_what_is_redone_is_dropped_from_every_file_and_nothing_else(tmp_path):
    write(tmp_path, [0, 10, 20])
    write(tmp_path, [30, 40])
    write(tmp_path, [50])
    drop_events(tmp_path, after(30))
    write(tmp_path, [40, 50])
    assert steps_of(tmp_path) == {"train/loss": [0, 10, 20, 30, 40, 50]}
    assert len(list(tmp_path.iterdir())) == 3  # the file that held nothing else is gone


def test_events_are_dropped_by_their_tags_too(tmp_path):
    write(tmp_path, [10, 20])
    write(tmp_path, [10, 20], "validation/average_precision")
    drop_events(tmp_path, lambda step, tag: step == 20 and tag.startswith("validation/"))
    assert steps_of(tmp_path) == {"train/loss": [10, 20], "validation/average_precision": [10]}


def test_a_file_that_a_kill_cut_short_keeps_its_whole_events(tmp_path):
    write(tmp_path, [10, 20])
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    drop_events(tmp_path, after(20))
    assert steps_of(tmp_path) == {"train/loss": [10]}


def test_a_file_without_anything_to_drop_is_left_alone(tmp_path):
    write(tmp_path, [10, 20])
    (path,) = tmp_path.iterdir()
    before = path.stat().st_mtime_ns, path.stat().st_ino
    drop_events(tmp_path, after(20))
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_where_there_is_no_log_nothing_is_dropped(tmp_path):
    drop_events(tmp_path / "none", after(0))
    assert not (tmp_path / "none").exists()


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """The model directory of a run of three epochs that was stopped after one, in the middle of the second."""
    folder = tmp_path_factory.mktemp("resumed")
    write_speckled_records(folder / "records", train=2)
    log = LogConfig(images_every_epochs=2, profile_steps=(2, 3))
    train(dataclasses.replace(CONFIG, epochs=1), folder / "records", folder / "model", str, log)
    for tag in ("train/loss", "validation/example_1", "stale"):
        write(folder / "model" / "tensorboard", [10], tag)
    train(CONFIG, folder / "records", folder / "model", str, LogConfig(images_every_epochs=2))
    return folder / "model"


def test_a_resumed_run_has_every_tag_once_at_every_step_and_nothing_of_what_was_redone(resumed):
    steps = steps_of(resumed / "tensorboard")
    rates = ("loss", "positives", "negatives", "negative_threshold", "pixels_per_second", "learning_rate")
    limits = ("0.5", "1", "2", "5", "10", "20")
    for tag in [
        *(f"train/{name}" for name in rates),
        "validation/average_precision",
        *(f"validation/sensitivity_at_{limit}_false_alarms" for limit in limits),
    ]:
        assert steps.pop(tag) == [5, 10, 15], tag
    for tag in ("validation/example_1", "validation/froc", "validation/precision_recall"):
        assert steps.pop(tag) == [5, 15], tag
    for tag in ("_hparams_/session_start_info", "_hparams_/session_end_info", "__run_graph__"):
        assert steps.pop(tag) == [0], tag
    assert steps == {}


def test_the_recipe_is_that_of_the_last_start_flattened(resumed):
    found = EventAccumulator(str(resumed / "tensorboard")).Reload()
    content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    hparams = HParamsPluginData.FromString(content).session_start_info.hparams
    assert hparams["model.name"].string_value == "fcn"
    assert hparams["model.widths"].string_value == "(4,)"
    assert hparams["optimizer.learning_rate"].number_value == 0.01
    assert hparams["inputs.augment.horizontal_flip"].bool_value is True
    assert not [name for name in hparams if "initial_model" in name or "backbone_weights" in name]  # paths of a user
    assert hparams["epochs"].number_value == 3


def test_the_graph_is_that_of_the_network(resumed):
    nodes = {node.name.split("/")[0] for node in EventAccumulator(str(resumed / "tensorboard")).Reload().Graph().node}
    assert {"image", "fcn"} <= nodes


def test_a_profile_is_written_where_asked_for(resumed):
    (path,) = (resumed / "tensorboard").glob("plugins/profile/*/*.xplane.pb")
    assert b"train" in path.read_bytes()


def test_a_validation_that_will_be_done_again_is_dropped_alone(tmp_path):
    for tag in ("train/loss", "validation/average_precision", "validation/example_1"):
        write(tmp_path, [5, 10, 15], tag)
    TensorBoardLog(tmp_path, CONFIG, LogConfig()).resume(2, validates=True)
    assert steps_of(tmp_path) == {
        "train/loss": [5, 10],
        "validation/average_precision": [5],
        "validation/example_1": [5],
    }


@pytest.mark.parametrize(
    ("every", "seen_every", "drawn"),
    [
        (5, 1, [1, 6, 11, 12]),
        (1, 1, list(range(1, 13))),
        (5, 2, [2, 6, 12]),
        (2, 3, [3, 6, 9, 12]),
        (100, 1, [1, 12]),
        (0, 1, []),
    ],
)
def test_pictures_come_at_the_first_epoch_of_so_many_that_is_seen_and_at_the_last(tmp_path, every, seen_every, drawn):
    board = TensorBoardLog(tmp_path, dataclasses.replace(CONFIG, epochs=12), LogConfig(every))
    assert [epoch for epoch in range(1, 13) if epoch % seen_every == 0 and board._draws(epoch, seen_every)] == drawn


@pytest.mark.slow
def test_a_killed_run_goes_on_without_a_step_twice_or_missing(tmp_path):
    write_speckled_records(tmp_path / "records", train=2)
    flags = {
        "records_dir": tmp_path / "records", "model_dir": tmp_path / "model", "widths": "4", "crop_size": 24,
        "global_batch_size": 2, "steps_per_epoch": 5, "crops_per_image": 4, "epochs": 7, "operating_images": 0,
        "images_every_epochs": 3, "validation_fraction": 0.5, "kernel_sizes": "3",
    }  # fmt: skip
    lines = tmp_path / "model" / "training.log"
    for seen in (2, 4):
        running = subprocess.Popen(
            command("calcseg_tf.train", **flags), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while running.poll() is None and time.monotonic() < deadline:
            if lines.exists() and f"epoch={seen} " in lines.read_text():
                break
            time.sleep(0.001)
        os.kill(running.pid, signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
    ended = run_module("calcseg_tf.train", **flags)
    assert ended.returncode == 0, ended.stderr
    steps = steps_of(tmp_path / "model" / "tensorboard")
    whole = [5 * epoch for epoch in range(1, 8)]
    assert (steps["train/loss"], steps["validation/average_precision"]) == (whole, whole)
    assert steps["validation/example_1"] == steps["validation/froc"] == [5, 20, 35]
    assert steps["_hparams_/session_start_info"] == [0]
    found = [line.split()[1] for line in lines.read_text().splitlines()]
    assert found == [f"epoch={epoch}" for epoch in range(1, 8)]
    assert lines.read_text().count("val_average_precision=") == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images_every_epochs": -1}, "--images_every_epochs must be 0 or more; found -1"),
        ({"profile_steps": (3,)}, "--profile_steps must be FIRST,LAST with 1 <= FIRST <= LAST; found 3"),
        ({"profile_steps": (0, 2)}, "found 0,2"),
        ({"profile_steps": (5, 4)}, "found 5,4"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(options, message):
    with pytest.raises(InputError, match=message):
        LogConfig(**options)


def test_a_log_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path):
    (tmp_path / "events.out.tfevents.1").mkdir()
    with pytest.raises(IsADirectoryError):
        drop_events(tmp_path, lambda step, tag: True)
    assert (tmp_path / "events.out.tfevents.1").is_dir()
