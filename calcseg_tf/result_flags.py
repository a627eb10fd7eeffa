"""Flags that the commands which predict mammograms have in common; making an object of a class defines them."""

import pathlib
from typing import TYPE_CHECKING

from absl import flags

from calcseg_tf import shipped

if TYPE_CHECKING:
    from calcseg_tf.bulk import BulkConfig
    from data_prep.dicom.header import ReadOptions

__all__ = ["ModelFlag", "ReadFlags", "ResultFlags"]

flags.disclaim_key_flags()  # --help lists a flag with the module that makes the object


class ModelFlag:
    """Which model is used: one of the user's, or the weights that come with the package."""

    def __init__(self) -> None:
        self._model_dir = flags.DEFINE_string(
            "model_dir", shipped.SHIPPED, "Model directory; `shipped` is the weights of the package (MODEL_CARD.md)."
        )

    @property
    def model_dir(self) -> pathlib.Path:
        """The model directory."""
        return shipped.model_directory(self._model_dir.value)


class ReadFlags:
    """How a mammogram is read, and from which probability on a pixel is a calcification."""

    def __init__(self) -> None:
        self._threshold = flags.DEFINE_float("threshold", None, "Overrides the model's operating threshold, in (0, 1).")
        self._for_processing = flags.DEFINE_bool(
            "for_processing",
            False,
            "Take DICOM mammograms for processing too; their values are not those of presentation.",
        )
        self._voi_lut = flags.DEFINE_bool(
            "voi_lut",
            False,
            "Apply the first VOI LUT or window of a DICOM file, as `data_prep.convert --voi_lut` does.",
        )

    @property
    def threshold(self) -> float | None:
        """The threshold that was given, if any; not yet checked."""
        return self._threshold.value

    @property
    def read_options(self) -> "ReadOptions":
        """How DICOM files are read."""
        from data_prep.dicom.header import ReadOptions

        return ReadOptions(self._for_processing.value, self._voi_lut.value)


class ResultFlags(ReadFlags):
    """Which mammograms are predicted, and where their results go."""

    def __init__(self) -> None:
        super().__init__()
        self._input = flags.DEFINE_string(
            "input",
            None,
            "DICOM file, 16-bit PNG file, a folder of them, or @FILE: a text file of paths, one a line, relative to "
            "it.",
            required=True,
        )
        self._recursive = flags.DEFINE_bool("recursive", False, "Search the folders in the --input folder too.")
        self._output_dir = flags.DEFINE_string(
            "output_dir", None, "Receives one folder an image, at the image's place below --input.", required=True
        )
        self._overwrite = flags.DEFINE_bool(
            "overwrite",
            False,
            "Replace results of another image, model or setting, which are refused otherwise. Those of the same are "
            "kept.",
        )
        self._verbose = flags.DEFINE_bool(
            "verbose", False, "Tell of each image; without, only where there are at most 20."
        )
        self._show_patient = flags.DEFINE_bool(
            "show_patient",
            False,
            "Put name, birth date and the like of the patient into the DICOM results; nowhere else.",
        )
        self._fractional_segmentation = flags.DEFINE_bool(
            "fractional_segmentation",
            False,
            "Write the probabilities as segmentation_fractional.dcm too, for DICOM inputs.",
        )

    @property
    def output_dir(self) -> pathlib.Path:
        """Where results go."""
        return pathlib.Path(self._output_dir.value)

    @property
    def config(self) -> "BulkConfig":
        """The run that was asked for."""
        from calcseg_tf.bulk import BulkConfig
        from calcseg_tf.clinical.dicom import DicomOptions

        return BulkConfig(
            input=self._input.value,
            output_dir=self.output_dir,
            recursive=self._recursive.value,
            overwrite=self._overwrite.value,
            verbose=self._verbose.value,
            read_options=self.read_options,
            dicom=DicomOptions(self._show_patient.value, self._fractional_segmentation.value),
        )
