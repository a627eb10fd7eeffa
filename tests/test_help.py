"""--help of every command: a page of 60 lines of 120 columns, at once, what matters first."""

import functools
import re
import subprocess
import sys

import pytest

from tests.fakes.commands import ROOT, environment

LINES, COLUMNS = 60, 120
COMMANDS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("data_prep", "calcseg_tf")
    for path in (ROOT / package).rglob("*.py")
    if re.search(r"^    (command\.)?run\(\w+\)$", path.read_text(), re.MULTILINE)
)
HEAVY = {
    "tensorflow", "keras", "tensorflow_addons", "tensorboard", "matplotlib", "scipy", "pydicom", "grpc", "apache_beam",
}  # fmt: skip
# What the paper tells of its training, in the order in which one thinks of it.
PAPER = (
    "records_dir", "model_dir", "model", "loss", "negatives_per_positive", "crop_size", "global_batch_size",
    "learning_rate", "optimizer", "momentum", "max_rotation_degrees", "horizontal_flip", "epochs",
)  # fmt: skip


def ask(command, *arguments):
    return subprocess.run(
        [sys.executable, *arguments[1:], "-m", command, arguments[0]],
        cwd=ROOT, env={**environment(), "COLUMNS": "80"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@functools.cache
def page_of(command):
    return ask(command, "--help")


def flags_of(page):
    return re.findall(r"^  --(?:\[no\])?(\w+) ", page, re.MULTILINE)


def test_these_are_the_commands():
    assert len(COMMANDS) >= 12
    assert {"data_prep.convert", "calcseg_tf.train", "calcseg_tf.serving.client"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_page(command):
    ended = page_of(command)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= COLUMNS
    names = flags_of(ended.stdout)
    assert names
    assert len(names) == len(set(names))
    assert "repeat this option" not in ended.stdout  # absl's own words, behind our full stop
    assert lines[0].endswith((".", "...", "=RECORDS"))  # what it does, before any flag


@pytest.mark.parametrize("command", COMMANDS)
def test_help_comes_at_once_because_nothing_heavy_is_imported(command):
    ended = ask(command, "--help", "-X", "importtime")
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in ended.stderr.splitlines()}
    assert not imported & HEAVY


@pytest.mark.parametrize("command", COMMANDS)
def test_what_must_be_given_stands_first_and_is_asked_for_by_name(command):
    page = page_of(command).stdout
    told = re.split(r"^  --(?:\[no\])?(\w+) ", page, flags=re.MULTILINE)[1:]
    required = ["(required)" in text for text in told[1::2]]
    assert any(required)
    assert required == sorted(required, reverse=True)
    names = [name for name, must in zip(told[::2], required, strict=True) if must]
    ended = ask(command, "--nohelp")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: {', '.join(f'--{name}' for name in names)} must be given; ")
    assert ended.stderr.endswith("--help tells of every flag\n")


def test_train_has_the_papers_flags_first_and_their_values_as_defaults():
    page = page_of("calcseg_tf.train").stdout
    assert tuple(flags_of(page)[: len(PAPER)]) == PAPER
    by_name = {line.split()[0]: line for line in page.splitlines() if line.startswith("  --")}
    assert by_name["--negatives_per_positive"].endswith(" (default 3)")
    assert by_name["--learning_rate"].endswith(" (default 0.001)")
    assert by_name["--[no]horizontal_flip"].endswith(" (default on)")
    assert "default" not in by_name["--[no]deterministic"]


def test_helpshort_is_the_same_page_and_helpfull_has_the_libraries_flags_too():
    page, short, full = (ask("data_prep.verify", flag).stdout for flag in ("--help", "--helpshort", "--helpfull"))
    assert page == short
    assert "--verbosity" not in page
    assert "--verbosity" in full
