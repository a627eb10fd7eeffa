"""Scores models on records: python -m calcseg_tf.evaluate --model_dir=... --records_dir=... --output_dir=..."""

import os
import pathlib

from absl import flags

from calcseg_tf import shipped
from data_prep.command import DISCLAIMER, run, say

_MODEL_DIR = flags.DEFINE_list(
    "model_dir",
    [],
    "Model directories, separated by commas; several are compared. `shipped`, or nothing without --probability_dir, is "
    "the weights of the package (MODEL_CARD.md).",
)
_PROBABILITY_DIR = flags.DEFINE_multi_string(
    "probability_dir",
    [],
    "NAME=FOLDER with another tool's probability maps, <image_id>.png (16 bits, 65535 p) or <image_id>.npy (float); "
    "may be repeated; needs --threshold. With several data sets, in a folder of FOLDER that has the data set's name.",
)
_RECORDS_DIR = flags.DEFINE_list(
    "records_dir",
    None,
    "Folder that data_prep.convert wrote; several, separated by commas, are evaluated one by one and then shown "
    "together, each under the name of its data set, or that of NAME=FOLDER.",
    required=True,
)
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Receives evaluation.html, metrics.json, tables.", required=True)
_SPLIT = flags.DEFINE_enum("split", "test", ["train", "test"], "Which records.")
_THRESHOLD = flags.DEFINE_float("threshold", None, "Overrides every operating threshold, in (0, 1).")
_CONNECTIVITY = flags.DEFINE_enum("connectivity", "8", ["8", "4"], "Which pixels join: by edges and corners, or edges.")
_BOOTSTRAP_SAMPLES = flags.DEFINE_integer("bootstrap_samples", 1000, "Resamples of the patients behind each interval.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the resampling.")
_WORKERS = flags.DEFINE_integer("workers", None, "Processes that score; by default one a core, at most 4.")


def main() -> None:
    """Predicts and scores every mammogram of the split, and writes the report."""
    from calcseg_tf.evaluating import EvaluatingConfig, evaluate, named_folders, read_data_sets

    map_folders = named_folders(_PROBABILITY_DIR.value)
    model_dirs = tuple(map(shipped.model_directory, _MODEL_DIR.value))
    config = EvaluatingConfig(
        model_dirs=model_dirs or (() if map_folders else (shipped.MODEL_DIR,)),
        map_folders=map_folders,
        split=_SPLIT.value,
        threshold=_THRESHOLD.value,
        connectivity=int(_CONNECTIVITY.value),
        workers=min(4, len(os.sched_getaffinity(0))) if _WORKERS.value is None else _WORKERS.value,
        bootstrap_samples=_BOOTSTRAP_SAMPLES.value,
        seed=_SEED.value,
    )
    data_sets = read_data_sets(_RECORDS_DIR.value)
    for name, manifest in data_sets.items():
        say(f"Scoring {manifest.images[config.split]} {config.split} mammograms of {name}")
    output_dir = pathlib.Path(_OUTPUT_DIR.value)
    say(evaluate(config, data_sets, output_dir))
    print(f"Results: {output_dir}\n{DISCLAIMER}")


if __name__ == "__main__":
    run(main)
