"""Imports published PyTorch weights: python -m calcseg_tf.import_weights --torch_weights=FILE --model_dir=..."""

import pathlib

from absl import flags

from data_prep.command import DISCLAIMER, run

_TORCH_WEIGHTS = flags.DEFINE_string(
    "torch_weights", None, "State dict of the paper's network, as its authors publish it.", required=True
)
_MODEL_DIR = flags.DEFINE_string("model_dir", None, "Folder for the model; must not hold one.", required=True)
# The published weights expect images normalised with these two, in the authors' demo.
_MEAN = flags.DEFINE_float("intensity_mean", 0.1572722182674478, "Mean intensity, in [0, 1], of its training set.")
_STANDARD_DEVIATION = flags.DEFINE_float(
    "intensity_standard_deviation", 0.16270082671743363, "Standard deviation of its training set's intensities."
)
_THRESHOLD = flags.DEFINE_float("threshold", 0.5, "Operating threshold to keep with the model.")


def main() -> None:
    """Converts the weights into a model directory."""
    from calcseg_tf.importing import import_state_dict

    model_dir = pathlib.Path(_MODEL_DIR.value)
    network = import_state_dict(
        pathlib.Path(_TORCH_WEIGHTS.value), model_dir, _MEAN.value, _STANDARD_DEVIATION.value, _THRESHOLD.value
    )
    print(f"Imported {network.count_params():,} weights\nModel: {model_dir}\n{DISCLAIMER}")


if __name__ == "__main__":
    run(main)
