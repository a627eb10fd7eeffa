import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage
from skimage.morphology import white_tophat

from calcseg_tf.models import build_network, model_config
from calcseg_tf.models.scale_space import laplacian_kernel


def answer(image, **options):
    network = build_network(model_config("scale_space", **options))
    return network(tf.constant(image, tf.float32)[None, :, :, None]).numpy()[0, :, :, 0]


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(3).random((61, 48))


@pytest.mark.parametrize("diameter", [3, 8, 12])
def test_the_laplacian_is_scipys(image, diameter):
    sigma = diameter / np.sqrt(8)
    expected = -(sigma**2) * ndimage.gaussian_laplace(image, sigma, mode="constant", truncate=5.0)
    np.testing.assert_allclose(answer(image, diameters_px=[diameter]), expected, atol=1e-5)


def test_the_highest_response_over_the_diameters_wins(image):
    single = [answer(image, diameters_px=[diameter]) for diameter in (3, 6, 12)]
    np.testing.assert_allclose(answer(image, diameters_px=[3, 6, 12]), np.max(single, axis=0), atol=1e-6)


@pytest.mark.parametrize("diameter", [3, 4, 6, 8, 12])
def test_a_disc_answers_most_at_its_own_diameter(diameter):
    peaks = {}
    for tried in range(3, 20):
        kernel = laplacian_kernel(tried)
        rows, columns = np.indices(kernel.shape) - len(kernel) // 2
        peaks[tried] = kernel[np.hypot(rows, columns) <= diameter / 2].sum()
    assert abs(max(peaks, key=peaks.get) - diameter) <= 1


def test_brightness_alone_gives_nothing():
    for diameter in (3, 4, 6, 8, 12):
        assert abs(laplacian_kernel(diameter).sum()) < 3e-5


@pytest.mark.parametrize("diameter", [3, 4, 7, 12])
def test_the_top_hat_is_scikit_images_and_keeps_spots_of_its_diameter_whole(image, diameter):
    config = model_config("scale_space", detector="top_hat", diameters_px=[3, diameter])
    expected = white_tophat(image, footprint=np.ones((config.square_px, config.square_px)))
    found = answer(image, detector="top_hat", diameters_px=[3, diameter])
    inside = (slice(config.halo_px, -config.halo_px),) * 2  # they differ in what lies beyond the border
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-6)
    spot = np.zeros((60, 60))
    spot[20 : 20 + diameter, 30 : 30 + diameter] = 1.0
    np.testing.assert_array_equal(answer(spot, detector="top_hat", diameters_px=[diameter]), spot)


def test_only_scale_and_bias_are_trained():
    network = build_network(model_config("scale_space"))
    assert [variable.name for variable in network.trainable_variables] == ["logit/scale:0", "logit/bias:0"]
