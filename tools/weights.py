"""Trains the weights that come with the project further: data, training, measurement. Run by `make weights`.

Real mammograms of one patient and synthetic ones, all with implanted calcifications, train the paper's network from the
shipped weights on; others made likewise choose its threshold; the other patient's, and synthetic ones of another seed,
measure it. A run that is stopped goes on where it was. With --ship the model then replaces the one in
`calcseg_tf/shipped`; who trains from that one on sets other seeds below, since these were seen.
"""

import argparse
import csv
import dataclasses
import os
import pathlib
import shutil

import pydicom
from PIL import Image

from calcseg_tf import shipped
from data_prep.command import DISCLAIMER
from tools.demo import ROOT, Steps, backgrounds

# As in the demo: the four films of the first teach, those of the second, with bright borders, are never trained on.
TRAIN_PATIENT, TEST_PATIENT = "sfm-benign-0", "sfm-malign-0"
REAL_SEEDS = range(41, 49)  # each film with so many sets of implants to learn from; 1 to 16, 33 to 40 were seen before
THRESHOLD_REAL_SEEDS = range(17, 20)
FILM_SPACING_MM = 0.05  # what `implant` assumes of films, whose files tell none
TRAIN_SEED, THRESHOLD_SEED, TEST_SEED = 4, 2, 1001  # of synthetic ones; 1 and 3 were seen before
THRESHOLD_IMAGES, TEST_IMAGES = 12, 20  # synthetic ones
BASIC_SETS = 3  # of what `implant` makes by default, in each film that measures
FALSE_ALARMS = 37  # a mammogram at the operating threshold: 0.4 a cm2 on films of 93 cm2 of breast
MEASURED = {
    "films": "records", "films_basic": "records_basic", "synthetic": "records_synthetic",
    "films_as_they_are": "records_plain",
}  # fmt: skip
DATA_SET = "calcifications implanted in four CBIS-DDSM films of one patient and in synthetic mammograms"


def main() -> None:
    """Runs every step whose result is not there yet."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=pathlib.Path, default=ROOT / "build" / "weights")
    parser.add_argument("--synthetic_images", type=int, default=80, help="to train on; others measure")
    parser.add_argument("--peer_model_dir", type=pathlib.Path, help="another model, measured on the same mammograms")
    parser.add_argument("--ship", action="store_true", help="the model comes with the package from now on")
    options = parser.parse_args()
    out: pathlib.Path = options.output_dir.resolve()
    steps = Steps()
    make_data(steps, out, options.synthetic_images)
    steps.run(
        "train", "-m", "calcseg_tf.train", "--flagfile=configs/weights.cfg", f"--records_dir={out / 'records'}",
        f"--model_dir={out / 'model'}",
    )  # fmt: skip
    models = [out / "model", *([options.peer_model_dir.resolve()] if options.peer_model_dir else [])]
    if not (out / "evaluation" / "evaluation.html").exists():  # written last
        choose_threshold(out / "model", out / "records_threshold")
        steps.run(
            "evaluate", "-m", "calcseg_tf.evaluate", f"--model_dir={','.join(map(str, models))}",
            "--records_dir=" + ",".join(f"{name}={out / folder}" for name, folder in MEASURED.items()),
            f"--output_dir={out / 'evaluation'}",
        )  # fmt: skip
    if options.ship:
        ship(out / "model", shipped.MODEL_DIR)
    print(f"\nModel: {out / 'model'}\nMeasured: {out / 'evaluation' / 'evaluation.html'}\n{DISCLAIMER}")


def make_data(steps: Steps, out: pathlib.Path, synthetic_images: int) -> None:
    """Writes the records.

    `records`: to train on, one patient and synthetic ones; to measure, the other patient. `records_synthetic`: others
    to measure. `records_basic`: the other patient with what `implant` makes by default, several times.
    `records_plain`: its films as they are, whose every find counts as a false alarm. `records_threshold`: made like
    those to train on, with implants and synthetic patients of their own.
    """
    real, made, data = out / "backgrounds", out / "synthetic", out / "data"
    if not real.exists():
        partial = real.with_name(".backgrounds.partial")
        backgrounds(False, partial)
        partial.rename(real)
    for seed, images in (
        (TRAIN_SEED, synthetic_images), (THRESHOLD_SEED, THRESHOLD_IMAGES), (TEST_SEED, TEST_IMAGES),
    ):  # fmt: skip
        once(steps, made / str(seed), "data_prep.synthesize", f"--images={images}", f"--seed={seed}")
    for records, seeds in (("records", REAL_SEEDS), ("records_threshold", THRESHOLD_REAL_SEEDS)):
        for seed in seeds:
            implant(steps, real / TRAIN_PATIENT, data / records / f"{TRAIN_PATIENT}-{seed}", seed)
    implant(steps, real / TEST_PATIENT, data / "records" / TEST_PATIENT, TEST_SEED)
    for records, seed in (
        ("records", TRAIN_SEED), ("records_threshold", THRESHOLD_SEED), ("records_synthetic", TEST_SEED),
    ):  # fmt: skip
        implant(steps, made / str(seed), data / records / "synthetic", seed)
    # Few clusters, each as faint or strong as it was drawn: one set of implants alone says little.
    for patient, seeds in ((TRAIN_PATIENT, [TEST_SEED]), (TEST_PATIENT, range(TEST_SEED, TEST_SEED + BASIC_SETS))):
        for seed in seeds:
            implant(steps, real / patient, data / "records_basic" / f"{patient}-{seed}", seed, variety="basic")
    plain(real, data / "records_plain")
    for name in (*MEASURED.values(), "records_threshold"):
        if not (out / name / "manifest.json").exists():
            write_cases(data / name)
            steps.run(
                f"convert {name}", "-m", "data_prep.convert", "--dataset=folder", f"--data_dir={data / name}",
                f"--output_dir={out / name}", "--public_ids",
            )  # fmt: skip


def choose_threshold(model_dir: pathlib.Path, records_dir: pathlib.Path) -> None:
    """Chooses the operating threshold on mammograms that were not trained on, made like those that were."""
    from calcseg_tf.scoring import choose_operating_threshold
    from data_prep.manifest import read_manifest

    split = read_manifest(records_dir).split
    held_out = frozenset(image for image, placement in split.items() if placement.split == "train")
    info = choose_operating_threshold(model_dir, records_dir, FALSE_ALARMS, len(held_out), held_out)
    print(f"Operating threshold {info.operating_threshold:.4f}: {info.operating_threshold_rule}", flush=True)


def ship(model_dir: pathlib.Path, target_dir: pathlib.Path) -> None:
    """Puts weights, config and history where the package finds them, the data named in words."""
    from calcseg_tf.model_directory import WEIGHTS_FILE, read_info, write_info

    info = read_info(model_dir)
    write_info(target_dir, dataclasses.replace(info, data={**info.data, "data_set": DATA_SET}))
    for name in (WEIGHTS_FILE, "history.json"):
        shutil.copyfile(model_dir / name, target_dir / name)


def once(steps: Steps, output_dir: pathlib.Path, module: str, *arguments: str) -> None:
    """Runs a command that writes a folder, unless the folder is there, whole."""
    if not output_dir.exists():
        partial = output_dir.with_name(f".{output_dir.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        steps.run(f"{module} {output_dir.name}", "-m", module, *arguments, f"--output_dir={partial}")
        partial.rename(output_dir)


def implant(
    steps: Steps, background_dir: pathlib.Path, output_dir: pathlib.Path, seed: int, variety: str = "full"
) -> None:
    """Implants calcifications, by default of every kind."""
    once(
        steps, output_dir, "data_prep.implant", f"--background_dir={background_dir}", f"--seed={seed}",
        f"--variety={variety}",
    )  # fmt: skip


def plain(real: pathlib.Path, output_dir: pathlib.Path) -> None:
    """Copies films, each with an empty mask: all of one patient, and one of the other, as records have two sides."""
    if output_dir.exists():
        return
    partial = output_dir.with_name(f".{output_dir.name}.partial")
    for patient, count in ((TEST_PATIENT, None), (TRAIN_PATIENT, 1)):
        (partial / patient).mkdir(parents=True, exist_ok=True)
        for source in sorted((real / patient).glob("*.dcm"))[:count]:
            shutil.copyfile(source, partial / patient / source.name)
            header = pydicom.dcmread(source, stop_before_pixels=True)
            mask = Image.new("L", (header.Columns, header.Rows))
            mask.save(partial / patient / source.with_suffix(".png").name)
    partial.rename(output_dir)


def write_cases(data_dir: pathlib.Path) -> None:
    """Writes `cases.csv`: whose each implanted mammogram is, on which side, and the spacing assumed of films.

    `implant` numbers patients anew in each run. Records have two sides: of the synthetic patients that measure, one is
    named for training, and of those that choose the threshold one for the test; nothing trains or measures on these.
    """
    sides = {"records_synthetic": ("train", "test"), "records_threshold": ("test", "train")}
    first, others = sides.get(data_dir.name, ("train", "train"))  # the first synthetic patient, the others
    rows = []
    for image in sorted(data_dir.glob("*/*.dcm")):
        folder = image.parent.name
        if folder == "synthetic":
            patient = f"synthetic-{pydicom.dcmread(image, stop_before_pixels=True).PatientID}"
            split = first if patient == "synthetic-patient-1" else others
        else:
            patient = TEST_PATIENT if folder.startswith(TEST_PATIENT) else TRAIN_PATIENT
            split = "test" if patient == TEST_PATIENT else "train"
        spacing = "" if folder == "synthetic" else FILM_SPACING_MM
        rows.append((f"{folder}/{image.name}", patient, split, spacing))
    with (data_dir / "cases.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("file", "patient", "split", "pixel_spacing_mm"), *rows])


if __name__ == "__main__":
    main()
