"""The commands that a document tells its reader to type, and what they are to work on, small and real."""

import dataclasses
import os
import pathlib
import pty
import re
import shutil
import subprocess
import sys

import numpy as np

from tests.fakes.cbis_ddsm import Abnormality, Image, region, write_cbis_ddsm
from tests.fakes.commands import ROOT, environment
from tests.fakes.dicom import fake_uid, write_dicom
from tests.fakes.folder import fake_pixels, write_png
from tests.fakes.inbreast import FakeImage, roi, write_inbreast
from tests.fakes.torch_file import write_zip

__all__ = ["Typed", "in_a_terminal", "strangers_environment", "typed_commands", "write_inputs"]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = ("", "bash", "console", "sh", "shell")
_PROGRAMS = ("docker", "pip", "python", "source", "tensorboard", "uv")  # also where they are not installed
_ASSIGNMENT = re.compile(r"\w+=\S*")


@dataclasses.dataclass(frozen=True)
class Typed:
    """A command of a document.

    Attributes:
        place: File and line of the block, which is followed in order; a command in a sentence is a block of its own.
        text: As written, in one line.
    """

    place: str
    text: str

    @property
    def program(self) -> str:
        """Its first word behind assignments."""
        return next((word for word in self.text.split() if not _ASSIGNMENT.fullmatch(word)), "")

    @property
    def module(self) -> str | None:
        """What `python -m` runs."""
        found = re.search(r"\bpython3? -m (\S+)", self.text)
        return found and found[1]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The folders that it makes."""
        makes_a_model = self.module in ("calcseg_tf.train", "calcseg_tf.import_weights")
        return tuple(re.findall(r"--model_dir=(\S+)" if makes_a_model else r"--output_dir=(\S+)", self.text))


def typed_commands(name: str, text: str) -> list[Typed]:
    """Finds all commands of a Markdown text: lines of fenced blocks, and what stands in backticks and can be run.

    A block of another language than a shell's is none to type, nor one that begins with == (the demo's output).
    """
    typed = []
    fences = list(_FENCE.finditer(text))
    for fence in fences:
        if fence[1] in _SHELL and not fence[2].startswith("== "):
            lines = re.sub(r"\\\n\s*", "", fence[2]).splitlines()
            typed += [(fence.start(), line.strip()) for line in lines if line.split("#")[0].strip()]
    prose = _FENCE.sub(lambda fence: " " * len(fence[0]), text)
    for span in re.finditer(r"(?<!`)`([^`]+)`(?!`)", prose):
        line = " ".join(span[1].split())
        program = Typed(name, line).program
        if " " in line and (program in _PROGRAMS or shutil.which(program)):
            typed.append((span.start(), line))
    return [
        Typed(f"{name}, line {text.count(chr(10), 0, start) + 1}", line)
        for start, line in sorted(typed, key=lambda found: found[0])
    ]


def strangers_environment() -> dict[str, str]:
    """That of a person who has activated the environment of these tests, without what quietens TensorFlow in them."""
    quiet = ("TF_", "PYTHONWARNINGS", "PYTEST_")
    clean = {name: value for name, value in environment().items() if not name.startswith(quiet)}
    return {**clean, "PATH": f"{sys.prefix}/bin{os.pathsep}{clean['PATH']}", "TERM": "xterm"}


def in_a_terminal(command: str, folder: pathlib.Path, timeout_s: float = 580) -> tuple[int, str]:
    """Runs a command by bash as a person would; returns its exit status and all that the terminal showed."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        ["timeout", str(timeout_s), "bash", "-c", command],
        cwd=folder, env=strangers_environment(), stdin=subprocess.DEVNULL, stdout=end, stderr=end,
    )  # fmt: skip
    os.close(end)
    shown = b""
    try:
        while piece := os.read(terminal, 1 << 16):
            shown += piece
    except OSError:  # how a terminal ends
        pass
    finally:
        os.close(terminal)
    return process.wait(), shown.decode(errors="replace").replace("\r\n", "\n")


def write_inputs(folder: pathlib.Path) -> None:
    """Writes what the documents call DATA, INBREAST, MAMMOGRAM and so on, beside the project's own files.

    Eight DICOM mammograms of 96 x 80 px with masks, two data sets of 24 x 20 px in their own layouts, two exams of
    760 x 620 px, and a network of one block in PyTorch's format.
    """
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name != "build":
            (folder / path.name).symlink_to(path)
    for number in range(8):
        path = folder / "DATA" / f"{number}.dcm"
        pixels, mask = _spotted(number, 96, 80, ((20, 30), (50, 44), (70, 20)))
        options = {"PixelSpacing": [0.07, 0.07], "ImageLaterality": "LR"[number % 2], "ViewPosition": "CC"}
        write_dicom(path, pixels, patient_id=f"P{number // 2}", study_uid=fake_uid(7, number // 2), **options)
        write_png(path.with_suffix(".png"), mask)
    for name in ("MAMMOGRAM_OR_FOLDER", "FOLDER"):
        (folder / name).mkdir()
        for number in (0, 2):
            shutil.copy(folder / "DATA" / f"{number}.dcm", folder / name)
            np.save(folder / name / f"{number}.npy", np.zeros((96, 80), np.uint8))
    write_png(folder / "MAMMOGRAM_OR_FOLDER" / "b.png", _spotted(9, 96, 80, ((20, 30),))[0] * 16)
    shutil.copy(folder / "DATA" / "1.dcm", folder / "MAMMOGRAM")
    _write_archives(folder)
    places = tuple((row, column) for row in range(260, 600, 60) for column in range(190, 540, 70))
    for year, shift in ((2017, 0), (2018, 20)):
        pixels, _ = _spotted(17, 760, 620, tuple((row + shift, column - shift) for row, column in places), shift)
        options = {"PixelSpacing": [0.07, 0.07], "ImageLaterality": "L", "ViewPosition": "CC"}
        write_dicom(folder / f"{year}.dcm", pixels, AcquisitionDate=f"{year}0314", **options)
    write_zip(folder / "C__00900.weights", _paper_state())


def _write_archives(folder: pathlib.Path) -> None:
    outline = ((2, 3), (6, 3), (6, 8), (2, 8))
    write_inbreast(
        folder / "INBREAST",
        [
            FakeImage(
                f"2058600{number}", f"{number // 2:016x}", "LR"[number % 2], "CC", (roi("Calcification", *outline),)
            )
            for number in range(8)
        ],
    )
    images = [
        Image(fake_pixels(number, bits=16), [Abnormality(region(2, 3, 6, 8))], f"P_0000{number // 2}", side)
        for number, side in enumerate(("LEFT", "RIGHT") * 4)
    ]
    write_cbis_ddsm(folder / "CBIS_DDSM", images)


def _spotted(
    seed: int, height: int, width: int, places: tuple[tuple[int, int], ...], shift: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """12-bit stored values and a mask, [height, width]: a breast on the left, spots of 3 x 3 px at (row, column)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    inside = ((rows - shift - height / 2) / (0.45 * height)) ** 2 + ((columns + shift) / (0.9 * width)) ** 2 < 1
    pixels = np.where(inside, 1200 + 300 * np.sin((rows - shift) / 19) * np.cos((columns + shift) / 23), 20)
    pixels = pixels + rng.normal(scale=15, size=pixels.shape)
    mask = np.zeros((height, width), np.uint8)
    for row, column in places:
        mask[row : row + 3, column : column + 3] = 255
    return np.where(mask, 3500, pixels).clip(0, 4095).astype(np.uint16), mask


def _paper_state() -> dict[str, np.ndarray]:
    """Random weights of the paper's kind of network, one block of four channels."""
    rng = np.random.default_rng(0)
    state: dict[str, np.ndarray] = {}
    for size in (3, 5, 7, 9):
        state[f"block1.conv{size}.weight"] = rng.normal(size=(1, 1, size, size)).astype(np.float32)
        state[f"block1.conv{size}.bias"] = np.zeros(1, np.float32)
    for part in ("weight", "bias", "running_mean", "running_var"):
        state[f"block1.bn.{part}"] = np.ones(4, np.float32)
    state["pred.weight"] = rng.normal(size=(1, 4, 3, 3)).astype(np.float32)
    state["pred.bias"] = np.full(1, -3, np.float32)
    return state
