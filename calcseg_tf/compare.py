"""Compares a region of two exams: python -m calcseg_tf.compare --prior=FILE --current=FILE --prior_roi="R,C R,C" ..."""

import pathlib

from absl import flags

from calcseg_tf.result_flags import ModelFlag, ReadFlags
from data_prep.command import DISCLAIMER, run, say

_MODEL = ModelFlag()
_READ = ReadFlags()
_PRIOR = flags.DEFINE_string("prior", None, "The exam before: a DICOM or 16-bit PNG file.", required=True)
_CURRENT = flags.DEFINE_string("current", None, "The exam after: the same view of the same breast.", required=True)
_PRIOR_ROI = flags.DEFINE_string(
    "prior_roi",
    None,
    "Region of the prior exam, in pixels: 'row,column row,column' are two opposite corners of a rectangle, three pairs "
    "or more a polygon; or a JSON file of such pairs, or a DICOM file (.dcm) drawn on this exam: a segmentation, of "
    "which the convex hull counts, or a structured report or presentation state with one closed outline.",
    required=True,
)
_CURRENT_ROI = flags.DEFINE_string("current_roi", None, "Region of the current exam, likewise.", required=True)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Receives comparison.html, comparison.json, comparison.csv and comparison.png.", required=True
)
_ALIGNMENT = flags.DEFINE_enum(
    "alignment",
    "similarity",
    ["rigid", "similarity", "affine"],
    "How the breast may have moved: rotation and shift; these and one scale; any linear motion.",
)
_COMPARE_ANYWAY = flags.DEFINE_bool(
    "compare_anyway",
    False,
    "Go on where laterality, view, patient, order in time or a spacing that one exam lacks forbid it; the result says "
    "so.",
)


def main() -> None:
    """Compares both exams and prints the table."""
    from calcseg_tf.bulk.local_model import LocalModel
    from calcseg_tf.clinical.alignment import Motion
    from calcseg_tf.comparing import CompareConfig, compare

    config = CompareConfig(
        prior=pathlib.Path(_PRIOR.value),
        current=pathlib.Path(_CURRENT.value),
        prior_roi=_PRIOR_ROI.value,
        current_roi=_CURRENT_ROI.value,
        model=LocalModel(_MODEL.model_dir, threshold=_READ.threshold),
        output_dir=pathlib.Path(_OUTPUT_DIR.value),
        motion=Motion(_ALIGNMENT.value),
        anyway=_COMPARE_ANYWAY.value,
        read_options=_READ.read_options,
    )
    print(DISCLAIMER)
    compare(config, say)


if __name__ == "__main__":
    run(main)
