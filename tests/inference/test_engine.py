import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from calcseg_tf.inference.air import air_value, sees_more_than
from calcseg_tf.inference.cell_grid import CellGrid
from calcseg_tf.inference.choosing import full_resolution
from calcseg_tf.inference.engine import Engine
from calcseg_tf.inference.stages import stages_of
from calcseg_tf.inference.tiling import TiledNetwork
from calcseg_tf.models import build_network, model_config
from calcseg_tf.models.parallel_conv import use_convolution
from tests.inference.test_tiling import AIR, SMALL, TOLERANCE, difference, images, make_network, scrambled

AIR_VALUES = (0.0, 0.25)


class Ways:
    """The same small network, convolving in one way, by cells of one size."""

    def __init__(self, convolution, cell_px):
        self.network = make_network(**SMALL)
        self._plain = make_network(**SMALL)
        use_convolution(self._plain, "separate")
        use_convolution(self.network, convolution)
        _, normalization, *layers = self.network.layers
        self.engine = Engine(normalization, stages_of(layers), cell_px)
        self._graph = tf.function(self.engine.whole, input_signature=[tf.TensorSpec([None, None, None, 1])])

    def difference(self, image):
        whole = tf.sigmoid(self._plain(image, training=False))
        return float(tf.reduce_max(tf.abs(tf.sigmoid(self._graph(image)) - whole)))


@pytest.fixture(scope="module")
def ways():
    return {
        "merged": Ways("merged", 8),
        "separate": Ways("separate", 12),
        "fourier": Ways("fourier", 32),
        "auto": Ways("auto", 64),
    }


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from(["merged", "separate", "fourier", "auto"]),
    st.integers(1, 130),
    st.integers(1, 150),
    st.integers(1, 3),
    AIR,
    st.sampled_from(AIR_VALUES),
)
def test_cells_equal_the_whole_image_whatever_its_size_and_air(ways, way, height, width, batch, air, value):
    image = images(height, batch, height, width, air).numpy()
    image[image == 0] = value
    assert ways[way].difference(tf.constant(image)) <= TOLERANCE


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (24, 24), (31, 33), (32, 32), (64, 64), (65, 63), (96, 97)])
@pytest.mark.parametrize("value", AIR_VALUES)
def test_an_image_of_nothing_but_air_equals_the_whole(ways, size, value):
    for way in ways.values():
        assert way.difference(tf.fill([2, *size, 1], value)) <= TOLERANCE


def test_of_nothing_but_air_no_cell_is_computed_and_of_one_spot_a_few(ways):
    engine = ways["merged"].engine
    image = np.zeros((1, 100, 90, 1), np.float32)
    assert int(engine.plan(tf.constant(image)).before[-1]) == 0
    image[0, 50, 50] = 1.0
    # 8 px a cell, 5 px of halo: cells that begin from 8 * row - 10 to 8 * row + 7, by pools of 4 px.
    computed = engine.plan(tf.constant(image)).before[-1]
    assert 4 <= int(computed) <= 9


@pytest.mark.parametrize("air", [(0, 0, 80, 40), (0, 50, 80, 40), (0, 0, 40, 90), (40, 0, 40, 90), (0, 0, 79, 90)])
def test_air_that_touches_any_border_equals_the_whole(ways, air):
    for way in ways.values():
        assert way.difference(images(3, 1, 80, 90, [air])) <= TOLERANCE


@pytest.mark.parametrize("place", [(0, 0), (16, 31), (59, 59), (20, 47), (48, 15), (0, 59), (59, 0)])
def test_a_single_pixel_in_the_air_is_not_lost(ways, place):
    image = np.zeros((1, 60, 60, 1), np.float32)
    image[0][place] = 1.0
    for way in ways.values():
        assert way.difference(tf.constant(image)) <= TOLERANCE
        answer = way.engine.whole(tf.constant(image)) - way.engine.whole(tf.zeros_like(image))
        assert float(tf.reduce_max(tf.abs(answer))) > 0.1


def test_images_of_a_batch_do_not_see_each_other(ways):
    image = tf.concat([tf.zeros([1, 50, 70, 1]), images(1, 2, 50, 70)], 0)
    for way in ways.values():
        together = way.engine.whole(image)
        alone = tf.concat([way.engine.whole(each[None]) for each in image], 0)
        np.testing.assert_allclose(together, alone, atol=1e-4)  # logits
        assert way.difference(image) <= TOLERANCE


def test_steps_of_any_size_give_the_same(ways, monkeypatch):
    image = images(2, 2, 70, 61, [(0, 30, 40, 31)])
    engine = ways["merged"].engine
    monkeypatch.setattr(engine, "_cells_per_step", 10**6)
    expected = engine.whole(image)
    for count in (1, 7, 20):
        monkeypatch.setattr(engine, "_cells_per_step", count)
        np.testing.assert_allclose(engine.whole(image), expected, atol=1e-4)


def test_a_graph_takes_any_size(ways):
    graph = tf.function(ways["auto"].engine.whole, input_signature=[tf.TensorSpec([None, None, None, 1])])
    for image in (images(0, 1, 33, 50), images(1, 2, 5, 3), images(2, 1, 70, 20, [(0, 0, 70, 12)])):
        assert graph(image).shape == image.shape
    assert graph.experimental_get_tracing_count() == 1


def test_weights_are_read_when_an_image_is(ways):
    network = make_network(**SMALL)
    engine, image = Engine.of(network), images(0, 1, 40, 40)
    before = engine.whole(image)
    network.get_layer("block1_bn").gamma.assign_add(tf.ones([4]))
    after = engine.whole(image)
    assert float(tf.reduce_max(tf.abs(after - before))) > 0.1
    np.testing.assert_allclose(after, network(image, training=False), atol=1e-4)


def test_the_papers_network_equals_the_whole_through_transforms():
    network = make_network()
    plain = make_network()
    use_convolution(plain, "separate")
    engine = Engine.of(network)
    assert engine.part_shape.as_list() == [None, 32, 32]
    image = images(5, 1, 140, 150, [(0, 60, 140, 90), (0, 0, 70, 20)])
    assert float(tf.reduce_max(tf.abs(tf.sigmoid(engine.whole(image)) - tf.sigmoid(plain(image))))) <= 2 * TOLERANCE


def test_the_engine_takes_the_fcn_alone():
    network = build_network(model_config("unet", widths=(2, 4)))
    assert isinstance(full_resolution(network, model_config("unet", widths=(2, 4))), TiledNetwork)
    assert isinstance(full_resolution(make_network(**SMALL), model_config("fcn", **SMALL)), Engine)
    with pytest.raises(ValueError, match="the engine wants a convolution; found layer"):
        stages_of([keras.layers.Dense(3, name="dense")])


@pytest.mark.parametrize(("kernel_px", "kind"), [(33, Engine), (35, TiledNetwork)])
def test_a_kernel_that_sees_past_the_neighbouring_cell_takes_tiles(kernel_px, kind):
    options = {"widths": (2,), "kernel_sizes": (kernel_px,), "head_kernel_size": 1}
    network = make_network(**options)
    way = full_resolution(network, model_config("fcn", **options))
    assert type(way) is kind
    image = images(4, 1, 150, 140, [(0, 60, 150, 80)])
    assert difference(network, way, image) <= TOLERANCE
    with pytest.raises(ValueError, match="a stage sees more than its neighbouring cells of 8 px"):
        Engine(network.layers[1], stages_of(network.layers[2:]), 8)


def test_the_commonest_value_is_air():
    image = np.full((1, 64, 64, 1), 0.125, np.float32)
    image[0, :, 40:] = 0.5
    assert float(air_value(tf.constant(image))) == 0.125


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([(8, 5), (32, 22), (12, 3)]), st.integers(0, 10**6))
def test_no_cell_that_sees_something_is_taken_for_air(height, width, shape, seed):
    grid = CellGrid(*shape)
    image = np.zeros((1, height, width, 1), np.float32)
    rng = np.random.default_rng(seed)
    spots = rng.integers(0, (height, width), (2, 2))
    image[0, spots[:, 0], spots[:, 1], 0] = np.nan, 1.0
    found = sees_more_than(tf.constant(0.0), tf.constant(image), grid).numpy()[0]
    for row, column in np.ndindex(found.shape):
        top, left = row * grid.cell_px - 2 * grid.halo_px, column * grid.cell_px - 2 * grid.halo_px
        seen = image[0, max(top, 0) : (row + 1) * grid.cell_px, max(left, 0) : (column + 1) * grid.cell_px]
        assert found[row, column] or not (seen != 0).any()


def test_a_network_without_batch_norm_keeps_its_bias():
    network = scrambled(build_network(model_config("fcn", widths=(4,), kernel_sizes=(3,), head_kernel_size=1)))
    image = images(1, 1, 20, 20)
    np.testing.assert_allclose(Engine.of(network).whole(image), network(image, training=False), atol=1e-5)
