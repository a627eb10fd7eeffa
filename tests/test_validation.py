import json

import keras
import numpy as np
import pytest

from calcseg_tf.history import History
from calcseg_tf.losses import LossConfig
from calcseg_tf.model_directory import ModelInfo
from calcseg_tf.models import build_network, model_config
from calcseg_tf.segmenter import Segmenter
from calcseg_tf.termination import TerminatedError, Termination
from calcseg_tf.validation import SCORE, Validation
from tests.fakes.records import fake_record

INFO = ModelInfo(model_config("fcn", widths=(4,), kernel_sizes=(3,), head_kernel_size=3), None, {})


def records():
    for number in range(4):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 2000, (30, 26), dtype=np.uint16)
        mask = (rng.random(pixels.shape) > 0.95).astype(np.uint8)
        pixels[mask == 1] += 1500
        yield fake_record(pixels, mask, name=f"image-{number}", patient=f"patient-{number}")


def segmenter_of(seed):
    keras.utils.set_random_seed(seed)
    segmenter = Segmenter.of(build_network(INFO.model, synchronized_batch_norm=True), LossConfig())
    segmenter.compile(optimizer=keras.optimizers.SGD(0.01))
    return segmenter


def validation(folder, segmenter, epochs=(1,), every=1, termination=None):
    """A validation after so many epochs, and what it tells."""
    history, told = History(folder / "history.json", 1), []
    (folder / "history.json").write_text(json.dumps([{"epoch": epoch, "loss": 0.5} for epoch in epochs]))
    history.resume(max(epochs), SCORE)
    callback = Validation(INFO, records, every, folder, history, termination or Termination(), [told.append])
    callback.set_model(segmenter)
    return callback, told


def expected_score(segmenter):
    import sklearn.metrics

    found = list(records())
    logits = [segmenter(record.intensity()[None, ..., None], training=False)[0, ..., 0] for record in found]
    truth = np.concatenate([record.mask.ravel() for record in found])
    probability = np.concatenate([1 / (1 + np.exp(-np.asarray(logit, np.float64).ravel())) for logit in logits])
    return sklearn.metrics.average_precision_score(truth, np.rint(probability * 65535))


def scores(folder):
    return [entry.get(SCORE) for entry in json.loads((folder / "history.json").read_text())]


def test_the_score_is_the_average_precision_of_whole_mammograms_and_reaches_the_history(tmp_path):
    segmenter = segmenter_of(1)
    callback, told = validation(tmp_path, segmenter)
    callback.on_epoch_end(0, {})
    assert scores(tmp_path) == [told[0].score]
    assert told[0].score == pytest.approx(expected_score(segmenter), abs=1e-4)
    assert told[0].evaluation.average_precision.value == told[0].score
    assert len(told[0].evaluation.images) == 4
    assert [shown.image_id for shown in told[0].shown] == ["image-0", "image-1", "image-2"]
    for shown, record in zip(told[0].shown, records(), strict=False):
        np.testing.assert_array_equal(shown.intensity, record.intensity())
        np.testing.assert_array_equal(shown.mask, record.mask)
        assert shown.probability.shape == record.mask.shape


def test_only_better_weights_become_the_best(tmp_path):
    segmenters = sorted(map(segmenter_of, range(3)), key=expected_score)
    low, middle, high = segmenters
    callback, _ = validation(tmp_path, middle, epochs=(1, 2, 3))
    for epoch, segmenter in enumerate((middle, high, low)):
        callback.set_model(segmenter)
        callback.on_epoch_end(epoch, {})
    found = build_network(INFO.model)
    found.load_weights(tmp_path / "best.weights.h5")
    for one, other in zip(found.get_weights(), high.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_epochs_between_are_left_out(tmp_path):
    callback, told = validation(tmp_path, segmenter_of(1), epochs=(1, 2, 3, 4), every=2)
    for epoch in range(4):
        callback.on_epoch_end(epoch, {})
    assert [found.epoch for found in told] == [2, 4]


@pytest.mark.parametrize(("every", "pending"), [(1, True), (2, True), (3, False)])
def test_a_validation_that_was_stopped_is_done_at_the_next_start(tmp_path, every, pending):
    with Termination() as termination:
        callback, told = validation(tmp_path, segmenter_of(1), epochs=(1, 2), every=every, termination=termination)
        termination.requested = True
        if pending:
            with pytest.raises(TerminatedError):
                callback.on_epoch_end(1, {})
        termination.requested = False
        assert not told
        callback.resume(2)
        assert callback.pending == pending
        callback.on_train_begin()
    assert [found.epoch for found in told] == [2] * pending
    callback.resume(2)
    assert not callback.pending


def test_the_averaged_weights_are_validated_where_there_are_any(tmp_path):
    segmenter = segmenter_of(1)
    segmenter.compile(optimizer=keras.optimizers.SGD(0.01, use_ema=True, ema_momentum=0.5))
    segmenter.optimizer.build(segmenter.trainable_variables)
    for average in segmenter.optimizer._model_variables_moving_average:
        average.assign(average * 0.0)
    before = segmenter.get_weights()
    callback, told = validation(tmp_path, segmenter)
    callback.on_epoch_end(0, {})
    assert np.unique(told[0].shown[0].probability).tolist() == [0.5]
    for one, other in zip(before, segmenter.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
