import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from calcseg_tf.inference.predictor import Predictor
from calcseg_tf.inference.tiling import TiledNetwork
from calcseg_tf.model_directory import ModelInfo
from calcseg_tf.models import ModelConfig, build_network, model_config
from data_prep.errors import InputError

SMALL = {"widths": (4, 4), "kernel_sizes": (3, 5), "head_kernel_size": 3}  # halo 5
TOLERANCE = 1e-5  # in probability


def make_network(**options):
    # By seed: on white noise through random kernels, logits to 27, transforms round by up to 1.6e-5 (BUILD_NOTES.md,
    # "Measurements"); through the published weights on a mammogram by 1.3e-6.
    keras.utils.set_random_seed(0)
    return scrambled(build_network(model_config("fcn", **options)))


@pytest.fixture(scope="module")
def small():
    return make_network(**SMALL)


def scrambled(network):
    """Random biases, batch statistics and normalisation, nothing at 0: the answer changes everywhere."""
    rng = np.random.default_rng(7)
    weights = []
    for variable in network.weights:
        # Kernels by their inputs: answers of a million would leave nothing of float32 for the probability.
        spread = 0.3 if variable.shape.rank < 2 else 1 / math.sqrt(np.prod(variable.shape[:-1]))
        noise = rng.normal(0, spread, variable.shape)
        weights.append(np.abs(noise) + 0.5 if "variance" in variable.name else variable.numpy() + noise)
    network.set_weights(weights)
    network.get_layer("normalization").set_statistics(0.2, 0.15)
    return network


def tiles_of(network, tile_size, halo_px=5):
    return TiledNetwork(lambda image: network(image, training=False), halo_px, tile_size)


def images(seed, batch, height, width, air=()):
    image = np.random.default_rng(seed).random((batch, height, width, 1), np.float32)
    for top, left, rows, columns in air:
        image[:, top : top + rows, left : left + columns] = 0.0
    return tf.constant(image)


def difference(network, tiles, image):
    """The largest difference in probability between prediction by tiles and prediction of the whole."""
    return float(tf.reduce_max(tf.abs(tf.sigmoid(tiles.whole(image)) - tf.sigmoid(network(image, training=False)))))


AIR = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 140), st.integers(1, 100), st.integers(1, 150)), max_size=3)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 100), st.integers(1, 150), st.sampled_from([7, 16, 40, 200]), st.integers(1, 3), AIR)
def test_tiles_equal_the_whole_image_whatever_its_size_and_air(small, height, width, tile_size, batch, air):
    image = images(height, batch, height, width, air)
    assert difference(small, tiles_of(small, tile_size), image) <= TOLERANCE


@pytest.mark.parametrize("size", [(1, 1), (10, 11), (11, 11), (12, 11), (11, 40), (64, 64), (65, 63)])
@pytest.mark.parametrize("tile_size", [1, 5, 32])
def test_an_image_of_nothing_but_air_equals_the_whole(small, size, tile_size):
    if tile_size == 1:
        size = (min(size[0], 14), min(size[1], 14))
    assert difference(small, tiles_of(small, tile_size), tf.zeros([2, *size, 1])) <= TOLERANCE


@pytest.mark.parametrize(
    "air",
    [
        (0, 0, 80, 40),
        (0, 50, 80, 40),
        (0, 0, 40, 90),
        (40, 0, 40, 90),
        (30, 30, 30, 30),
        (0, 0, 79, 90),
        (1, 0, 79, 90),
    ],
)
def test_air_that_touches_any_border_equals_the_whole(small, air):
    assert difference(small, tiles_of(small, 9), images(3, 1, 80, 90, [air])) <= TOLERANCE


def test_a_single_pixel_in_the_air_is_not_lost(small):
    image = np.zeros((1, 60, 60, 1), np.float32)
    for row, column in [(0, 0), (16, 31), (59, 59), (20, 47), (48, 15)]:
        image[0, row, column] = 1e-3
        tiles = tiles_of(small, 16)
        assert difference(small, tiles, tf.constant(image)) <= TOLERANCE
        with_air = tiles.whole(tf.zeros_like(image))
        assert float(tf.reduce_max(tf.abs(tiles.whole(tf.constant(image)) - with_air))) > 1e-5


def test_air_in_one_image_of_a_batch_leaves_the_other_exact(small):
    image = tf.concat([tf.zeros([1, 50, 50, 1]), images(1, 1, 50, 50)], 0)
    assert difference(small, tiles_of(small, 8), image) <= TOLERANCE


def test_a_graph_takes_any_size_and_equals_the_eager_answer(small):
    tiles = tiles_of(small, 16)
    graph = tf.function(tiles.whole, input_signature=[tf.TensorSpec([None, None, None, 1])])
    for image in (images(0, 1, 33, 50), images(1, 2, 5, 3), images(2, 1, 70, 20, [(0, 0, 70, 12)])):
        np.testing.assert_allclose(graph(image), tiles.whole(image), atol=1e-5)
        assert graph(image).shape == image.shape
    assert graph.experimental_get_tracing_count() == 1


def test_a_halo_one_pixel_too_narrow_is_not_exact(small):
    # What would be lost if `halo_px` were wrong shows: the tests above can fail.
    image = images(0, 1, 60, 60)
    assert difference(small, tiles_of(small, 16, halo_px=5), image) <= TOLERANCE
    assert difference(small, tiles_of(small, 16, halo_px=4), image) > 10 * TOLERANCE


def test_the_papers_network_by_tiles_equals_the_whole():
    network = make_network()
    image = images(5, 1, 130, 100, [(0, 60, 130, 40), (0, 0, 70, 20)])
    assert difference(network, tiles_of(network, 48, halo_px=22), image) <= TOLERANCE


@pytest.fixture(scope="module")
def baselines():
    """Networks by config: a grid of 4 px and one of 8 px, and a detector of each kind."""
    configs = [
        model_config("unet", widths=(2, 4, 4)),
        model_config("unet", widths=(2, 2, 2, 2)),
        model_config("scale_space", diameters_px=(3, 4)),
        model_config("scale_space", detector="top_hat"),
    ]
    return [(config, scrambled(build_network(config))) for config in configs]


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 3), st.integers(1, 130), st.integers(1, 150), st.sampled_from([7, 16, 40, 200]), AIR)
def test_every_exact_network_by_tiles_equals_the_whole_whatever_the_size_and_air(
    baselines, which, height, width, tile_size, air
):
    config, network = baselines[which]
    tiles = TiledNetwork.of(lambda image: network(image, training=False), config, tile_size)
    image = images(height, 1, height, width, air)
    assert difference(network, tiles, image) <= TOLERANCE


@pytest.mark.parametrize("size", [(150, 141), (97, 104), (99, 160), (90, 91)])
def test_air_is_exact_wherever_the_last_cell_of_a_grid_is_cut(baselines, size):
    for config, network in baselines:
        tiles = TiledNetwork.of(lambda image, network=network: network(image, training=False), config, 16)
        assert difference(network, tiles, tf.zeros([1, *size, 1])) <= TOLERANCE


def test_tiles_off_the_grid_are_not_exact(baselines):
    config, network = baselines[0]
    tiles = TiledNetwork(lambda image: network(image, training=False), config.halo_px, tile_size=17)
    assert difference(network, tiles, images(1, 1, 120, 120)) > 10 * TOLERANCE


def test_a_network_that_sees_all_of_its_input_is_predicted_in_its_own_windows():
    seen = []

    class Windowed(ModelConfig):
        halo_px, alignment_px, fixed_tile_px = 8, 4, 20

    def network(image):
        seen.append(tuple(image.shape[1:3]))
        return image + tf.reduce_sum(image, axis=(1, 2), keepdims=True)

    tiles = TiledNetwork.of(network, Windowed(), tile_size=7)
    answer = tiles.whole(tf.zeros([1, 30, 70, 1]))
    assert answer.shape == (1, 30, 70, 1)
    assert seen == [(28, 28), (28, 36), (28, 36), (28, 18), (18, 28), (18, 36), (18, 36), (18, 18)]


def test_a_tile_off_the_grid_is_refused(small):
    with pytest.raises(ValueError, match="multiples of 4 px; found 18 and 8"):
        TiledNetwork(small, halo_px=8, tile_size=18, alignment_px=4)


def test_a_tile_without_a_pixel_is_refused(small):
    with pytest.raises(ValueError, match="at least 1 px wide; found 0"):
        tiles_of(small, 0)


def info_of(**options):
    return ModelInfo(model=model_config("fcn", **options), training=None, data={})


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), AIR)
def test_the_predictor_equals_the_whole_image_and_reports_every_row(small, height, width, air):
    predictor = Predictor(small, info_of(**SMALL))
    intensity = images(width, 1, height, width, air)
    rows = []
    probability = predictor.probability(intensity.numpy()[0, :, :, 0], rows.append)
    whole = tf.sigmoid(small(intensity, training=False)).numpy()[0, :, :, 0]
    assert (probability.shape, probability.dtype) == ((height, width), np.float32)
    np.testing.assert_allclose(probability, whole, atol=TOLERANCE)
    assert sum(rows) == height


def test_the_predictors_threshold_is_the_models_until_told_otherwise(small):
    info = dataclasses.replace(info_of(**SMALL), operating_threshold=0.3, operating_threshold_rule="chosen")
    predictor = Predictor(small, info)
    assert predictor.at_threshold(None).info == info
    overridden = predictor.at_threshold(0.7).info
    assert (overridden.operating_threshold, overridden.operating_threshold_rule) == (0.7, "--threshold")
    for wrong in (0.0, 1.0, float("nan")):
        with pytest.raises(InputError, match=f"between 0 and 1; found {wrong}"):
            predictor.at_threshold(wrong)
