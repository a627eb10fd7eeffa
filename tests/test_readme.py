"""Every command of README and docs, run as written by a stranger in a fresh folder, in a terminal.

Those in the headers of configs are run by tests/test_configs.py.
"""

import re
import shutil
import subprocess
import sys
import urllib.request

import pytest

from tests.fakes.commands import ROOT, heed_interrupt
from tests.fakes.documented import in_a_terminal, strangers_environment, typed_commands, write_inputs

DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

# CI runs the second and the small form of the first (.ci/run): nothing else is left out.
RUN_BY_CI = ("make demo", "make test")
# What is appended to commands that would take hours as written, or change the environment of this very test.
APPENDED = {
    "calcseg_tf.train": "--epochs=1 --steps_per_epoch=2 --crop_size=64 --global_batch_size=2 --operating_images=2",
    "data_prep.synthesize": "--images=4 --field_height_mm=40 --field_width_mm=32",
    "make": "--dry-run",
    "pip": "--dry-run --no-deps --no-build-isolation --quiet",
    "tensorboard": "--port 0",
}
# What libraries say when nobody stops them.
NOISE = re.compile(
    r"tensorflow|keras|absl|pydicom|addons|cuda|cudnn|onednn|xla|grpc|site-packages|warn\(|Warning:|deprecat|traceback"
    r"|^[IWEF]\d{4} |^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
    re.IGNORECASE | re.MULTILINE,
)


def documented():
    for document in DOCUMENTS:
        yield from typed_commands(str(document.relative_to(ROOT)), document.read_text())


COMMANDS = [command for command in documented() if not command.text.startswith(RUN_BY_CI)]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    folder = tmp_path_factory.mktemp("house")
    write_inputs(folder)
    (folder / ".venv").symlink_to(sys.prefix)
    run_ours(folder, "python -m data_prep.convert --dataset=folder --data_dir=DATA --output_dir=RECORDS")
    return folder


@pytest.fixture(scope="module")
def blocks():
    """Outputs that earlier blocks made and the one being followed makes anew, by block."""
    return {}


def make_room(folder, command, blocks):
    """A command meets its output as a stranger's would: not there. What an earlier block made is back for the next."""
    for place in [*blocks]:
        if place != command.place:
            for name in blocks.pop(place):
                shutil.rmtree(folder / name, ignore_errors=True)
                (folder / f"{name}.before").rename(folder / name)
    for name in command.outputs:
        if (folder / name).exists():
            before = folder / f"{name}.before"
            if before.exists():
                shutil.rmtree(folder / name)
            else:
                (folder / name).rename(before)
                blocks.setdefault(command.place, []).append(name)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.place}: {command.text[:90]}")
def test_a_documented_command_runs_as_written(command, house, blocks):
    make_room(house, command, blocks)
    if command.module is None:
        others = {
            "tensorboard": run_tensorboard,
            "docker": run_docker,
            "sha256sum": run_sha256sum,
            "source": run_source,
        }
        others.get(command.program, run_tool)(command, house)
        return
    assert command.module.startswith(("data_prep.", "calcseg_tf.")), f"nobody knows how to run {command.text!r}"
    if command.module == "calcseg_tf.serving.client":
        run_client(command, house)
        return
    run_ours(house, command.text, APPENDED.get(command.module, ""))
    for name in command.outputs:
        assert any((house / name).iterdir())


def run(folder, *words):
    status, shown = in_a_terminal(" ".join(filter(None, words)), folder)
    assert status == 0, f"exit status {status} of {' '.join(words)}:\n{shown}"
    return shown


def run_ours(folder, *words):
    shown = run(folder, *words)
    noise = [line for line in re.split(r"[\r\n]", shown) if NOISE.search(line)]
    assert not noise, f"{' '.join(words)} shows what a library says:\n" + "\n".join(noise)


def run_source(command, house):
    """The environment of these tests stands for the one that make_env.sh makes."""
    if not (house / ".venv/bin/activate").is_file():
        pytest.skip("these tests run in no virtual environment")
    shown = run(house, command.text, "&& python -c 'import sys; print(sys.prefix)'")
    assert shown.strip() == sys.prefix


def run_tool(command, house):
    assert command.program in APPENDED, f"nobody knows how to run {command.text!r}"
    run(house, command.text.split(" #")[0], APPENDED[command.program])


def run_sha256sum(command, house):
    """In the folder of the version that was exported, as the text before it says."""
    (version,) = (house / "models/calcseg").iterdir()
    run(version, command.text)


def run_docker(command, house):
    assert " up" in command.text
    if in_a_terminal("docker compose version", house)[0] != 0:
        pytest.skip("docker compose is not here: configs/serving is checked by tests/serving/test_configs.py alone")
    run(house, command.text.replace(" up", " config --quiet"))


def run_tensorboard(command, house):
    """Starts it, asks it for the run's figures, stops it."""
    process = subprocess.Popen(
        f"exec {command.text} {APPENDED['tensorboard']}", shell=True, cwd=house, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, preexec_fn=heed_interrupt, env=strangers_environment(),
    )  # fmt: skip
    try:
        said = ""
        while not (address := re.search(r"http://localhost:\d+/", said)):
            line = process.stdout.readline()
            assert line, said
            said += line
        with urllib.request.urlopen(f"{address[0]}data/plugin/scalars/tags", timeout=60) as answer:
            assert "loss" in answer.read().decode()
    finally:
        process.terminate()
        process.wait(60)


def run_client(command, house):
    """The server of these tests, with the model that was exported, stands for the one in docker."""
    import tensorflow as tf

    from tests.fakes.serving import Backend, grpc_server

    (version,) = (house / "models/calcseg").iterdir()
    with grpc_server(Backend(dict(tf.saved_model.load(str(version)).signatures))) as server:
        assert "--server=localhost:8500 " in command.text
        run_ours(house, command.text, f"--server={server}")
    assert (house / "PREDICTIONS/predictions.csv").is_file()


def test_a_command_that_nobody_knows_is_noticed():
    text = "a `tar xf archive.tar`, `DATA`, `a.cfg b`\n"
    text += "```\nmake it # so\nX=1 python -m calcseg_tf.train \\\n   --seed=1\n```\n"
    text += "```json\n{}\n```\n```\n== Times\n```\nand `python -m\nx.y`"
    assert [command.text for command in typed_commands("x", text)] == [
        "tar xf archive.tar", "make it # so", "X=1 python -m calcseg_tf.train --seed=1", "python -m x.y",
    ]  # fmt: skip
    with pytest.raises(AssertionError, match=r"nobody knows how to run 'tar xf archive.tar'"):
        run_tool(typed_commands("x", text)[0], None)
    assert "data_prep.convert" in {command.module for command in COMMANDS}


def test_a_command_that_fails_or_lets_a_library_speak_is_noticed(tmp_path):
    run_ours(tmp_path, "echo Watch or review: tensorboard --logdir MODEL")
    with pytest.raises(AssertionError, match="exit status 3"):
        run_ours(tmp_path, "exit 3")
    for line in ("2026-11-24 03:00:00.1: I tensorflow/core/util", "W0102 03:04:05 x.py:1", "UserWarning: so"):
        with pytest.raises(AssertionError, match="shows what a library says"):
            run_ours(tmp_path, f"echo '{line}' >&2")


def test_every_flag_in_a_document_is_one_of_ours():
    known = {"profile", "logdir", "check"}  # of docker compose, tensorboard and sha256sum
    for path in [*(ROOT / "data_prep").glob("*.py"), *(ROOT / "calcseg_tf").rglob("*.py")]:
        known |= set(re.findall(r"flags\.DEFINE_\w+\(\s*\"(\w+)\"", path.read_text()))
    for document in DOCUMENTS:
        named = set(re.findall(r"(?<![\w-])--(?:no)?(?!no)([a-z]\w*)", document.read_text()))
        assert named - known - {"help", "flagfile", "debug"} == set()
