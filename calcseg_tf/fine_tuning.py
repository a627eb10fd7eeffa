"""Fine-tuning: weights to start from, and a first stage that trains all but the backbone."""

import dataclasses
import hashlib
import pathlib
from typing import Any

import h5py
import keras

from calcseg_tf.hdf5 import check_weights_file
from data_prep.errors import InputError

__all__ = ["FineTuningConfig", "FrozenBackbone", "backbone_weights_sha256", "load_backbone_weights"]

_BACKBONE = "backbone"  # the layer's name in every network that has one


@dataclasses.dataclass(frozen=True)
class FineTuningConfig:
    """How a network starts that does not start from random weights.

    Attributes:
        initial_model: A model directory with the same network, or "shipped"; see `calcseg_tf.initial_weights`. Empty:
            none.
        backbone_weights: For a network with a backbone (deeplabv3): path of a file of Keras weights without top, in
            HDF5, such as Keras' `resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5` of ImageNet. Empty: none.
        freeze_backbone_epochs: Epochs in which the backbone, its batch statistics too, stays as it is; then all is
            trained.
    """

    initial_model: str = ""
    backbone_weights: str = ""
    freeze_backbone_epochs: int = 0

    def __post_init__(self) -> None:
        if self.freeze_backbone_epochs < 0:
            raise InputError(f"--freeze_backbone_epochs must be 0 or more; found {self.freeze_backbone_epochs}")
        if self.initial_model and self.backbone_weights:
            raise InputError("--initial_model and --backbone_weights exclude each other; found both")

    def check(self, network: keras.Model) -> None:
        """Checks that what is asked for fits the network.

        Raises:
            InputError: Something is asked for and the network has no backbone.
        """
        of_backbone = self.backbone_weights or self.freeze_backbone_epochs
        if of_backbone and _BACKBONE not in [layer.name for layer in network.layers]:
            raise InputError(
                "--backbone_weights and --freeze_backbone_epochs are for a network with a backbone (deeplabv3); "
                f"found {network.name}"
            )


def backbone_weights_sha256(path: pathlib.Path) -> str:
    """Returns the digest of a file of weights, which `config.json` keeps in place of its path.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"--backbone_weights cannot be read ({error.strerror})", path) from None


def load_backbone_weights(network: keras.Model, path: pathlib.Path) -> None:
    """Loads a file of Keras weights into a network's backbone, layer by layer in order.

    Raises:
        InputError: Not such a file, or its layers are not those of the backbone.
    """
    backbone = network.get_layer(_BACKBONE)
    wanted = [layer.name for layer in backbone.layers if layer.weights]
    try:
        check_weights_file(path)
        with h5py.File(path) as file:
            names = [name.decode() if isinstance(name, bytes) else name for name in file.attrs["layer_names"]]
            found = [name for name in names if len(file[name].attrs["weight_names"])]
        # Keras loads by order and shape alone: an older file of the same name has the same shapes in another order.
        if found == wanted:
            backbone.load_weights(path)
    except InputError:
        raise
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"--backbone_weights is not a file of Keras weights in HDF5 ({reason})", path) from None
    if found != wanted:
        strange = next((name for name in found if name not in wanted), f"{len(found)} layers in another order")
        raise InputError(
            f"--backbone_weights must hold the {len(wanted)} layers of Keras' ResNet50 without top, {wanted[0]} first; "
            f"found {strange}",
            path,
        )


class FrozenBackbone(keras.callbacks.Callback):
    """Trains the rest alone for the first epochs, then all; which, is decided by the epoch's number alone.

    The optimiser must have been built for all variables, so that both stages write the same checkpoints.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Freezes or frees the backbone where this epoch differs from the one before."""
        backbone, trainable = self.model.get_layer(_BACKBONE), epoch >= self._epochs
        if backbone.trainable != trainable:
            backbone.trainable = trainable
            # The step is a graph that was traced with the old variables.
            self.model.make_train_function(force=True)
