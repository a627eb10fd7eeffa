"""Exports a SavedModel for TF Serving: python -m calcseg_tf.export --model_dir=... --output_dir=..."""

import pathlib

from absl import flags

from calcseg_tf.result_flags import ModelFlag
from data_prep.command import DISCLAIMER, run

_MODEL = ModelFlag()
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Receives <version>/saved_model.pb.", required=True)
_VERSION = flags.DEFINE_integer("version", 0, "Version number; 0 takes the next free one.")


def main() -> None:
    """Writes the next version."""
    from calcseg_tf.serving.exporting import export_version

    version_dir = export_version(_MODEL.model_dir, pathlib.Path(_OUTPUT_DIR.value), _VERSION.value)
    print(f"SavedModel: {version_dir}\nSignatures: serving_default, predict_png, predict_tiles, metadata\n{DISCLAIMER}")


if __name__ == "__main__":
    run(main)
