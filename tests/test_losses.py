import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from calcseg_tf.losses import LossConfig, kth_largest, pixel_loss
from data_prep.errors import InputError

FLOATS = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False, width=32)


def one_replica(tensor):
    return tensor


def loss_of(logits, mask, **config):
    shape = (1, 1, len(logits), 1)
    logit = tf.reshape(tf.constant(logits, tf.float32), shape)
    return pixel_loss(logit, tf.reshape(tf.constant(mask, tf.uint8), shape), LossConfig(**config), one_replica)


def softplus(logit):
    return math.log1p(math.exp(logit))


def test_one_positive_takes_its_three_hardest_negatives():
    # Negatives by loss: 3, 2, 1 (in), 0, -4 (out).
    loss = loss_of([1.0, 0.0, 3.0, -4.0, 2.0, 1.0], [1, 0, 0, 0, 0, 0])
    expected = (softplus(-1.0) + softplus(3.0) + softplus(2.0) + softplus(1.0)) / 4
    assert float(loss.total) == pytest.approx(expected, rel=1e-6)
    assert (float(loss.positives), float(loss.negatives)) == (1, 3)
    assert float(loss.threshold) == pytest.approx(1 / (1 + math.exp(-1.0)), rel=1e-6)


def test_ignored_pixels_never_count_however_wrong_they_are():
    with_ignored = loss_of([1.0, 0.0, 2.0, 90.0, -90.0], [1, 0, 0, 255, 255])
    without = loss_of([1.0, 0.0, 2.0], [1, 0, 0])
    assert float(with_ignored.total) == float(without.total)
    assert float(with_ignored.negatives) == 2


def test_negatives_are_bounded_by_those_there_are():
    loss = loss_of([1.0, -1.0], [1, 0])
    assert float(loss.negatives) == 1
    assert float(loss.total) == pytest.approx((softplus(-1.0) + softplus(-1.0)) / 2, rel=1e-6)


def test_ties_at_the_threshold_share_what_is_left():
    # k = 3: one negative above, two places left for four tied: weight 1/2 each.
    logits = tf.Variable([[[[0.5], [2.0], [1.0], [1.0], [1.0], [1.0], [0.0]]]])
    mask = tf.constant([[[[1], [0], [0], [0], [0], [0], [0]]]], tf.uint8)
    with tf.GradientTape() as tape:
        loss = pixel_loss(logits, mask, LossConfig(), one_replica)
    gradient = tape.gradient(loss.local, logits).numpy().ravel()

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    half = sigmoid(1.0) / 2
    np.testing.assert_allclose(gradient * 4, [sigmoid(0.5) - 1, sigmoid(2.0), half, half, half, half, 0], rtol=1e-5)
    assert float(loss.total) == pytest.approx((softplus(-0.5) + softplus(2.0) + 2 * softplus(1.0)) / 4, rel=1e-6)


def test_a_batch_without_positives_learns_from_the_floor():
    loss = loss_of([3.0, 2.0, 1.0], [0, 0, 0], negatives_without_positives=2)
    assert float(loss.total) == pytest.approx((softplus(3.0) + softplus(2.0)) / 2, rel=1e-6)
    assert (float(loss.positives), float(loss.negatives)) == (0, 2)


@pytest.mark.parametrize("mask", [[255, 255], [1, 1], [1, 255]])
def test_without_negatives_the_positives_stand_alone(mask):
    positives = mask.count(1)
    loss = loss_of([2.0, 2.0], mask)
    assert float(loss.total) == pytest.approx(softplus(-2.0) if positives else 0.0, rel=1e-6)
    assert float(loss.negatives) == 0


def test_plain_cross_entropy_is_the_mean_over_all_that_is_not_ignored():
    loss = loss_of([1.0, -2.0, 0.5, 7.0], [1, 0, 0, 255], name="cross_entropy")
    assert float(loss.total) == pytest.approx((softplus(-1.0) + softplus(-2.0) + softplus(0.5)) / 3, rel=1e-6)


def test_a_logit_that_is_not_a_number_shows():
    for mask in ([1, 0], [0, 1], [0, 0]):
        assert math.isnan(float(loss_of([float("nan"), 1.0], mask).total)), mask


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(FLOATS, st.sampled_from([-2.5, 0.0, 0.5, 1.0])), min_size=1, max_size=40),
    st.data(),
)
def test_kth_largest_is_that_of_a_sorted_list(values, data):
    k = data.draw(st.integers(1, len(values)))
    wanted = np.sort(np.array(values, np.float32))[-k]
    padded = tf.constant([*values, -math.inf, -math.inf], tf.float32)
    found = kth_largest(padded, tf.constant(k, tf.int64), one_replica).numpy()
    # Vectorised comparisons may take subnormal numbers for 0: their largest can stand for it.
    assert found == wanted or (wanted == 0 and abs(found) < np.finfo(np.float32).tiny)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([0, 0, 0, 1, 255])), min_size=2, max_size=60), st.randoms()
)
def test_the_order_of_pixels_changes_nothing(pixels, random):
    shuffled = list(pixels)
    random.shuffle(shuffled)
    one, other = (loss_of(*(list(column) for column in zip(*order, strict=True))) for order in (pixels, shuffled))
    assert float(one.total) == pytest.approx(float(other.total), rel=1e-6)
    assert float(one.threshold) == float(other.threshold)
    assert float(one.negatives) == float(other.negatives)


def test_eager_and_graph_agree():
    rng = np.random.default_rng(0)
    logit = tf.constant(rng.normal(size=(2, 16, 16, 1)), tf.float32)
    mask = tf.constant(rng.choice([0, 0, 0, 0, 1, 255], size=(2, 16, 16, 1)), tf.uint8)
    graph = tf.function(lambda *data: pixel_loss(*data, LossConfig(), one_replica).total)
    assert float(graph(logit, mask)) == pytest.approx(float(pixel_loss(logit, mask, LossConfig(), one_replica).total))


@pytest.mark.parametrize(
    ("values", "message"), [({"name": "focl"}, "found 'focl'"), ({"negatives_per_positive": 0}, "1")]
)
def test_a_wrong_loss_says_what_is_wrong(values, message):
    with pytest.raises(InputError, match=message):
        LossConfig(**values)
