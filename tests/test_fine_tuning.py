import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from calcseg_tf.checkpointing import Checkpointing, Position
from calcseg_tf.fine_tuning import FineTuningConfig, FrozenBackbone
from calcseg_tf.losses import LossConfig
from calcseg_tf.segmenter import Segmenter
from calcseg_tf.termination import Termination
from data_prep.errors import InputError

EPOCHS, FROZEN = 4, 2


def small_segmenter():
    """A network with a backbone of one convolution and one batch norm, on random data."""
    keras.utils.set_random_seed(2)
    features = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(3, 3, padding="same", name="inner_conv")(features)
    backbone = keras.Model(features, keras.layers.BatchNormalization(name="inner_bn")(x), name="backbone")
    image = keras.Input((None, None, 1))
    network = keras.Model(image, keras.layers.Conv2D(1, 1, name="head")(backbone(image)), name="small")
    segmenter = Segmenter.of(network, LossConfig("cross_entropy"))
    segmenter.compile(optimizer=keras.optimizers.Adam(0.01))
    return segmenter


def batches():
    rng = np.random.default_rng(0)
    image = rng.random((8, 12, 12, 1), np.float32)
    return tf.data.Dataset.from_tensor_slices((image, (image > 0.8).astype(np.uint8))).batch(4)


def train(segmenter, folder, first_epoch, last_epoch):
    """Trains epoch by epoch and returns the weights after each, of backbone and head."""
    checkpoint = Checkpointing(folder, 2, 0, Termination())
    assert checkpoint.restore(segmenter, print) == Position(first_epoch)
    seen = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append([self.model.get_layer(name).get_weights() for name in ("backbone", "head")])

    segmenter.fit(
        batches().repeat(), initial_epoch=first_epoch, epochs=last_epoch, steps_per_epoch=2,
        verbose=0, callbacks=[Keep(), FrozenBackbone(FROZEN), checkpoint],
    )  # fmt: skip
    return seen


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    segmenter = small_segmenter()
    before = [segmenter.get_layer(name).get_weights() for name in ("backbone", "head")]
    return before, train(segmenter, tmp_path_factory.mktemp("whole"), 0, EPOCHS)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_backbone_stays_as_it_is_for_its_epochs_and_is_trained_after(undisturbed):
    before, after = undisturbed
    stages = [before, *after]
    for epoch, (old, new) in enumerate(itertools.pairwise(stages)):
        assert same(old[0], new[0]) == (epoch < FROZEN), f"backbone in epoch {epoch}"  # batch statistics among them
        assert not same(old[1], new[1]), f"head in epoch {epoch}"


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_run_stopped_in_either_stage_ends_with_the_same_weights(undisturbed, tmp_path, stop):
    train(small_segmenter(), tmp_path, 0, stop)
    resumed = train(small_segmenter(), tmp_path, stop, EPOCHS)
    for one, other in zip(resumed[-1], undisturbed[1][-1], strict=True):
        for value, wanted in zip(one, other, strict=True):
            np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "config", [FineTuningConfig(backbone_weights="x.h5"), FineTuningConfig(freeze_backbone_epochs=1)]
)
def test_a_network_without_a_backbone_is_refused(config):
    image = keras.Input((None, None, 1))
    with pytest.raises(InputError, match=r"for a network with a backbone \(deeplabv3\); found plain"):
        config.check(keras.Model(image, keras.layers.Conv2D(1, 1)(image), name="plain"))
    config.check(small_segmenter())


def test_epochs_without_backbone_are_not_negative():
    with pytest.raises(InputError, match="0 or more; found -1"):
        FineTuningConfig(freeze_backbone_epochs=-1)
