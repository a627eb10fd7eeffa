"""The network in TensorFlow, in this project's environment: python -m benchmarks.inference.keras_worker.

Ways: "ours", `Predictor`, as `predict` runs it; "saved_model", what `export` writes, in a process that never imports
our library; "plain", the Keras graph with a convolution for each kernel, window by window, air and all.
"""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from benchmarks.inference.worker import Peer, answer_tasks, arguments

_WARM_UP_PX = 600  # more than a tile with its halos


class _WholeImages(Peer):
    """A peer that cuts images itself."""

    def warm_up(self, image: np.ndarray, window: int) -> None:
        """Predicts the middle of the image, where the breast is likely."""
        top, left = (max(0, (length - _WARM_UP_PX) // 2) for length in image.shape)
        self.network(np.ascontiguousarray(image[top : top + _WARM_UP_PX, left : left + _WARM_UP_PX]))

    def predict(self, image: np.ndarray, window: int) -> np.ndarray:
        """Maps intensities to probabilities; the window is its own affair."""
        return self.network(image)


def main() -> None:
    """Runs one of the ways on a model directory, or on a version folder that was exported."""
    way, path, _ = arguments()  # TensorFlow takes all cores, as it does for our users
    about = {"TensorFlow": tf.__version__, "precision": "float32"}
    make = {"ours": _ours, "saved_model": _saved_model, "plain": _plain}[way]
    answer_tasks(make(pathlib.Path(path), about))


def _ours(path: pathlib.Path, about: dict[str, str]) -> Peer:
    from calcseg_tf.inference.predictor import Predictor

    predictor = Predictor.load(path)
    return _WholeImages(predictor.probability, 0, about)


def _saved_model(path: pathlib.Path, about: dict[str, str]) -> Peer:
    model = tf.saved_model.load(str(path))  # must outlive its signatures, which hold no variables of their own

    def predict(image: np.ndarray) -> np.ndarray:
        answer = model.signatures["serving_default"](image=tf.constant(image[None, :, :, None]))
        return answer["probability"].numpy()[0, :, :, 0]

    return _WholeImages(predict, 0, about)


def _plain(path: pathlib.Path, about: dict[str, str]) -> Peer:
    from calcseg_tf.model_directory import load_network
    from calcseg_tf.models.parallel_conv import use_convolution

    network, info = load_network(path)
    use_convolution(network, "separate")
    graph = tf.function(
        lambda image: tf.sigmoid(network(image, training=False)),
        input_signature=[tf.TensorSpec([1, None, None, 1], tf.float32)],
    )
    return Peer(
        lambda window: graph(tf.constant(window[None, :, :, None])).numpy()[0, :, :, 0], info.model.halo_px, about
    )


if __name__ == "__main__":
    main()
