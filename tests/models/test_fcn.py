import numpy as np
import pytest
import tensorflow as tf

from calcseg_tf.models import build_network, model_config
from calcseg_tf.models.fcn import FcnConfig
from calcseg_tf.models.parallel_conv import use_convolution
from data_prep.errors import InputError

SMALL = {"widths": (4, 8), "kernel_sizes": (3, 5, 7, 9)}


def trainable_parameters(network):
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


def test_the_papers_network_has_447_553_trainable_parameters():
    assert trainable_parameters(build_network(model_config("fcn"))) == 447_553


@pytest.mark.parametrize(
    ("options", "field"), [({}, 45), (SMALL, 21), ({"widths": (3,), "kernel_sizes": (1, 3, 5)}, 9)]
)
def test_the_receptive_field_is_what_a_perturbed_pixel_reaches(options, field):
    config = model_config("fcn", **options)
    assert 2 * config.halo_px + 1 == field
    network = build_network(config)
    use_convolution(network, "separate")  # a transform's rounding reaches every pixel of its tile
    generator = tf.random.Generator.from_seed(0)
    for variable in network.trainable_variables:
        if "kernel" in variable.name:  # positive, and biases 0: no path cancels another, nothing drowns in a constant
            variable.assign(generator.uniform(variable.shape, 0.1, 1.0))
    side = field + 20
    middle = side // 2
    image = tf.zeros([1, side, side, 1])
    moved = tf.tensor_scatter_nd_update(image, [[0, middle, middle, 0]], [1.0])
    changed = (network(moved) - network(image)).numpy()[0, :, :, 0] != 0
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max()) == (middle - config.halo_px, middle + config.halo_px)
    assert (columns.min(), columns.max()) == (middle - config.halo_px, middle + config.halo_px)


def test_normalisation_is_part_of_the_network():
    network = build_network(model_config("fcn", **SMALL))
    image = tf.random.stateless_uniform([1, 24, 24, 1], [0, 1])
    network.get_layer("normalization").set_statistics(0.25, 0.5)
    normalised_inside = network(image)
    network.get_layer("normalization").set_statistics(0.0, 1.0)
    np.testing.assert_allclose(normalised_inside, network((image - 0.25) / 0.5), rtol=1e-5, atol=1e-6)


def test_synchronised_batch_norm_has_the_same_variables_and_inference():
    config = model_config("fcn", **SMALL)
    local = build_network(config)
    synchronized = build_network(config, synchronized_batch_norm=True)
    synchronized.set_weights(local.get_weights())
    image = tf.random.stateless_uniform([2, 20, 28, 1], [0, 1])
    np.testing.assert_allclose(local(image, training=False), synchronized(image, training=False), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fnc", {}, r"found 'fnc'; did you mean fcn\?"),
        ("fcn", {"width": 3}, "found width"),
        ("fcn", {"widths": (4, 6)}, "multiples of 4 .*found 6"),
        ("fcn", {"kernel_sizes": (3, 4)}, "odd and positive; found 4"),
        ("fcn", {"widths": ()}, "at least one block"),
    ],
)
def test_a_wrong_model_says_what_is_wrong(name, options, message):
    with pytest.raises(InputError, match=message):
        model_config(name, **options)


def test_the_standard_deviation_must_be_positive():
    network = build_network(FcnConfig(**SMALL))
    with pytest.raises(ValueError, match="positive; found 0"):
        network.get_layer("normalization").set_statistics(0.1, 0.0)
