import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from calcseg_tf import bands
from calcseg_tf.banded import BandedGradient
from calcseg_tf.losses import LossConfig, PixelLoss
from calcseg_tf.models import build_network, model_config
from calcseg_tf.models.parallel_conv import use_convolution
from calcseg_tf.segmenter import Segmenter

CONFIG = model_config("fcn", widths=(4, 8), kernel_sizes=(3, 5), head_kernel_size=3)


def batch(seed, count, height, width):
    rng = np.random.default_rng(seed)
    mask = rng.choice(np.array([0, 0, 0, 0, 0, 0, 1, 255], np.uint8), (count, height, width, 1))
    return tf.constant(rng.random((count, height, width, 1), np.float32)), tf.constant(mask)


def segmenters(config, convolution, **options):
    """The same network twice: its gradient plain and in bands.

    Both convolve in the same way: another's rounding moves an input of a ReLU across 0 now and then.
    """
    tf.keras.utils.set_random_seed(1)
    networks = [build_network(config) for _ in range(2)]
    rng = np.random.default_rng(3)
    for variable in networks[0].weights:  # nothing at 0, where a term could be missing unseen
        if "bias" in variable.name or "beta" in variable.name:
            variable.assign(rng.normal(0, 0.2, variable.shape))
    networks[0].get_layer("normalization").set_statistics(0.3, 0.4)
    networks[1].set_weights(networks[0].get_weights())
    for network in networks:
        use_convolution(network, convolution)
    gradient = functools.partial(BandedGradient, all_reduce=tf.identity, **options)
    return Segmenter.of(networks[0], LossConfig()), Segmenter.of(networks[1], LossConfig(), gradient)


def assert_same_step(plain, banded, image, mask):
    for segmenter in (plain, banded):
        segmenter.optimizer = tf.keras.optimizers.SGD()
    loss, gradients = plain._loss_and_gradients(image, mask)
    found_loss, found = banded._loss_and_gradients(image, mask)
    assert float(found_loss.total) == pytest.approx(float(loss.total), rel=1e-5)
    assert float(found_loss.threshold) == pytest.approx(float(loss.threshold), rel=1e-4)
    largest = max(float(tf.reduce_max(tf.abs(gradient))) for gradient in gradients)
    for variable, one, other in zip(plain.trainable_variables, found, gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * largest, err_msg=variable.name)
    for one, other in zip(banded.non_trainable_variables, plain.non_trainable_variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6, err_msg=other.name)


@settings(max_examples=12, deadline=None)
@example(3, 20, 20, 900, "merged", True)  # bands of two images and of one
@given(
    st.integers(1, 3),
    st.integers(8, 75),
    st.integers(8, 50),
    st.sampled_from([1, 900, 1 << 16]),
    st.sampled_from(["merged", "fourier"]),
    st.booleans(),
)
def test_the_gradient_in_bands_is_the_plain_one(count, height, width, pixels_at_once, convolution, keep_widest):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bands, "_PIXELS_AT_ONCE", pixels_at_once)
        plain, banded = segmenters(CONFIG, convolution, keep_widest=keep_widest)
        assert_same_step(plain, banded, *batch(height, count, height, width))


def test_the_papers_network_in_a_graph_that_does_not_know_the_size(monkeypatch):
    monkeypatch.setattr(bands, "_PIXELS_AT_ONCE", 32 * 40)
    plain, banded = segmenters(model_config("fcn"), "auto", keep_widest=False)
    signature = [tf.TensorSpec([None, None, None, 1]), tf.TensorSpec([None, None, None, 1], tf.uint8)]

    @functools.partial(tf.function, input_signature=signature)
    def in_a_graph(image, mask):
        loss, gradients = eagerly(image, mask)
        return list(vars(loss).values()), gradients

    def loss_and_gradients(image, mask):
        values, gradients = in_a_graph(image, mask)
        return PixelLoss(*values), gradients

    eagerly = banded._loss_and_gradients
    banded._loss_and_gradients = loss_and_gradients
    assert_same_step(plain, banded, *batch(1, 1, 70, 40))


def test_a_band_is_read_with_its_neighbours_as_far_as_the_image_goes(monkeypatch):
    monkeypatch.setattr(bands, "_PIXELS_AT_ONCE", 1)
    image = tf.reshape(tf.range(2.0 * 70 * 3), [2, 70, 3, 1])
    plan = bands.Bands.of(image)
    assert int(plan.count) == 6
    kept, (total,) = plan.scan(
        lambda band: (plan.of_tensor(image)(band, 0), [tf.reduce_sum(plan.of_tensor(image)(band, 0))]),
        [tf.zeros([])],
        1,
    )
    assert float(total) == float(tf.reduce_sum(image))
    np.testing.assert_array_equal(kept.whole(image.shape), image)
    for band, (number, first, last) in enumerate(
        [(0, 0, 36), (0, 28, 68), (0, 60, 70), (1, 0, 36), (1, 28, 68), (1, 60, 70)]
    ):
        for rows in (plan.of_tensor(image), kept.rows):
            np.testing.assert_array_equal(rows(tf.constant(band), 4), image[number : number + 1, first:last])
    np.testing.assert_array_equal(
        plan.padded(kept.rows, tf.constant(2), 0, 4),
        tf.pad(image[:1, 60:70], [[0, 0], [0, 4], [4, 4], [0, 0]]),
    )


def test_small_images_share_a_band():
    plan = bands.Bands.of(tf.zeros([9, 128, 128, 1]))
    assert (int(plan.images), int(plan.rows), int(plan.count)) == (4, 128, 3)
