import concurrent.futures
import math
import threading

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from calcseg_tf.losses import LOSSES, LossConfig, kth_largest, pixel_loss
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


def test_a_single_negative_that_is_chosen_is_the_threshold():
    loss = loss_of([1.0, 0.5, -1.0], [1, 0, 0], negatives_per_positive=1)
    assert float(loss.total) == pytest.approx((softplus(-1.0) + softplus(0.5)) / 2, rel=1e-6)
    assert float(loss.threshold) == pytest.approx(1 / (1 + math.exp(-0.5)), rel=1e-6)


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


def test_the_floor_is_256_negatives():
    loss = loss_of([0.0] * 300, [0] * 300)
    assert (float(loss.negatives), float(loss.denominator)) == (256, 256)


@pytest.mark.parametrize("mask", [[255, 255], [1, 1], [1, 255]])
def test_without_negatives_the_positives_stand_alone(mask):
    positives = mask.count(1)
    loss = loss_of([2.0, 2.0], mask)
    assert float(loss.total) == pytest.approx(softplus(-2.0) if positives else 0.0, rel=1e-6)
    assert float(loss.negatives) == 0
    assert float(loss.denominator) == positives
    assert float(loss.threshold) == 0


def test_plain_cross_entropy_is_the_mean_over_all_that_is_not_ignored():
    loss = loss_of([1.0, -2.0, 0.5, 7.0], [1, 0, 0, 255], name="cross_entropy")
    assert float(loss.total) == pytest.approx((softplus(-1.0) + softplus(-2.0) + softplus(0.5)) / 3, rel=1e-6)


LOGITS, MASK = [1.0, -2.0, 0.5, -0.25, 7.0], [1, 0, 0, 1, 255]


def test_class_weights_balance_the_two_classes():
    loss = loss_of([*LOGITS, 3.0], [*MASK, 0], name="weighted_cross_entropy")
    positives, negatives = softplus(-1.0) + softplus(0.25), softplus(-2.0) + softplus(0.5) + softplus(3.0)
    assert float(loss.total) == pytest.approx((positives / 2 + negatives / 3) / 2, rel=1e-6)
    assert (float(loss.positives), float(loss.negatives)) == (2, 3)


def test_a_single_positive_weighs_as_much_as_all_negatives():
    loss = loss_of([1.0, 0.0, -2.0], [1, 0, 0], name="weighted_cross_entropy")
    assert float(loss.total) == pytest.approx((softplus(-1.0) + (softplus(0.0) + softplus(-2.0)) / 2) / 2, rel=1e-6)


def test_a_single_negative_weighs_as_much_as_all_positives():
    loss = loss_of([1.0, 2.0, -1.0], [1, 1, 0], name="weighted_cross_entropy")
    assert float(loss.total) == pytest.approx(((softplus(-1.0) + softplus(-2.0)) / 2 + softplus(-1.0)) / 2, rel=1e-6)


@pytest.mark.parametrize("weight", [5.0, 0.5])
def test_a_fixed_class_weight_multiplies_the_positives(weight):
    loss = loss_of(LOGITS, MASK, name="weighted_cross_entropy", positive_weight=weight)
    expected = weight * (softplus(-1.0) + softplus(0.25)) + softplus(-2.0) + softplus(0.5)
    assert float(loss.total) == pytest.approx(expected / (weight * 2 + 2), rel=1e-6)


@pytest.mark.parametrize(("mask", "expected"), [([0, 0], 2.0), ([1, 1], -2.0), ([255, 255], None)])
def test_class_weights_of_a_batch_with_one_class_are_its_mean(mask, expected):
    loss = loss_of([2.0, 2.0], mask, name="weighted_cross_entropy")
    assert float(loss.total) == pytest.approx(0.0 if expected is None else softplus(expected), rel=1e-6)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.9, 1.0), (0.5, 3.5)])
def test_focal_is_the_papers_formula_over_all_that_is_not_ignored(alpha, gamma):
    loss = loss_of(LOGITS, MASK, name="focal", focal_alpha=alpha, focal_gamma=gamma)
    logit, positive = np.array(LOGITS[:4]), np.array(MASK[:4]) == 1
    true_class = 1 / (1 + np.exp(np.where(positive, -logit, logit)))
    terms = np.where(positive, alpha, 1 - alpha) * (1 - true_class) ** gamma * -np.log(true_class)
    assert float(loss.total) == pytest.approx(terms.mean(), rel=1e-5)


@pytest.mark.parametrize("gamma", [1.0, 1.5, 2.0])
def test_focal_and_its_gradient_are_finite_at_any_logit(gamma):
    values = [0.0, 10.0, 17.0, 40.0, 90.0, 1e4, 1e30]
    logit = tf.Variable(tf.reshape(tf.constant([*values, *(-value for value in values)] * 2), (1, 1, -1, 1)))
    mask = tf.reshape(tf.constant([1] * 14 + [0] * 14, tf.uint8), (1, 1, -1, 1))
    with tf.GradientTape() as tape:
        loss = pixel_loss(logit, mask, LossConfig("focal", focal_gamma=gamma), one_replica)
    assert np.isfinite(float(loss.total))
    gradient = tape.gradient(loss.local, logit).numpy().ravel() * 28
    assert np.isfinite(gradient).all()
    # The wrongest pixels keep the gradient of weighted cross-entropy.
    np.testing.assert_allclose([gradient[7 + 6], gradient[14 + 6]], [-0.25, 0.75], rtol=1e-5)


def test_focal_loses_nothing_that_matters_where_a_pixel_is_right():
    # TFA subtracts probabilities from 1 in float32.
    for logit in (-8.0, -12.0, -16.0, -20.0):
        exact = 0.75 * (1 / (1 + math.exp(-logit))) ** 2 * math.log1p(math.exp(logit))
        assert float(loss_of([logit], [0], name="focal").total) == pytest.approx(exact, rel=1e-3, abs=1e-14)


@pytest.mark.parametrize("name", LOSSES)
def test_the_sum_over_replicas_is_the_loss_and_gradient_of_one(name):
    rng = np.random.default_rng(4)
    logit = tf.constant(np.round(rng.normal(size=(4, 8, 8, 1)) * 4) / 4, tf.float32)
    mask = np.zeros(logit.shape, np.uint8)
    mask[0, :2], mask[1, 5], mask[3] = 1, 255, 255  # unlike on each replica; the last sees nothing
    config = LossConfig(name)
    (whole, whole_gradient), *_ = on_replicas([(logit, mask)], config)
    parts = on_replicas([(logit[i : i + 1], mask[i : i + 1]) for i in range(4)], config)
    assert sum(float(loss.local) for loss, _ in parts) == pytest.approx(float(whole.total), rel=1e-6)
    for loss, _ in parts:
        for field in ("total", "positives", "negatives", "threshold"):
            assert float(getattr(loss, field)) == pytest.approx(float(getattr(whole, field)), rel=1e-6), field
    np.testing.assert_allclose(np.concatenate([part for _, part in parts]), whole_gradient, rtol=1e-5, atol=1e-9)
    assert np.all(whole_gradient[mask == 255] == 0)
    assert np.any(whole_gradient != 0)


def on_replicas(batches, config):
    """Computes each replica's loss and gradient in a thread of its own; reductions meet at a barrier."""
    barrier, shares = threading.Barrier(len(batches), timeout=60), [None] * len(batches)

    def replica(rank, logit, mask):
        def all_reduce(value):
            shares[rank] = value
            barrier.wait()
            total = tf.add_n(shares)
            barrier.wait()
            return total

        with tf.GradientTape() as tape:
            tape.watch(logit)
            loss = pixel_loss(logit, tf.constant(mask), config, all_reduce)
        return loss, tape.gradient(loss.local, logit).numpy()

    with concurrent.futures.ThreadPoolExecutor(len(batches)) as pool:
        running = [pool.submit(replica, rank, *batch) for rank, batch in enumerate(batches)]
        return [future.result() for future in running]


@pytest.mark.parametrize("name", LOSSES)
def test_a_logit_that_is_not_a_number_shows(name):
    for mask in ([1, 0], [0, 1], [0, 0]):
        assert math.isnan(float(loss_of([float("nan"), 1.0], mask, name=name).total)), mask
        assert math.isfinite(float(loss_of([1.0, float("nan")], [1, 255], name=name).total))


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


def test_the_zeroth_largest_is_the_largest_and_what_is_not_there_is_no_number():
    values = tf.constant([1.0, 3.0, -2.0])
    assert [float(kth_largest(values, tf.constant(k, tf.int64), one_replica)) for k in (0, 1, 3)] == [3.0, 3.0, -2.0]
    assert math.isnan(float(kth_largest(values, tf.constant(4, tf.int64), one_replica)))


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
    ("values", "message"),
    [
        ({"name": "focl"}, "found 'focl'"),
        ({"negatives_per_positive": 0}, "at least 1"),
        ({"negatives_without_positives": 0}, "at least 1"),
        ({"positive_weight": -1.0}, "0 or more; found -1.0"),
        ({"positive_weight": math.inf}, "0 or more; found inf"),
        ({"positive_weight": math.nan}, "0 or more; found nan"),
        ({"focal_gamma": 0.5}, "--focal_gamma be at least 1; found 0.25 and 0.5"),
        ({"focal_gamma": math.inf}, "found 0.25 and inf"),
        ({"focal_alpha": 1.0}, "found 1.0 and 2.0"),
        ({"focal_alpha": 0.0}, "found 0.0 and 2.0"),
    ],
)
def test_a_wrong_loss_says_what_is_wrong(values, message):
    with pytest.raises(InputError, match=message):
        LossConfig(**values)


def test_the_ends_of_the_rules_are_allowed():
    config = LossConfig(
        negatives_per_positive=1, negatives_without_positives=1, positive_weight=0, focal_alpha=0.5, focal_gamma=1
    )
    assert config.positive_weight == 0
