"""What every network must do, whatever it is made of."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from calcseg_tf.inference.predictor import Predictor
from calcseg_tf.model_directory import ModelInfo, load_network, save_weights, write_info
from calcseg_tf.models import model_config, model_name, model_names
from calcseg_tf.models.normalization import BatchNormalization
from calcseg_tf.serving.contract import SERVING_DEFAULT
from calcseg_tf.serving.signatures import ServedModel, save_model
from data_prep.errors import InputError
from tests.models.networks import SMALL, network_of

PARAMETERS = {"fcn": 447_553, "unet": 31_036_481, "deeplabv3": 39_660_289, "scale_space": 2}  # trainable


def some_image(*size):
    return tf.constant(np.random.default_rng(0).random((2, *size, 1), np.float32))


# Forty million weights are built, written and read in seconds each.
LARGE_ONES_SLOW = [
    pytest.param(name, marks=[pytest.mark.slow] if name == "deeplabv3" else []) for name in model_names()
]


@pytest.mark.parametrize("name", model_names())
def test_every_model_has_its_number_of_trainable_parameters(name):
    count = sum(int(np.prod(variable.shape)) for variable in network_of(name).trainable_variables)
    assert count == PARAMETERS[name]


@pytest.mark.parametrize("name", model_names())
@pytest.mark.parametrize("size", [(1, 1), (7, 50), (64, 33)])
def test_every_model_answers_with_the_size_it_was_asked(name, size):
    logit = network_of(name)(tf.zeros([2, *size, 1]))
    assert logit.shape == (2, *size, 1)
    assert logit.dtype == tf.float32
    assert np.isfinite(logit).all()


@pytest.mark.parametrize("name", model_names())
def test_every_config_survives_its_json_form(name):
    config = model_config(name)
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(config).items()}
    assert model_config(model_name(config), **values) == config


@pytest.mark.parametrize("name", model_names())
def test_every_model_normalises_inside(name):
    network, image = network_of(name, small=True), some_image(24, 24)
    network.get_layer("normalization").set_statistics(0.25, 0.5)
    inside = network(image)
    network.get_layer("normalization").set_statistics(0.0, 1.0)
    np.testing.assert_allclose(inside, network((image - 0.25) / 0.5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LARGE_ONES_SLOW)
def test_synchronised_batch_norm_has_the_same_variables_and_inference(name):
    local, synchronized = network_of(name, small=True), network_of(name, small=True, synchronized=True)
    norms = [layer for layer in flat_layers(synchronized) if isinstance(layer, keras.layers.BatchNormalization)]
    # Ours, whose moving averages are the same whatever the number of replicas.
    assert all(layer.synchronized and isinstance(layer, BatchNormalization) for layer in norms)
    synchronized.set_weights(local.get_weights())
    image = some_image(33, 20)
    np.testing.assert_allclose(local(image, training=False), synchronized(image, training=False), atol=1e-5)


def flat_layers(network):
    return [inner for layer in network.layers for inner in getattr(layer, "layers", [layer])]


@pytest.mark.parametrize("name", model_names())
def test_every_trainable_variable_is_reached_by_the_gradient(name):
    network = network_of(name, small=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(network(some_image(32, 32), training=True) ** 2)
    gradients = tape.gradient(loss, network.trainable_variables)
    assert gradients
    assert all(gradient is not None and np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("name", LARGE_ONES_SLOW)
def test_every_model_goes_through_its_model_directory_into_the_predictor(name, tmp_path):
    write_info(tmp_path, ModelInfo(model_config(name, **SMALL[name]), None, {}))
    save_weights(tmp_path, network_of(name, small=True))
    image = some_image(50, 41)[:1]
    probability = Predictor.load(tmp_path).probability(image.numpy()[0, :, :, 0])
    whole = tf.sigmoid(network_of(name, small=True)(image, training=False))[0, :, :, 0]
    np.testing.assert_allclose(probability, whole, atol=1e-5)
    assert whole.numpy().std() > 0


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in model_names()])
def test_every_model_is_served_as_it_predicts(name, tmp_path):
    write_info(tmp_path, ModelInfo(model_config(name, **SMALL[name]), None, {}))
    save_weights(tmp_path, network_of(name, small=True))
    network, info = load_network(tmp_path)
    save_model(ServedModel(network, info.model), tmp_path / "1")
    intensity = some_image(700, 70)[:1]
    served = tf.saved_model.load(str(tmp_path / "1")).signatures[SERVING_DEFAULT](image=intensity)["probability"]
    predicted = Predictor.load(tmp_path).probability(intensity.numpy()[0, :, :, 0])
    np.testing.assert_allclose(served[0, :, :, 0], predicted, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("deeplab", {}, r"found 'deeplab'; did you mean deeplabv3\?"),
        ("unet", {"kernel_sizes": (3,)}, "model unet has the options widths; found kernel_sizes"),
        ("unet", {"widths": (8,)}, "at least two positive whole numbers; found 8"),
        ("unet", {"widths": (8, 0)}, "found 8, 0"),
        ("deeplabv3", {"widths": (8,)}, "model deeplabv3 has the options atrous_rates, channels; found widths"),
        ("deeplabv3", {"atrous_rates": ()}, "positive whole numbers"),
        ("scale_space", {"detector": "hessian"}, "laplacian, top_hat; found 'hessian'"),
        ("scale_space", {"diameters_px": (2, 4)}, "at least 3; found 2, 4"),
    ],
)
def test_a_wrong_option_says_what_is_wrong(name, options, message):
    with pytest.raises(InputError, match=message):
        model_config(name, **options)
