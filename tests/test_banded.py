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


def segmenters(config, *convolutions, kinks=False, **options):
    """The same network for each way to convolve, and once more with its gradient in bands.

    Without `kinks` every channel is wholly on or off behind its ReLU: another rounding moves an input across 0 now and
    then, which changes the gradient by far more than the rounding.
    """
    tf.keras.utils.set_random_seed(1)
    networks = [build_network(config) for _ in (*convolutions, "banded")]
    rng = np.random.default_rng(3)
    for variable in networks[0].weights:
        if "beta" in variable.name:
            signs = np.where(np.arange(variable.shape[0]) % 3, 1, -1)
            variable.assign(rng.normal(0, 0.2, variable.shape) + (0 if kinks else 7 * signs))
        elif "bias" in variable.name or "gamma" in variable.name:
            variable.assign(variable + rng.normal(0, 0.1, variable.shape))
    networks[0].get_layer("normalization").set_statistics(0.3, 0.4)
    for network, convolution in zip(networks, (*convolutions, convolutions[-1]), strict=True):
        network.set_weights(networks[0].get_weights())
        use_convolution(network, convolution)
    gradient = functools.partial(BandedGradient, all_reduce=tf.identity, **options)
    made = [Segmenter.of(network, LossConfig("cross_entropy")) for network in networks[:-1]]
    made.append(Segmenter.of(networks[-1], LossConfig("cross_entropy"), gradient))
    for segmenter in made:
        segmenter.optimizer = tf.keras.optimizers.SGD()
    return made


def assert_same_step(plain, banded, image, mask):
    loss, gradients = plain._loss_and_gradients(image, mask)
    found_loss, found = banded._loss_and_gradients(image, mask)
    assert float(found_loss.total) == pytest.approx(float(loss.total), rel=1e-5)
    assert float(found_loss.threshold) == pytest.approx(float(loss.threshold), abs=1e-6)
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


@pytest.mark.slow
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
    rows = plan.of_tensor(image)
    assert int(plan.count) == 6
    kept, (total,) = plan.scan(
        lambda band, total: (rows(band, 0), [total + tf.reduce_sum(rows(band, 0))]),
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


def norm(gradients):
    return float(tf.linalg.global_norm(gradients))


@pytest.mark.slow
def test_with_kinks_and_transforms_the_gradient_of_the_papers_network_is_still_the_plain_one():
    image, mask = batch(5, 2, 64, 64)
    made = segmenters(model_config("fcn"), "separate", "fourier", kinks=True)
    plain, *others = [segmenter._loss_and_gradients(image, mask)[1] for segmenter in made]
    for other in others:
        assert norm([one - two for one, two in zip(other, plain, strict=True)]) <= 1e-3 * norm(plain)


def test_transforms_change_the_gradient_by_rounding():
    image, mask = batch(5, 2, 64, 64)
    made = segmenters(model_config("fcn"), "separate", "fourier")
    plain, transformed, banded = [segmenter._loss_and_gradients(image, mask)[1] for segmenter in made]
    for other in (transformed, banded):
        assert norm([one - two for one, two in zip(other, plain, strict=True)]) <= 1e-5 * norm(plain)
