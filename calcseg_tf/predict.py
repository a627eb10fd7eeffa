"""Segments the calcifications of mammograms: python -m calcseg_tf.predict --input=FILE_OR_FOLDER --output_dir=..."""

import pathlib

from absl import flags

from data_prep.command import DISCLAIMER, run

_MODEL_DIR = flags.DEFINE_string("model_dir", None, "Model directory.", required=True)
_INPUT = flags.DEFINE_string("input", None, "DICOM file, 16-bit PNG file, or a folder of them.", required=True)
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Receives one folder an image.", required=True)
_THRESHOLD = flags.DEFINE_float("threshold", None, "Overrides the model's operating threshold, in (0, 1).")
_TILE_SIZE = flags.DEFINE_integer(
    "tile_size", 256, "Side of a tile in px; decides memory and speed, not the result. deeplabv3 has its own."
)

_FOR_PROCESSING = flags.DEFINE_bool(
    "for_processing", False, "Take DICOM mammograms for processing too; their values are not those of presentation."
)
_VOI_LUT = flags.DEFINE_bool(
    "voi_lut", False, "Apply the first VOI LUT or window of a DICOM file, as `data_prep.convert --voi_lut` does."
)


def main() -> None:
    """Predicts every input; those that fail are named at the end."""
    from data_prep.errors import InputError

    if _TILE_SIZE.value < 16:
        raise InputError(f"--tile_size must be at least 16; found {_TILE_SIZE.value}")
    from calcseg_tf.inference.predictor import Predictor
    from calcseg_tf.prediction import find_images, predict_files
    from data_prep.dicom.header import ReadOptions

    images = find_images(pathlib.Path(_INPUT.value))
    predictor = Predictor.load(pathlib.Path(_MODEL_DIR.value), _TILE_SIZE.value).at_threshold(_THRESHOLD.value)
    output_dir = pathlib.Path(_OUTPUT_DIR.value)
    print(f"Predicting {len(images)} image{'s' if len(images) > 1 else ''}")
    options = ReadOptions(_FOR_PROCESSING.value, _VOI_LUT.value)
    failures = predict_files(predictor, images, output_dir, print, options)
    if failures and len(images) == 1:
        raise InputError(failures[0].reason)
    for failure in failures:
        print(f"no result: {failure.reason}")
    print(f"Results: {output_dir}\n{DISCLAIMER}")
    if failures:
        raise InputError(f"{len(failures)} of {len(images)} images gave no result")


if __name__ == "__main__":
    run(main)
