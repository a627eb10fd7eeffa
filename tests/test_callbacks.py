import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from calcseg_tf.callbacks import StopOnNan
from calcseg_tf.checkpointing import Checkpointing, Position
from calcseg_tf.history import History
from calcseg_tf.losses import LossConfig
from calcseg_tf.models import build_network, model_config
from calcseg_tf.segmenter import Segmenter
from calcseg_tf.termination import Termination
from calcseg_tf.validation import SCORE
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


def checkpointing(folder):
    return Checkpointing(folder / "checkpoints", 2, 0, Termination())


def fit(segmenter, folder, epochs, *more, first=0):
    history = History(folder / "history.json", pixels_per_step=400)
    history.resume(first, SCORE)
    checkpoints = checkpointing(folder)
    stop = StopOnNan(folder, 2, lambda epoch, step: [f"image-{epoch}-{step}", "b", "b"], lambda: checkpoints.latest)
    callbacks = [*more, stop, history, checkpoints]
    segmenter.fit(batches(), initial_epoch=first, epochs=epochs, verbose=0, callbacks=callbacks)


def kept(folder):
    return sorted(path.name for path in (folder / "checkpoints").glob("*.index"))


def test_a_checkpoint_brings_back_weights_optimiser_and_epoch(tmp_path):
    segmenter = compiled()
    fit(segmenter, tmp_path, 3)
    assert kept(tmp_path) == ["ckpt-4.index", "ckpt-6.index"]
    again = compiled()
    assert checkpointing(tmp_path).restore(again, print) == Position(3, 0)
    assert int(again.optimizer.iterations) == 6
    for one, other in zip(
        segmenter.get_weights() + segmenter.optimizer.variables, again.get_weights() + again.optimizer.variables,
        strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(one, other)


def test_without_a_checkpoint_a_run_begins_at_0_and_writes_nothing(tmp_path):
    assert checkpointing(tmp_path).restore(compiled(), print) == Position(0, 0)
    assert not (tmp_path / "checkpoints").exists()


def test_a_damaged_or_foreign_checkpoint_is_one_line(tmp_path):
    fit(compiled(), tmp_path, 1)
    config = model_config("fcn", widths=(8,), kernel_sizes=(3, 5), head_kernel_size=3)
    other = Segmenter.of(build_network(config), LossConfig())
    other.compile(optimizer=keras.optimizers.Adam(0.01))
    with pytest.raises(InputError, match="cannot be restored"):
        checkpointing(tmp_path).restore(other, print)
    data = tmp_path / "checkpoints" / "ckpt-2.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be restored") as raised:
        checkpointing(tmp_path).restore(compiled(), print)
    assert "\n" not in str(raised.value)


def test_a_loss_that_is_not_a_number_leaves_the_good_epochs(tmp_path):
    rates = keras.callbacks.LearningRateScheduler(lambda epoch, _: 0.01 if epoch < 2 else 1e30)
    with pytest.raises(InputError, match="the loss became nan at step 6") as raised:
        fit(compiled(), tmp_path, 5, rates)
    # The rate of 1e30 left weights of 1e30 after step 5, which were still numbers.
    for words in ("cut from image-2-1, b;", f"checkpoint is {tmp_path}/checkpoints/ckpt-4;", "lower --learning_rate"):
        assert words in str(raised.value)
    assert kept(tmp_path) == ["ckpt-2.index", "ckpt-4.index"]
    assert [entry["epoch"] for entry in json.loads((tmp_path / "history.json").read_text())] == [1, 2]


class SpoilTheLastUpdate(keras.callbacks.Callback):
    """What a diverging step leaves: the loss before it was a number."""

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == 4:
            variable = self.model.trainable_variables[0]
            variable.assign(variable * float("inf"))


def test_weights_that_no_loss_has_seen_yet_are_checked_before_they_are_kept(tmp_path):
    with pytest.raises(InputError, match=r"block1_conv/kernel3:0 is no longer finite at step 4; .* image-1-1, b;"):
        fit(compiled(), tmp_path, 5, SpoilTheLastUpdate())
    assert kept(tmp_path) == ["ckpt-2.index"]


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
        History(tmp_path / "history.json", 1).resume(2, SCORE)
    assert raised.value.where == str(tmp_path / "history.json")
