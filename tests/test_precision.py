import keras
import numpy as np
import pytest
import tensorflow as tf

from calcseg_tf.losses import LossConfig
from calcseg_tf.models import build_network, model_config
from calcseg_tf.precision import PRECISIONS, layers_of, with_loss_scaling
from calcseg_tf.segmenter import Segmenter

CONFIG = model_config("fcn", widths=(4, 4), kernel_sizes=(3,), head_kernel_size=3)


def trained(precision, optimizer=None, steps=20):
    keras.utils.set_random_seed(3)
    with layers_of(precision):
        network = build_network(CONFIG, synchronized_batch_norm=True)
    segmenter = Segmenter.of(network, LossConfig())
    optimizer = optimizer or with_loss_scaling(keras.optimizers.SGD(0.05), precision)
    segmenter.compile(optimizer=optimizer)
    rng = np.random.default_rng(0)
    mask = (rng.random((4, 16, 16, 1)) < 0.1).astype(np.uint8)
    image = 0.3 + 0.05 * rng.random(mask.shape, np.float32) + 0.1 * mask
    data = tf.data.Dataset.from_tensors((tf.cast(image, tf.float32), mask)).repeat()
    history = segmenter.fit(data, steps_per_epoch=steps, verbose=0).history
    return segmenter, history["loss"][0], tf.cast(image, tf.float32)


@pytest.fixture(scope="module")
def plain():
    return trained("float32")


@pytest.mark.parametrize("precision", [name for name in PRECISIONS if name != "float32"])
def test_mixed_precision_trains_to_nearly_the_same(plain, precision):
    segmenter, loss, image = trained(precision)
    assert loss == pytest.approx(plain[1], rel=0.02)
    assert segmenter.get_layer("block2_conv").compute_dtype == precision.removeprefix("mixed_")
    assert segmenter.output.dtype == segmenter.get_layer("normalization").output.dtype == tf.float32
    assert {variable.dtype for variable in segmenter.weights} == {tf.float32}
    # Nothing built later, prediction least of all, computes in 16 bits.
    assert keras.mixed_precision.global_policy().name == "float32"
    network = build_network(CONFIG)
    assert network.get_layer("block2_conv").compute_dtype == "float32"
    network.set_weights(segmenter.get_weights())
    assert np.abs(network(image) - plain[0](image, training=False)).max() < 0.2


def test_a_failure_while_building_leaves_the_policy_as_it_was():
    with pytest.raises(ZeroDivisionError), layers_of("mixed_float16"):
        raise ZeroDivisionError
    assert keras.mixed_precision.global_policy().name == "float32"


def test_gradients_that_overflow_float16_skip_the_update_and_lower_the_scale():
    optimizer = keras.mixed_precision.LossScaleOptimizer(keras.optimizers.SGD(0.05), initial_scale=2.0**60)
    segmenter, _, _ = trained("mixed_float16", optimizer, steps=1)
    assert float(optimizer.loss_scale) == 2.0**59
    keras.utils.set_random_seed(3)
    untouched = build_network(CONFIG)
    for one, other in zip(segmenter.trainable_variables, untouched.trainable_variables, strict=True):
        np.testing.assert_array_equal(one, other)
