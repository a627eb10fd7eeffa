"""Draws artificial full-field mammograms without calcifications, backgrounds for `data_prep.implant`.

    python -m data_prep.synthesize --output_dir=backgrounds --images=40 --seed=1

Writes `synthetic-0001.dcm` and so on, four views a patient, `hard_negatives.csv` (one row a thing that may look like a
calcification and is none) and `synthesize.json` (settings, counts, how each was made).
"""

import os
import pathlib

from absl import flags

from data_prep.command import DISCLAIMER, run

_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder for the mammograms; new or empty.", required=True)
_IMAGES = flags.DEFINE_integer("images", 40, "Mammograms, four a patient.", lower_bound=1, upper_bound=9999)
_SEED = flags.DEFINE_integer("seed", 0, "Same seed, same bytes.", lower_bound=0)
_WORKERS = flags.DEFINE_integer(
    "workers", len(os.sched_getaffinity(0)), "Processes; changes the time taken and nothing else.", lower_bound=1
)
_FIELD_HEIGHT_MM = flags.DEFINE_float(
    "field_height_mm", 233.0, "Height of the picture: 3,328 pixels of 0.07 mm; 70 shows a part of a breast.",
    lower_bound=20.0, upper_bound=400.0,
)  # fmt: skip
_FIELD_WIDTH_MM = flags.DEFINE_float(
    "field_width_mm", 179.0, "Width of the picture: 2,557 pixels of 0.07 mm.", lower_bound=20.0, upper_bound=400.0
)
_FILM_SHARE = flags.DEFINE_float(
    "film_share", 0.25, "Share of patients that look like digitised film.", lower_bound=0.0, upper_bound=1.0
)


def _synthesize() -> None:
    from data_prep.synthesis.data_set import HARD_NEGATIVES_FILE, SUMMARY_FILE, synthesize_folder
    from data_prep.synthesis.picture import SynthesisConfig

    config = SynthesisConfig(
        seed=_SEED.value,
        field_height_mm=_FIELD_HEIGHT_MM.value,
        field_width_mm=_FIELD_WIDTH_MM.value,
        film_share=_FILM_SHARE.value,
    )
    output_dir = pathlib.Path(_OUTPUT_DIR.value)
    print(f"Drawing {_IMAGES.value} mammograms into {output_dir}, seed {config.seed}.", flush=True)
    summary = synthesize_folder(output_dir, _IMAGES.value, config, _WORKERS.value)
    looks = ", ".join(f"{count} {look}" for look, count in summary.looks.items())
    print(f"{summary.mammograms} mammograms of {summary.patients} artificial patients: {looks}.")
    print("Hard negatives: " + ", ".join(f"{count} {kind}" for kind, count in summary.hard_negatives.items()) + ".")
    print(f"Results: {output_dir} (table {HARD_NEGATIVES_FILE}, settings and counts {SUMMARY_FILE}).")
    print(f"Synthetic: no patient. {DISCLAIMER}")


if __name__ == "__main__":
    run(_synthesize)
