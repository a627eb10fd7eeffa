import contextlib
import json
import os
import resource
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from calcseg_tf.checkpointing import Checkpointing, Position, disk_errors_told
from calcseg_tf.history import History
from calcseg_tf.termination import TerminatedError, Termination
from calcseg_tf.validation import SCORE
from data_prep.errors import InputError, UnfinishedError
from tests.test_callbacks import compiled, kept

STEPS = 5


def batches(first_step=0):
    image = np.random.default_rng(0).random((4 * STEPS, 10, 10, 1), np.float32)
    data = tf.data.Dataset.from_tensor_slices((image, (image > 0.9).astype(np.uint8))).batch(4)
    return data.skip(first_step).concatenate(data.repeat())


class At(keras.callbacks.Callback):
    """Does something after a step, both counted from 0."""

    def __init__(self, epoch, step, call):
        super().__init__()
        self.place, self.call = (epoch, step), call

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            self.call()


def run(folder, *first, epochs=3, every=0, termination=None):
    """Trains on from what is in the folder; returns where it began and the model."""
    segmenter, history = compiled(), History(folder / "history.json", 400)
    checkpoints = Checkpointing(folder / "checkpoints", STEPS, every, termination or Termination())
    begin = checkpoints.restore(segmenter, print)
    history.resume(begin.epoch, SCORE)
    segmenter.first_step = begin.step
    segmenter.fit(
        batches(begin.step), initial_epoch=begin.epoch, epochs=epochs, steps_per_epoch=STEPS, verbose=0,
        callbacks=[*first, history, checkpoints],
    )  # fmt: skip
    return begin, segmenter


def history_of(folder):
    return [
        {name: value for name, value in entry.items() if name != "pixels_per_second"}
        for entry in json.loads((folder / "history.json").read_text())
    ]


def assert_same_run(one, other, folders):
    for first, second in zip(
        one.get_weights() + one.optimizer.variables, other.get_weights() + other.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(first, second)
    assert history_of(folders[0]) == history_of(folders[1])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder)[1]


class KilledError(Exception):
    pass


def kill():
    raise KilledError


@pytest.mark.parametrize(
    ("place", "every", "begin"),
    [
        ((0, 0), 2, Position(0, 0)),
        ((0, 2), 2, Position(0, 2)),
        ((1, 4), 3, Position(1, 4)),  # after the last step of an epoch, before its end
        ((2, 0), 3, Position(2, 0)),
    ],
)
def test_a_run_killed_inside_an_epoch_goes_on_there_to_the_same_end(undisturbed, tmp_path, place, every, begin):
    with pytest.raises(KilledError):
        run(tmp_path, At(*place, kill), every=every)
    resumed_at, segmenter = run(tmp_path, every=every)
    assert resumed_at == begin
    assert_same_run(segmenter, undisturbed[1], (tmp_path, undisturbed[0]))


@pytest.mark.parametrize(
    ("place", "name", "begin"),
    [((0, 1), "ckpt-2", Position(0, 2)), ((1, 4), "ckpt-10", Position(2, 0)), ((2, 0), "ckpt-11", Position(2, 1))],
)
def test_sigterm_finishes_the_step_and_keeps_it(undisturbed, tmp_path, place, name, begin):
    before = signal.getsignal(signal.SIGTERM)
    with Termination() as termination, pytest.raises(TerminatedError, match="ended by SIGTERM") as raised:
        run(tmp_path, At(*place, lambda: os.kill(os.getpid(), signal.SIGTERM)), termination=termination)
    assert raised.value.exit_status == 143
    assert signal.getsignal(signal.SIGTERM) == before
    assert f"{name}.index" in kept(tmp_path)
    resumed_at, segmenter = run(tmp_path)
    assert resumed_at == begin
    assert_same_run(segmenter, undisturbed[1], (tmp_path, undisturbed[0]))


def limited(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@contextlib.contextmanager
def full_disk():
    """Gives a call after which no file grows beyond 1,000 bytes: the system refuses as it does on a full disk.

    Not a fixture: that would end after pytest has reported the test, perhaps into a file.
    """
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    try:
        yield lambda: limited(1000)
    finally:
        limited(soft)


@pytest.mark.parametrize(("place", "begin"), [((1, 1), Position(1, 1)), ((1, 4), Position(1, 2))])
def test_a_full_disk_leaves_the_checkpoint_before_and_no_part_of_the_new_one(undisturbed, tmp_path, place, begin):
    refused = pytest.raises(UnfinishedError, match="File too large: what was written before is whole")
    with full_disk() as fill, refused as raised:
        run(tmp_path, At(*place, fill), every=2 if place[1] == 1 else 7)
    assert "\n" not in str(raised.value)
    names = {path.name.split(".")[0] for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"checkpoint", *(path.split(".")[0] for path in kept(tmp_path))}
    resumed_at, segmenter = run(tmp_path)
    assert resumed_at == begin
    assert_same_run(segmenter, undisturbed[1], (tmp_path, undisturbed[0]))


def test_a_full_disk_leaves_the_history_before(tmp_path):
    history = History(tmp_path / "history.json", 1)
    run(tmp_path, epochs=1)
    before = (tmp_path / "history.json").read_bytes()
    history.resume(1, SCORE)
    with full_disk() as fill:
        fill()
        with pytest.raises(OSError, match="File too large"):
            history.amend(1, {str(number): 0.5 for number in range(200)})
    assert (tmp_path / "history.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_what_a_killed_process_left_of_checkpoints_goes_when_the_run_goes_on(tmp_path):
    run(tmp_path, epochs=1)
    folder = tmp_path / "checkpoints"
    whole = {path.name for path in folder.iterdir()}
    (folder / "ckpt-7_temp").mkdir()
    for name in ("ckpt-7_temp/part-00000-of-00001.index", "ckpt-3.index", "ckpt-3.data-00000-of-00001",
                 "checkpoint.tmp0123"):  # fmt: skip
        (folder / name).write_bytes(b"part")
    Checkpointing(folder, STEPS, 0, Termination()).restore(compiled(), print)
    assert {path.name for path in folder.iterdir()} == whole


def test_parts_of_a_first_checkpoint_are_none(tmp_path):
    folder = tmp_path / "checkpoints"
    (folder / "ckpt-7_temp").mkdir(parents=True)
    (folder / "ckpt-7.index").write_bytes(b"part")
    checkpointing = Checkpointing(folder, STEPS, 0, Termination())
    assert not checkpointing.begun
    assert checkpointing.restore(compiled(), print) == Position()
    assert list(folder.iterdir()) == []
    run(tmp_path, epochs=1)
    assert checkpointing.begun


@pytest.mark.parametrize("text", ["", 'model_checkpoint_path: "ckpt-5', "\xff\xfe"])
def test_a_damaged_list_of_checkpoints_does_not_begin_a_run_anew_over_them(tmp_path, text):
    run(tmp_path, epochs=1)
    (tmp_path / "checkpoints" / "checkpoint").write_bytes(text.encode("latin-1"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()}
    with pytest.raises(InputError, match="the list of checkpoints is damaged") as raised:
        Checkpointing(tmp_path / "checkpoints", STEPS, 0, Termination()).restore(compiled(), print)
    assert raised.value.where == str(tmp_path / "checkpoints" / "checkpoint")
    assert {path.name: path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()} == before


def _damage(path):
    path.write_bytes(path.read_bytes()[:100])


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
    _, undisturbed = run(tmp_path / "whole")
    run(tmp_path, epochs=2)
    _damage(tmp_path / "checkpoints" / "ckpt-10.data-00000-of-00001")
    said = []
    begin = Checkpointing(tmp_path / "checkpoints", STEPS, 0, Termination()).restore(compiled(), said.append)
    assert begin == Position(1)
    assert len(said) == 1
    assert "ckpt-10: the checkpoint cannot be restored" in said[0]
    assert said[0].endswith("going on from the one before")
    _, again = run(tmp_path)
    for one, other in zip(undisturbed.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert history_of(tmp_path) == history_of(tmp_path / "whole")
    assert kept(tmp_path) == ["ckpt-10.index", "ckpt-15.index"]


def test_a_clock_that_was_wrong_costs_no_checkpoint(tmp_path):
    run(tmp_path, epochs=2)
    listed = tmp_path / "checkpoints" / "checkpoint"
    late = "last_preserved_timestamp: 99999999999.0\n"
    listed.write_text("".join(line for line in listed.open() if "last_preserved" not in line) + late)
    assert run(tmp_path, epochs=2)[0] == Position(2)
    assert kept(tmp_path) == ["ckpt-10.index", "ckpt-5.index"]


@pytest.mark.parametrize("name", ["/elsewhere/ckpt-5", "../checkpoints-of-another/ckpt-5", "ckpt-*", "sub/ckpt-5"])
def test_a_list_that_names_anything_but_checkpoints_of_its_folder_is_refused(tmp_path, name):
    run(tmp_path, epochs=2)
    listed = tmp_path / "checkpoints" / "checkpoint"
    listed.write_text(f'{listed.read_text()}all_model_checkpoint_paths: "{name}"\n')
    with pytest.raises(InputError, match="must name those of its folder alone") as raised:
        Checkpointing(tmp_path / "checkpoints", STEPS, 0, Termination()).restore(compiled(), print)
    assert raised.value.where == str(listed)


def test_a_checkpoint_that_the_list_names_stays_where_the_disk_fills_up_behind_it(tmp_path, monkeypatch):
    written = tf.train.CheckpointManager._record_state

    def fill_at_the_second(manager, calls=[]):  # noqa: B006
        calls.append(manager)
        if len(calls) == 2:
            raise tf.errors.ResourceExhaustedError(None, None, "checkpoint; No space left on device")
        written(manager)

    monkeypatch.setattr(tf.train.CheckpointManager, "_record_state", fill_at_the_second)
    with pytest.raises(UnfinishedError, match="No space left on device"):
        run(tmp_path, epochs=1)
    monkeypatch.undo()
    assert run(tmp_path, epochs=1)[0] == Position(1)


@pytest.mark.parametrize("error", [tf.errors.PermissionDeniedError(None, None, "/x/ckpt-5_temp; Permission denied"),
                                   RuntimeError("Unable to synchronously write (Input/output error)")])  # fmt: skip
def test_other_errors_of_the_disk_are_one_line(tmp_path, error):
    with pytest.raises(UnfinishedError, match="the same command goes on") as raised, disk_errors_told(tmp_path):
        raise error
    assert raised.value.where == str(tmp_path)


def test_a_history_that_is_gone_is_told_before_a_worse_model_replaces_a_better(tmp_path):
    run(tmp_path, epochs=2)
    (tmp_path / "history.json").unlink()
    with pytest.raises(InputError, match="must tell of each of the 2 epochs that the checkpoint has; found 0"):
        run(tmp_path)


def test_a_damaged_checkpoint_does_not_take_the_place_of_a_good_one(tmp_path):
    run(tmp_path, epochs=2, every=3)  # the last two are of steps 9 and 10
    _damage(tmp_path / "checkpoints" / "ckpt-10.index")
    checkpoints = Checkpointing(tmp_path / "checkpoints", STEPS, 0, Termination())
    assert checkpoints.restore(compiled(), print) == Position(1, 4)
    assert checkpoints.latest.endswith("ckpt-9")
    assert kept(tmp_path) == ["ckpt-9.index"]


@pytest.mark.parametrize(("second", "expected"), [(0.7, [None]), (0.3, [0.5])])
def test_scores_whose_weights_are_gone_are_dropped(tmp_path, second, expected):
    path = tmp_path / "history.json"
    path.write_text(json.dumps([{"epoch": 1, SCORE: 0.5}, {"epoch": 2, SCORE: second}]))
    history = History(path, 1)
    history.resume(1, SCORE)  # best.weights.h5 is that of epoch 2 where its score was the higher
    assert [history.entry(1).get(SCORE)] == expected
    assert history.best(SCORE) == (None if expected == [None] else (1, 0.5))
