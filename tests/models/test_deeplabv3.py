import keras
import numpy as np
import pytest
import tensorflow as tf

from calcseg_tf.fine_tuning import load_backbone_weights
from data_prep.errors import InputError
from tests.models.networks import network_of


@pytest.fixture(scope="module")
def keras_resnet():
    """Keras' own ResNet50 with random weights, batch statistics too, so that no layer is at its start."""
    network = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(None, None, 3))
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    return network


@pytest.fixture(scope="module")
def weights_file(keras_resnet, tmp_path_factory):
    """In the form of `resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5`."""
    path = tmp_path_factory.mktemp("weights") / "resnet50_notop.h5"
    keras_resnet.save_weights(path)
    return path


@pytest.fixture(scope="module")
def network():
    return network_of("deeplabv3")


def test_every_second_feature_of_the_loaded_backbone_is_keras_at_stride_32(network, keras_resnet, weights_file):
    load_backbone_weights(network, weights_file)
    image = tf.constant(np.random.default_rng(1).normal(0, 50, (1, 128, 96, 3)), tf.float32)
    dense, expected = network.get_layer("backbone")(image), keras_resnet(image)
    assert dense.shape == (1, 8, 6, 2048)
    assert expected.numpy().std() > 0
    np.testing.assert_allclose(dense[:, ::2, ::2], expected, rtol=1e-5, atol=1e-5)


def test_the_backbone_has_keras_layers_and_shapes(network, keras_resnet):
    models = (network.get_layer("backbone"), keras_resnet)
    ours, theirs = ({weight.name: weight.shape for weight in model.weights} for model in models)
    assert ours == theirs


def test_intensities_reach_the_backbone_as_imagenets_blue_green_red(network):
    network.get_layer("normalization").set_statistics(0.2, 0.1)
    before_backbone = keras.Model(network.inputs, network.get_layer("imagenet_bgr").output)
    pixel = before_backbone(tf.fill([1, 16, 16, 1], 0.3)).numpy()[0, 0, 0]
    np.testing.assert_allclose(pixel, [255 * 0.225, 255 * 0.224, 255 * 0.229], rtol=1e-5)


def test_a_file_of_another_network_is_refused_in_one_line(network, tmp_path):
    (tmp_path / "text.h5").write_text("no weights")
    keras.Sequential([keras.layers.Conv2D(2, 3, name="res2a", input_shape=(8, 8, 1))]).save_weights(tmp_path / "o.h5")
    before = network.get_layer("backbone").get_weights()
    for name, words in (
        ("text.h5", "not a file of Keras weights in HDF5"),
        ("none.h5", "not a file of Keras weights in HDF5"),
        ("o.h5", "must hold the 106 layers of Keras' ResNet50 without top, conv1_conv first; found res2a"),
    ):
        with pytest.raises(InputError, match=words) as error:
            load_backbone_weights(network, tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
    for one, other in zip(before, network.get_layer("backbone").get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
