import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from calcseg_tf.tensorboard_log import LogConfig, drop_events
from data_prep.errors import InputError


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
