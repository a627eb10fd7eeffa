import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from calcseg_tf.callbacks import EpochCheckpoint, History, StopOnNan
from calcseg_tf.losses import LossConfig
from calcseg_tf.models import build_network, model_config
from calcseg_tf.segmenter import Segmenter
from data_prep.errors import InputError


def compiled():
    keras.utils.set_random_seed(1)
    config = model_config("fcn", widths=(4,), kernel_sizes=(3, 5), head_kernel_size=3)
    segmenter = Segmenter.of(build_network(config, synchronized_batch_norm=True), LossConfig())
    segmenter.compile(optimizer=keras.optimizers.Adam(0.01))
    return segmenter


def batches():
    image = np.random.default_rng(0).random((8, 10, 10, 1), np.float32)
    mask = (image > 0.9).astype(np.uint8)
    return tf.data.Dataset.from_tensor_slices((image, mask)).batch(4)


def fit(segmenter, folder, epochs, *more, first=0):
    history = History(folder / "history.json", pixels_per_epoch=800)
    history.resume(first)
    callbacks = [*more, StopOnNan(folder), history, EpochCheckpoint(folder / "checkpoints")]
    segmenter.fit(batches(), initial_epoch=first, epochs=epochs, verbose=0, callbacks=callbacks)


def kept(folder):
    return sorted(path.name for path in (folder / "checkpoints").glob("*.index"))


def test_a_checkpoint_brings_back_weights_optimiser_and_epoch(tmp_path):
    segmenter = compiled()
    fit(segmenter, tmp_path, 3)
    assert kept(tmp_path) == ["ckpt-2.index", "ckpt-3.index"]
    again = compiled()
    assert EpochCheckpoint(tmp_path / "checkpoints").restore(again) == 3
    assert int(again.optimizer.iterations) == 6
    for one, other in zip(
        segmenter.get_weights() + segmenter.optimizer.variables, again.get_weights() + again.optimizer.variables,
        strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(one, other)


def test_without_a_checkpoint_a_run_begins_at_0_and_writes_nothing(tmp_path):
    assert EpochCheckpoint(tmp_path / "checkpoints").restore(compiled()) == 0
    assert not (tmp_path / "checkpoints").exists()


def test_a_damaged_or_foreign_checkpoint_is_one_line(tmp_path):
    fit(compiled(), tmp_path, 1)
    config = model_config("fcn", widths=(8,), kernel_sizes=(3, 5), head_kernel_size=3)
    other = Segmenter.of(build_network(config), LossConfig())
    other.compile(optimizer=keras.optimizers.Adam(0.01))
    with pytest.raises(InputError, match="cannot be restored"):
        EpochCheckpoint(tmp_path / "checkpoints").restore(other)
    data = tmp_path / "checkpoints" / "ckpt-1.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be restored") as raised:
        EpochCheckpoint(tmp_path / "checkpoints").restore(compiled())
    assert "\n" not in str(raised.value)


def test_a_loss_that_is_not_a_number_leaves_the_good_epochs(tmp_path):
    rates = keras.callbacks.LearningRateScheduler(lambda epoch, _: 0.01 if epoch < 2 else 1e30)
    with pytest.raises(InputError, match="the loss became nan at step 6; train again with a lower --learning_rate"):
        fit(compiled(), tmp_path, 5, rates)
    assert kept(tmp_path) == ["ckpt-1.index", "ckpt-2.index"]
    assert [entry["epoch"] for entry in json.loads((tmp_path / "history.json").read_text())] == [1, 2]


class SpoilTheLastUpdate(keras.callbacks.Callback):
    """What a diverging step leaves: the loss before it was a number."""

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == 4:
            variable = self.model.trainable_variables[0]
            variable.assign(variable * float("inf"))


def test_weights_that_no_loss_has_seen_yet_are_checked_before_they_are_kept(tmp_path):
    with pytest.raises(InputError, match=r"is no longer finite at step 4"):
        fit(compiled(), tmp_path, 5, SpoilTheLastUpdate())
    assert kept(tmp_path) == ["ckpt-1.index"]


def test_a_resumed_history_drops_what_is_redone(tmp_path):
    path = tmp_path / "history.json"
    path.write_text(json.dumps([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}, {"epoch": 3, "loss": 9.0}]))
    fit(compiled(), tmp_path, 3, first=2)
    entries = json.loads(path.read_text())
    assert [entry["epoch"] for entry in entries] == [1, 2, 3]
    assert (entries[1]["loss"], entries[2]["loss"] < 9) == (0.25, True)


@pytest.mark.parametrize("content", ["", "[{]", '{"epoch": 1}', "[1]", "[{}]"])
def test_a_damaged_history_is_one_line(tmp_path, content):
    (tmp_path / "history.json").write_text(content)
    with pytest.raises(InputError, match="not a readable history") as raised:
        History(tmp_path / "history.json", 1).resume(2)
    assert raised.value.where == str(tmp_path / "history.json")
