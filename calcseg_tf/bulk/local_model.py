"""The model of a model directory, as the processes that predict load it."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from data_prep.errors import InputError

if TYPE_CHECKING:
    from calcseg_tf.inference.predictor import Predictor

__all__ = ["LocalModel"]


@dataclasses.dataclass(frozen=True)
class LocalModel:
    """A model to load; small, and without TensorFlow, which each process imports when it loads it.

    Attributes:
        model_dir: The model directory.
        threshold: Overrides the model's operating threshold, in (0, 1); None leaves it.
    """

    model_dir: pathlib.Path
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise InputError(f"must lie between 0 and 1; found {self.threshold}", "--threshold")

    def absolute(self) -> "LocalModel":
        """Returns it as processes in another folder find it."""
        return dataclasses.replace(self, model_dir=self.model_dir.absolute())

    def load(self, threads: int | None = None) -> "Predictor":
        """Loads it; a GPU's memory is taken as it is needed, so that several processes can share it.

        Args:
            threads: That TensorFlow may use on the CPU; None leaves the choice to it. Before TensorFlow has run.

        Raises:
            InputError: See `calcseg_tf.model_directory.load_network`.
        """
        import tensorflow as tf

        from calcseg_tf.inference.predictor import Predictor

        if threads is not None:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        return Predictor.load(self.model_dir)

    def describe(self) -> tuple[float, Mapping[str, Any]]:
        """Returns its operating threshold and what tells it from others, without loading its weights.

        Raises:
            InputError: See `calcseg_tf.model_directory.read_info`.
        """
        from calcseg_tf.bulk.description import describe_model
        from calcseg_tf.model_directory import read_info, weights_sha256

        info = read_info(self.model_dir).at_threshold(self.threshold)
        return info.operating_threshold, describe_model(info, weights_sha256=weights_sha256(self.model_dir))
