"""`predict_tiles` for networks with a grid of their own: the tiles of an image are the image's own prediction."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from calcseg_tf.inference.predictor import Predictor
from calcseg_tf.model_directory import ModelInfo
from calcseg_tf.models import build_network, model_config
from calcseg_tf.serving.contract import PREDICT_TILES, TileGeometry
from calcseg_tf.serving.remote_model import cut_window
from calcseg_tf.serving.signatures import ServedModel
from tests.inference.test_tiling import scrambled


@pytest.mark.parametrize(
    ("name", "options", "geometry"),
    [
        ("fcn", {"widths": (4, 4), "kernel_sizes": (3, 5), "head_kernel_size": 3}, TileGeometry(512, 5, 1)),
        ("unet", {"widths": (4, 4, 4)}, TileGeometry(512, 24, 4)),
    ],
)
def test_tiles_make_up_the_whole_image_on_any_grid(name, options, geometry):
    keras.utils.set_random_seed(0)
    config = model_config(name, **options)
    network = scrambled(build_network(config))
    served = ServedModel(network, config)
    assert served.tiles == geometry
    intensity = np.random.default_rng(0).random((90, 1031), np.float32)  # no multiple of the grid
    found = np.zeros_like(intensity)
    for left in range(0, 1031, 512):
        window, sees_border = cut_window(intensity, (0, left), served.tiles)
        assert sees_border
        place = {"origin": tf.constant([[0, left]]), "size": tf.constant([[90, 1031]])}
        tile = served.functions[PREDICT_TILES](image=tf.constant(window[None, :, :, None]), **place)["probability"]
        found[:, left : left + 512] = tile[0, :90, : 1031 - left, 0]
        assert not tile[0, 90:].numpy().any()
    expected = Predictor(network, ModelInfo(config, None, {})).probability(intensity)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    if geometry.origin_multiple_px > 1:
        with pytest.raises(tf.errors.InvalidArgumentError, match="at multiples of 4 px"):
            served.functions[PREDICT_TILES](
                image=tf.constant(window[None, :, :, None]),
                origin=tf.constant([[0, 2]]),
                size=tf.constant([[90, 1031]]),
            )


def test_a_window_shows_the_tile_with_its_halo_and_zeros_where_the_image_has_ended():
    tiles = TileGeometry(tile_px=4, halo_px=2, origin_multiple_px=1)
    image = np.arange(1, 101, dtype=np.float32).reshape(10, 10)
    inside, sees_border = cut_window(image, (2, 2), tiles)
    assert not sees_border
    np.testing.assert_array_equal(inside, image[:8, :8])
    corner, sees_border = cut_window(image, (8, 0), tiles)
    assert sees_border
    np.testing.assert_array_equal(corner[:4, 2:], image[6:, :6])
    assert corner[4:].sum() == corner[:, :2].sum() == 0
