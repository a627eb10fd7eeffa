"""Converts a data set of mammograms and masks to sharded TFRecords with a manifest.

python -m data_prep.convert --dataset=folder --data_dir=DIR --output_dir=RECORDS
"""

import difflib
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from absl import flags

from data_prep import command
from data_prep.errors import InputError

if TYPE_CHECKING:
    from data_prep.datasets import DataSet

_DATASET = flags.DEFINE_string("dataset", "folder", "Kind of data set: cbis_ddsm, folder or inbreast.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder that holds the data set.", required=True)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "New or empty folder for the records, or a gs:// URL.", required=True
)
_SPLIT_BY = flags.DEFINE_enum(
    "split_by",
    "patient",
    ["patient", "image"],
    "What stays on one side of the split: all images of a patient, or (as in the paper) each image by itself.",
)
_TRAIN_FRACTION = flags.DEFINE_float("train_fraction", 0.75, "Fraction of the patients (or images) to train on.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the split and of the order of the records.")
_EXAMPLES_PER_SHARD = flags.DEFINE_integer("examples_per_shard", 32, "Mammograms in one file, at most.")
_WORKERS = flags.DEFINE_integer("workers", None, "Processes, each writing one shard; by default one a core.")
_RUNNER = flags.DEFINE_string(
    "runner",
    "local",
    "local: processes of this machine. Any other name is a runner of Apache Beam (requirements-beam.txt), such as "
    "DirectRunner, FlinkRunner, SparkRunner or DataflowRunner; its workers must reach data and output folder.",
)
_BEAM_OPTIONS = flags.DEFINE_string(
    "beam_options",
    "",
    "Options of the Beam runner in one string: --beam_options='--direct_num_workers=2 --direct_running_mode="
    "multi_processing'.",
)
_STRICT = flags.DEFINE_bool("strict", False, "Stop at the first bad file instead of listing it in the manifest.")
_PUBLIC_IDS = flags.DEFINE_bool(
    "public_ids", False, "The data set is public: keep its own names of images and patients instead of salted hashes."
)
_SALT_FILE = flags.DEFINE_string(
    "salt_file", None, "Key of the hashes, made on first use; by default OUTPUT_DIR.salt. Keep it from the records."
)
_CBIS_REGIONS = flags.DEFINE_enum(
    "cbis_regions",
    "ignore",
    ["ignore", "calcification"],
    "What the outlined regions of CBIS-DDSM are: they hold calcifications, but also what lies between them.",
)
_INBREAST_CALCIFICATION_NAMES = flags.DEFINE_list(
    "inbreast_calcification_names", ["Calcification"], "Names of the regions of INbreast that are calcifications."
)
_INBREAST_IGNORE_NAMES = flags.DEFINE_list(
    "inbreast_ignore_names",
    ["Calcifications", "Cluster"],
    "Names of the regions of INbreast to ignore but for calcifications drawn within; all other regions are background.",
)
_INBREAST_POINT_RADIUS_PX = flags.DEFINE_float(
    "inbreast_point_radius_px", 0.0, "Radius that a calcification marked by a point is drawn with; 0 is one pixel."
)
_INBREAST_SUBSET = flags.DEFINE_enum(
    "inbreast_subset",
    "all",
    ["all", "outlined"],
    "All images, or those with at least one calcification that is outlined, not marked by a point alone.",
)
_FOR_PROCESSING = flags.DEFINE_bool(
    "for_processing", False, "Take DICOM mammograms for processing too; their values are not those of presentation."
)
_VOI_LUT = flags.DEFINE_bool(
    "voi_lut", False, "Apply the first VOI LUT or window of a DICOM mammogram instead of keeping its stored values."
)

# The flags of one data set alone.
_OPTIONS = {
    "cbis_ddsm": (_CBIS_REGIONS,),
    "inbreast": (
        _INBREAST_CALCIFICATION_NAMES,
        _INBREAST_IGNORE_NAMES,
        _INBREAST_POINT_RADIUS_PX,
        _INBREAST_SUBSET,
    ),
}


def main() -> None:
    """Converts as the flags say and prints what became of it."""
    from data_prep.conversion import pipeline
    from data_prep.dicom.header import ReadOptions
    from data_prep.remote import records_path
    from data_prep.report import conversion_lines, plan_lines
    from data_prep.split import SplitBy

    config = pipeline.ConvertConfig(
        data_set=_data_set(),
        data_dir=pathlib.Path(_DATA_DIR.value),
        output_dir=records_path(_OUTPUT_DIR.value),
        split_by=SplitBy(_SPLIT_BY.value),
        train_fraction=_TRAIN_FRACTION.value,
        seed=_SEED.value,
        examples_per_shard=_EXAMPLES_PER_SHARD.value,
        workers=len(os.sched_getaffinity(0)) if _WORKERS.value is None else _WORKERS.value,
        runner=_RUNNER.value,
        beam_options=command.split_options(_BEAM_OPTIONS.value, "--beam_options"),
        strict=_STRICT.value,
        public_ids=_PUBLIC_IDS.value,
        salt_file=pathlib.Path(_SALT_FILE.value) if _SALT_FILE.value else None,
        read_options=ReadOptions(_FOR_PROCESSING.value, _VOI_LUT.value),
    )
    plan = pipeline.make_plan(config)
    print(*plan_lines(plan), sep="\n", flush=True)
    print(*conversion_lines(pipeline.write_plan(plan)), sep="\n")


def _data_set() -> "DataSet":
    """Returns the data set that the flags name, with its options."""
    from data_prep.datasets import CbisDdsm, Folder, Regions

    makers: Mapping[str, Callable[[], DataSet]] = {
        "cbis_ddsm": lambda: CbisDdsm(Regions(_CBIS_REGIONS.value)),
        "folder": Folder,
        "inbreast": _inbreast,
    }
    name = _DATASET.value
    if name not in makers:
        near = difflib.get_close_matches(name.lower(), makers, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"a data set is one of {', '.join(sorted(makers))}; found {name!r}{hint}", "--dataset")
    for other, options in _OPTIONS.items():
        for option in options:
            if option.present and other != name:
                raise InputError(f"belongs to --dataset={other}; found --dataset={name}", f"--{option.name}")
    return makers[name]()


def _inbreast() -> "DataSet":
    from data_prep.datasets import InBreast, RoiRules, Subset

    rules = RoiRules(
        tuple(_INBREAST_CALCIFICATION_NAMES.value),
        tuple(_INBREAST_IGNORE_NAMES.value),
        _INBREAST_POINT_RADIUS_PX.value,
    )
    return InBreast(rules, Subset(_INBREAST_SUBSET.value))


if __name__ == "__main__":
    command.run(main)
