import concurrent.futures
import multiprocessing

import keras
import numpy as np
import pytest
import tensorflow as tf

from calcseg_tf.devices import DeviceConfig, make_strategy
from calcseg_tf.losses import LossConfig
from calcseg_tf.models import build_network, model_config
from calcseg_tf.segmenter import Segmenter

CONFIG = model_config("fcn", widths=(4, 4), kernel_sizes=(3, 5), head_kernel_size=3)


def batches():
    rng = np.random.default_rng(1)
    image = rng.random((24, 20, 20, 1), np.float32)
    # Unevenly spread over the batch, ties included: what a replica sees alone is not what the batch holds.
    mask = np.zeros(image.shape, np.uint8)
    mask[::3, 4:6, 4:7] = 1
    mask[1::5, :3] = 255
    image[mask == 1] += 0.5
    image[3::4] = np.round(image[3::4] * 4) / 4
    return tf.data.Dataset.from_tensor_slices((image, mask)).batch(8, drop_remainder=True)


def weights_after_training(strategy):
    with strategy.scope():
        keras.utils.set_random_seed(3)
        segmenter = Segmenter.of(build_network(CONFIG, synchronized_batch_norm=True), LossConfig())
        segmenter.compile(optimizer=keras.optimizers.SGD(0.05, momentum=0.9))
    history = segmenter.fit(batches(), epochs=2, verbose=0).history
    return segmenter.get_weights(), history


def weights_with_replicas(replicas):
    return weights_after_training(make_strategy(DeviceConfig(replicas=replicas)))


@pytest.fixture(scope="module")
def one_replica():
    return weights_after_training(tf.distribute.get_strategy())


@pytest.mark.slow  # tests/test_training.py trains on four too
@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_change_neither_weights_nor_loss(one_replica, replicas):
    weights, history = one_replica
    # In a process of its own: devices are fixed once TensorFlow has started.
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        mirrored_weights, mirrored_history = pool.submit(weights_with_replicas, replicas).result()
    for one, other in zip(weights, mirrored_weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    for name, values in history.items():
        np.testing.assert_allclose(values, mirrored_history[name], rtol=1e-4, err_msg=name)
    assert history["negatives"][0] == 3 * history["positives"][0]


def test_training_lowers_the_loss_and_evaluation_measures_it():
    keras.utils.set_random_seed(0)
    segmenter = Segmenter.of(build_network(CONFIG, synchronized_batch_norm=True), LossConfig())
    segmenter.compile(optimizer=keras.optimizers.Adam(0.01))
    history = segmenter.fit(batches(), epochs=15, verbose=0).history["loss"]
    assert history[-1] < 0.7 * history[0]
    measured = segmenter.evaluate(batches(), verbose=0, return_dict=True)
    assert set(measured) == {"loss", "positives", "negatives", "negative_threshold"}


def test_its_weights_file_is_the_networks(tmp_path):
    segmenter = Segmenter.of(build_network(CONFIG, synchronized_batch_norm=True), LossConfig())
    segmenter.save_weights(tmp_path / "x.weights.h5")
    network = build_network(CONFIG)
    network.load_weights(tmp_path / "x.weights.h5")
    for one, other in zip(segmenter.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def one_weight_network(weight=1.0):
    """Logit = weight x intensity, with no batch norm."""
    image = keras.Input((None, None, 1))
    layer = keras.layers.Conv2D(1, 1, use_bias=False)
    network = keras.Model(image, layer(image))
    layer.set_weights([np.full((1, 1, 1, 1), weight, np.float32)])
    return network


def after_one_update(loss, image, mask):
    segmenter = Segmenter.of(one_weight_network(), loss)
    segmenter.compile(optimizer=keras.optimizers.SGD(1.0))
    # As many batches as steps; `fit` keeps the second axis of accumulated ones.
    history = segmenter.fit(tf.data.Dataset.from_tensors((image, mask)), verbose=0).history
    return segmenter.get_weights()[0].item(), history


@pytest.mark.parametrize(
    "loss", [LossConfig("cross_entropy"), LossConfig("weighted_cross_entropy", positive_weight=9.0)]
)
def test_accumulated_batches_update_as_the_larger_batch_does(loss):
    rng = np.random.default_rng(4)
    image = rng.normal(size=(12, 5, 5, 1)).astype(np.float32)
    mask = rng.choice(np.array([0, 0, 1, 255], np.uint8), image.shape)
    mask[:4] = 255  # the first micro-batch counts fewer pixels than the others
    mask[0, 0, 0] = 1
    accumulated = [array.reshape(3, 4, 5, 5, 1).swapaxes(0, 1) for array in (image, mask)]
    weight, _ = after_one_update(loss, image, mask)
    assert abs(weight - 1) > 1e-3
    assert after_one_update(loss, *accumulated)[0] == pytest.approx(weight, abs=1e-6)


def test_accumulated_batches_choose_their_own_hardest_negatives():
    # Two iterations of one crop each. The first has a positive, so three negatives of its four enter, though the second
    # holds harder ones; the second has none, so its two hardest enter.
    image = np.array([[0.5, 1.0, 2.0, 3.0, -1.0], [9.0, 8.0, 7.0, 6.0, 5.0]], np.float32).reshape(1, 2, 1, 5, 1)
    mask = np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], np.uint8).reshape(image.shape)
    weight, history = after_one_update(LossConfig(negatives_without_positives=2), image, mask)
    entered = [(0.5, 1), (1.0, 0), (2.0, 0), (3.0, 0), (9.0, 0), (8.0, 0)]
    gradient = sum((1 / (1 + np.exp(-x)) - y) * x for x, y in entered) / len(entered)
    assert weight == pytest.approx(1 - gradient, rel=1e-5)
    # The figures shown are means over iterations.
    assert (history["positives"], history["negatives"]) == ([0.5], [2.5])


def test_averaged_weights_stand_in_and_leave_again():
    segmenter = Segmenter.of(one_weight_network(), LossConfig("cross_entropy"))
    optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    segmenter.compile(optimizer=optimizer)
    optimizer.build(segmenter.trainable_variables)
    segmenter.train_on_batch(np.ones((1, 2, 2, 1), np.float32), np.ones((1, 2, 2, 1), np.uint8))
    last = segmenter.get_weights()[0].item()
    with segmenter.averaged_weights():
        assert segmenter.get_weights()[0].item() == pytest.approx((1 + last) / 2)
    assert segmenter.get_weights()[0].item() == last > 1
