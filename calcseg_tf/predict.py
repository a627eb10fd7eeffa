"""Segments the calcifications of mammograms: python -m calcseg_tf.predict --input=FILE_OR_FOLDER --output_dir=..."""

import pathlib
from typing import TYPE_CHECKING

from absl import flags

from data_prep.command import DISCLAIMER, run, split_options

if TYPE_CHECKING:
    from calcseg_tf.bulk import Runner

_MODEL_DIR = flags.DEFINE_string("model_dir", None, "Model directory.", required=True)
_INPUT = flags.DEFINE_string(
    "input",
    None,
    "DICOM file, 16-bit PNG file, a folder of them, or @FILE: a text file of paths, one a line, relative to it.",
    required=True,
)
_RECURSIVE = flags.DEFINE_bool("recursive", False, "Search the folders in the --input folder too.")
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Receives one folder an image, at the image's place below --input.", required=True
)
_THRESHOLD = flags.DEFINE_float("threshold", None, "Overrides the model's operating threshold, in (0, 1).")
_WORKERS = flags.DEFINE_integer(
    "workers",
    None,
    "Processes that predict, each with its own model; they share the cores. By default one a core, with at least 4 GiB "
    "of memory each.",
)
_RUNNER = flags.DEFINE_string(
    "runner",
    "local",
    "local: processes of this machine. Any other name is a runner of Apache Beam (requirements-beam.txt), such as "
    "DirectRunner, FlinkRunner, SparkRunner or DataflowRunner; its workers must reach images, model and output folder.",
)
_BEAM_OPTIONS = flags.DEFINE_string(
    "beam_options", "", "Options of the Beam runner in one string, as `data_prep.convert` takes them."
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite",
    False,
    "Replace results of another image, model or setting, which are refused otherwise. Those of the same are kept.",
)
_VERBOSE = flags.DEFINE_bool("verbose", False, "Tell of each image; without, only where there are at most 20.")

_FOR_PROCESSING = flags.DEFINE_bool(
    "for_processing", False, "Take DICOM mammograms for processing too; their values are not those of presentation."
)
_VOI_LUT = flags.DEFINE_bool(
    "voi_lut", False, "Apply the first VOI LUT or window of a DICOM file, as `data_prep.convert --voi_lut` does."
)
_SHOW_PATIENT = flags.DEFINE_bool(
    "show_patient", False, "Put name, birth date and the like of the patient into the DICOM results; nowhere else."
)
_FRACTIONAL_SEGMENTATION = flags.DEFINE_bool(
    "fractional_segmentation", False, "Write the probabilities as segmentation_fractional.dcm too, for DICOM inputs."
)


def main() -> None:
    """Predicts every input; those that fail are named at the end."""
    from calcseg_tf.bulk import BulkConfig, predict_bulk
    from calcseg_tf.clinical.dicom import DicomOptions
    from data_prep.dicom.header import ReadOptions

    config = BulkConfig(
        input=_INPUT.value,
        output_dir=pathlib.Path(_OUTPUT_DIR.value),
        recursive=_RECURSIVE.value,
        overwrite=_OVERWRITE.value,
        verbose=_VERBOSE.value,
        read_options=ReadOptions(_FOR_PROCESSING.value, _VOI_LUT.value),
        dicom=DicomOptions(_SHOW_PATIENT.value, _FRACTIONAL_SEGMENTATION.value),
    )
    print(DISCLAIMER)
    predict_bulk(config, _runner(), lambda line: print(line, flush=True)).tell(print)


def _runner() -> "Runner":
    from calcseg_tf.bulk.local_model import LocalModel
    from data_prep.beam import LOCAL_RUNNER, check_runner

    model = LocalModel(pathlib.Path(_MODEL_DIR.value), _THRESHOLD.value)
    options = split_options(_BEAM_OPTIONS.value, "--beam_options")
    check_runner(_RUNNER.value, options)
    if _RUNNER.value != LOCAL_RUNNER:
        from calcseg_tf.bulk.beam_runner import InBeam

        return InBeam(model, pathlib.Path(_OUTPUT_DIR.value), _RUNNER.value, options)
    from calcseg_tf.bulk.processes import InProcesses, default_workers

    return InProcesses(model, default_workers() if _WORKERS.value is None else _WORKERS.value)


if __name__ == "__main__":
    run(main)
