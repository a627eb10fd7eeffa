"""The commands that `tools.faults` disturbs, on data of a few small mammograms, and when two results are equal."""

import csv
import dataclasses
import fnmatch
import json
import pathlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping

import h5py
import numpy as np
import pydicom

from tests.fakes.dicom import fake_uid, write_dicom
from tests.fakes.folder import write_png
from tools.fault_processes import fork_command

__all__ = ["COMMANDS", "Command", "World", "difference", "left_over"]

_PATIENTS, _HEIGHT, _WIDTH = 6, 200, 160
_TRAINING = (
    "--deterministic", "--widths=4", "--crop_size=24", "--global_batch_size=4", "--steps_per_epoch=6", "--epochs=3",
    "--crops_per_image=4", "--checkpoint_every_steps=2", "--validation_fraction=0.3", "--images_every_epochs=0",
    "--operating_images=2", "--learning_rate=0.01", "--seed=3",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        module: Run by `python -m`.
        flags: With {data}, {images}, {salt}, {records}, {model} for its inputs and {out} for the folder that it writes.
        needs: The commands that make its inputs.
        done: Part of the line by which it refuses to do again what is done; "" where it does not refuse.
        inputs: What may be unreadable, below the folder of inputs.
        checked: Files of the inputs in which no changed bit may pass; `tests/fuzz` has what a command reads beside.
        sums: Checksums that it writes of its result, for `sha256sum`; "" where none.
        half: Flags by which it stops half-way.
    """

    module: str
    flags: tuple[str, ...]
    needs: tuple[str, ...] = ()
    done: str = ""
    inputs: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()
    half: tuple[str, ...] = ()
    sums: str = ""


_PREDICT = ("--model_dir={model}", "--input={images}", "--output_dir={out}")
_MANIFEST = "records/manifest.json"
_WEIGHTS = "model/model.weights.h5"
_OF_MODEL = ("model/config.json", _WEIGHTS)

COMMANDS: Mapping[str, Command] = {
    "convert": Command(
        "data_prep.convert",
        ("--data_dir={data}", "--output_dir={out}", "--salt_file={salt}", "--examples_per_shard=2", "--workers=2"),
        done="already converted",
        inputs=("data", "salt"),
    ),
    "train": Command(
        "calcseg_tf.train",
        ("--records_dir={records}", "--model_dir={out}", *_TRAINING),
        needs=("convert",),
        inputs=("records", _MANIFEST, "records/train-00000-of-*"),
        checked=("records/train-*", _MANIFEST),
        half=("--epochs=2",),
    ),
    "evaluate": Command(
        "calcseg_tf.evaluate",
        ("--model_dir={model}", "--records_dir={records}", "--output_dir={out}", "--bootstrap_samples=50"),
        needs=("train", "convert"),
        inputs=(_MANIFEST, "records/test-00000-of-*", *_OF_MODEL),
        checked=("records/test-*", _MANIFEST, _WEIGHTS),
    ),
    "predict": Command(
        "calcseg_tf.predict",
        (*_PREDICT, "--workers=1"),
        needs=("train",),
        inputs=("images", "images/case1-view0.dcm", *_OF_MODEL),
        checked=(_WEIGHTS,),
    ),
    "predict-2": Command(
        "calcseg_tf.predict",
        (*_PREDICT, "--workers=2"),
        needs=("train",),
        inputs=("images", "images/case1-view0.dcm", *_OF_MODEL),
        checked=(_WEIGHTS,),
    ),
    "export": Command(
        "calcseg_tf.export",
        ("--model_dir={model}", "--output_dir={out}", "--version=1"),
        needs=("train",),
        done="this version exists",
        inputs=_OF_MODEL,
        checked=(_WEIGHTS,),
        sums="1/assets.extra/SHA256SUMS",
    ),
}


class World:
    """Inputs, and what each command makes of them undisturbed.

    Args:
        folder: Empty; receives everything.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.inputs = folder / "inputs"
        self._seconds: dict[str, float] = {}
        _write_data(self.inputs / "data")
        (self.inputs / "images").mkdir()
        for path in (self.inputs / "data").rglob("*.dcm"):  # without the masks
            shutil.copy(path, self.inputs / "images" / f"{path.parent.name}-{path.name}")
        (self.inputs / "salt").write_bytes(b"a salt that is no secret at all")

    def line(self, name: str, inputs: pathlib.Path, out: pathlib.Path) -> list[str]:
        """Returns the command line of a command with inputs of its own or the world's."""
        places = {key: inputs / key for key in ("data", "images", "salt", "records", "model")}
        command = COMMANDS[name]
        return [sys.executable, "-m", command.module, *(flag.format(**places, out=out) for flag in command.flags)]

    def undisturbed(self, name: str) -> tuple[pathlib.Path, float]:
        """Returns the folder that a command writes when nothing disturbs it, and the seconds that it takes."""
        out = self.inputs / {"convert": "records", "train": "model"}.get(name, f"result-{name}/out")
        if name not in self._seconds:
            for needed in COMMANDS[name].needs:
                self.undisturbed(needed)
            with tempfile.TemporaryDirectory() as folder:
                scratch = pathlib.Path(folder)
                _, _, module, *arguments = self.line(name, self.inputs, out)
                running = fork_command(module, arguments, scratch, scratch)
                start = time.monotonic()  # what forks has imported TensorFlow by now
                if running.wait():
                    raise RuntimeError(f"{name} fails undisturbed: {(scratch / 'stderr').read_text(encoding='utf-8')}")
            self._seconds[name] = time.monotonic() - start
        return out, self._seconds[name]


def _write_data(folder: pathlib.Path) -> None:
    """Writes a `folder` data set: two views of each patient, bright spots on noise, and their masks."""
    for number in range(_PATIENTS):
        for view, name in enumerate(("CC", "MLO")):
            rng = np.random.default_rng([number, view])
            pixels = rng.integers(500, 1500, (_HEIGHT, _WIDTH), dtype=np.uint16)
            mask = np.zeros(pixels.shape, np.uint8)
            for row, column in rng.integers(20, 140, (8, 2)):
                mask[row : row + 3, column : column + 3] = 255
            pixels[mask > 0] = 4000
            path = folder / f"case{number}" / f"view{view}.dcm"
            study = {"patient_id": f"ID-{number}", "study_uid": fake_uid(77, number)}
            write_dicom(path, pixels, **study, ViewPosition=name, PixelSpacing=[0.07, 0.07])
            write_png(path.with_suffix(".png"), mask)


def left_over(folder: pathlib.Path) -> list[str]:
    """Returns what is temporary by its name, below a folder."""
    marks = (".partial", ".tmp", "_temp", ".unfinished")
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*"))]
    return [name for name in names if any(mark in name for mark in marks)]


def difference(one: pathlib.Path, other: pathlib.Path, same_weights: bool = True) -> str:
    """Returns how two results differ, "" where they are equal: in names of files and in bytes.

    Less is promised of these: weights are equal as arrays, a history but for the rate, the index of a run but for
    status and seconds, a DICOM object but for dates and times, a SavedModel by what it holds beside its graph. What
    depends on when a run was stopped is left out: checkpoints, TensorBoard, the log.

    Args:
        one: Folder.
        other: Likewise.
        same_weights: The file of weights is the same byte for byte; else what tells its digest is left out too.
    """
    left_out = (*_NOT_COMPARED, *(() if same_weights else _OF_THE_WEIGHTS))
    names = [{path.relative_to(each).as_posix() for path in each.rglob("*") if path.is_file()} for each in (one, other)]
    kept = [{name for name in found if not any(fnmatch.fnmatch(name, out) for out in left_out)} for found in names]
    if kept[0] != kept[1]:
        return f"files differ: {', '.join(sorted(kept[0] ^ kept[1]))}"
    for name in sorted(kept[0]):
        read = next((rule for pattern, rule in _RULES.items() if fnmatch.fnmatch(name, pattern)), _bytes)
        if read(one / name) != read(other / name):
            return f"{name} differs"
    return ""


def _bytes(path: pathlib.Path) -> object:
    return path.read_bytes()


def _arrays(path: pathlib.Path) -> object:
    found: dict[str, bytes] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()].tobytes()}) if hasattr(item, "shape") else None)
    return found


def _history(path: pathlib.Path) -> object:
    return [{**entry, "pixels_per_second": 0} for entry in json.loads(path.read_text(encoding="utf-8"))]


def _index(path: pathlib.Path) -> object:
    with path.open(newline="", encoding="utf-8") as file:
        return [{**row, "status": "", "seconds": ""} for row in csv.DictReader(file)]


def _timeless(path: pathlib.Path) -> object:
    dataset = pydicom.dcmread(path)

    def forget_moments(dataset: pydicom.Dataset, element: pydicom.DataElement) -> None:
        if element.VR in ("DA", "TM", "DT"):
            element.value = ""

    dataset.walk(forget_moments)
    return dataset.to_json()


_NOT_COMPARED = (
    "checkpoints/*",
    "tensorboard/*",
    "training.log",
    "*/saved_model.pb",
    "*/fingerprint.pb",
    "*/SHA256SUMS",
)
_OF_THE_WEIGHTS = ("*/metadata.json", "*/statistics.json", "*/report.html", "*.dcm")
_RULES: Mapping[str, Callable[[pathlib.Path], object]] = {
    "*.weights.h5": _arrays,
    "history.json": _history,
    "predictions.csv": _index,
    "*.dcm": _timeless,
}
