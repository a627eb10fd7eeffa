"""Adds artificial calcifications, every pixel of them known, to real mammograms.

    python -m data_prep.implant --background_dir=mammograms --output_dir=implanted --seed=1

Writes a data set that `data_prep.convert --dataset=folder` reads: `implant-0001.dcm` with its mask `implant-0001.png`
and so on, `calcifications.csv` (one row a calcification) and `implant.json` (settings, counts, rejected files).

A mask holds the calcified matter. Of a rim it holds the wall alone, a ring; what the wall encloses is in
`implant-0001_ignore.png`, neither calcification nor background: calcium lies before and behind it. Each dash of a
vessel's wall is a calcification; all of a vessel share the number in the table's column `cluster`.
"""

import os
import pathlib
import sys

from absl import flags

from data_prep.command import DISCLAIMER, run
from data_prep.printable import printable

_BACKGROUND_DIR = flags.DEFINE_string(
    "background_dir", None, "Folder of real mammograms: DICOM or 16-bit PNG, at any depth.", required=True
)
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder for the data set; new or empty.", required=True)
_SEED = flags.DEFINE_integer("seed", 0, "Same seed, same mammograms, same bytes.", lower_bound=0)
_WORKERS = flags.DEFINE_integer(
    "workers", len(os.sched_getaffinity(0)), "Processes; changes the time taken and nothing else.", lower_bound=1
)
_PIXEL_SPACING_MM = flags.DEFINE_float(
    "pixel_spacing_mm", 0.05,
    "Pixel spacing assumed where the DICOM states none: used for sizes only, and not written into the DICOM.",
)  # fmt: skip
_ISOLATED = flags.DEFINE_integer("isolated_per_mammogram", 60, "Isolated calcifications a mammogram.")
_CLUSTERS = flags.DEFINE_integer("clusters_per_mammogram", 6, "Clusters of 8 to 25 calcifications a mammogram.")
_SNR_MIN = flags.DEFINE_float("snr_min", 5.0, "Signal-to-noise ratio of the faintest; 3 to 5 is barely visible.")
_SNR_MAX = flags.DEFINE_float("snr_max", 30.0, "Signal-to-noise ratio of the most obvious.")
_BLUR_MM = flags.DEFINE_float("blur_mm", 0.04, "Detector blur: standard deviation of a Gaussian point spread.")
_VARIETY = flags.DEFINE_enum(
    "variety", "basic", ["basic", "full"],
    "basic: isolated calcifications and clusters. full: also vessels, popcorn, rims, milk of calcium and dense "
    "clusters of fine pleomorphic ones, a few of each a mammogram.",
)  # fmt: skip


def _implant() -> None:
    from data_prep.implants.config import ImplantConfig, Variety
    from data_prep.implants.implanting import CALCIFICATIONS_FILE, SUMMARY_FILE, implant_folder

    config = ImplantConfig(
        seed=_SEED.value,
        pixel_spacing_mm=_PIXEL_SPACING_MM.value,
        isolated_per_mammogram=_ISOLATED.value,
        clusters_per_mammogram=_CLUSTERS.value,
        snr_min=_SNR_MIN.value,
        snr_max=_SNR_MAX.value,
        blur_mm=_BLUR_MM.value,
        variety=Variety(_VARIETY.value),
    )
    output_dir = pathlib.Path(_OUTPUT_DIR.value)
    print(f"Implanting the mammograms of {_BACKGROUND_DIR.value} into {output_dir}, seed {config.seed}.", flush=True)
    summary = implant_folder(pathlib.Path(_BACKGROUND_DIR.value), output_dir, config, _WORKERS.value)
    for file in summary.rejected:
        print(printable(f"rejected {file.path}: {file.reason}"), file=sys.stderr)
    print(
        f"{summary.mammograms} mammograms of {summary.patients} patients: {summary.calcifications} calcifications, "
        f"{summary.clusters} clusters among them; {summary.left_out} left out for want of room, "
        f"{len(summary.rejected)} files rejected."
    )
    print("Areas in pixels: " + ", ".join(f"{k} {v:.1%}" for k, v in summary.share_by_area_px.items()) + ".")
    print(f"Results: {output_dir} (table {CALCIFICATIONS_FILE}, settings and counts {SUMMARY_FILE}).")
    print(DISCLAIMER)


if __name__ == "__main__":
    run(_implant)
