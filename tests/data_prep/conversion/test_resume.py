import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from data_prep.conversion import shard_writer
from data_prep.conversion.pipeline import ConvertConfig, make_plan, write_plan
from data_prep.datasets import Folder
from data_prep.errors import InputError, UnfinishedError
from data_prep.manifest import read_manifest
from data_prep.tfrecord import read_tfrecord
from tests.fakes.commands import ROOT, assert_one_line_error, command, environment, heed_interrupt, run_module
from tests.fakes.dicom import fake_uid, write_dicom
from tests.fakes.folder import fake_mask, fake_pixels, write_folder, write_png

PATIENTS = tuple(f"ID-{number:04d}" for number in range(8))


def convert(data_dir, output_dir, **settings):
    settings = {"examples_per_shard": 2, "salt_file": output_dir.parent / "salt", **settings}
    return write_plan(make_plan(ConvertConfig(Folder(), data_dir, output_dir, **settings)))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """16 images of 8 patients; the mask of one turns out damaged after the headers were read, another warns."""
    root = write_folder(tmp_path_factory.mktemp("data"), PATIENTS, views=2)
    damaged = root / "case3" / "view0.png"
    damaged.write_bytes(damaged.read_bytes()[:-30])
    write_dicom(
        root / "case5" / "view1.dcm", fake_pixels(21), patient_id=PATIENTS[5], study_uid=fake_uid(77, 5),
        BreastImplantPresent="YES",
    )  # fmt: skip
    return root


@pytest.fixture(scope="module")
def undisturbed(data_dir, tmp_path_factory):
    """What a conversion writes that nothing stops."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    convert(data_dir, out)
    files = contents(out)
    assert len(files) == 9
    manifest = json.loads(files["manifest.json"])
    assert (len(manifest["rejected"]), len(manifest["warnings"])) == (1, 1)
    return out


@pytest.fixture
def salted(undisturbed, tmp_path):
    """A folder that holds the salt of `undisturbed`."""
    (tmp_path / "salt").write_bytes((undisturbed.parent / "salt").read_bytes())
    return tmp_path


# One process that holds TensorFlow forks children that convert, and kills each after a share of the whole time.
KILLING = """
import json, os, pathlib, shutil, signal, sys, time
import data_prep.conversion.pipeline as pipeline
from data_prep.datasets import Folder
data, out, shares = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), json.loads(sys.argv[3])
def start(out):
    config = pipeline.ConvertConfig(Folder(), data, out, examples_per_shard=2, salt_file=out.parent / "salt")
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        pipeline.write_plan(pipeline.make_plan(config))
        os._exit(0)
    return child
os.waitpid(start(out.parent / "first"), 0)
begin = time.monotonic()
os.waitpid(start(out.parent / "timed"), 0)
whole = time.monotonic() - begin
def finish():
    seen = []
    for share in shares:
        child = start(out)
        time.sleep(share * whole)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if (out / "manifest.json").exists() and not (out / ".unfinished" / "plan.json").exists():
            return seen  # killed, if at all, with nothing left to do
        shards = out.glob("*.tfrecord") if out.exists() else ()
        seen.append({path.name: [path.stat().st_ino, path.read_bytes().hex()] for path in shards})
    assert os.waitstatus_to_exitcode(os.waitpid(start(out), 0)[1]) == 0
    return seen
while len(seen := finish()) < 3:  # this machine's pace is uneven: it was through before it was killed three times
    shutil.rmtree(out)
    whole /= 2
os.waitpid(start(out), 0)  # it is there already: what a process that was killed while tidying up left goes
print(json.dumps(seen))
"""


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_at_random_moments_a_conversion_gives_the_bytes_of_an_undisturbed_one(
    data_dir, undisturbed, salted, seed
):
    out = salted / "out"
    draw = random.Random(seed)
    shares = [draw.uniform(0.05, 0.6) for _ in range(12)]
    ended = subprocess.run(
        [sys.executable, "-c", KILLING, str(data_dir), str(out), json.dumps(shares)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    seen = json.loads(ended.stdout)
    wanted = contents(undisturbed)
    kept = {}
    for found in seen:
        # Never a half shard; a shard that is there is never written again: it keeps its inode.
        assert all(bytes.fromhex(data) == wanted[name] for name, (_, data) in found.items())
        assert all(found[name][0] == inode for name, inode in kept.items())
        kept = {name: inode for name, (inode, _) in found.items()}
    assert contents(out) == wanted
    assert sorted(path.name for path in out.iterdir()) == sorted(wanted)


@pytest.mark.slow
def test_killed_with_its_workers_at_random_moments_the_command_finishes_what_is_missing(tmp_path):
    rows = ["file,patient"]
    for number in range(16):
        write_png(tmp_path / "in" / f"{number}.png", fake_pixels(number, 3000, 2000, bits=16))
        write_png(tmp_path / "in" / f"{number}_mask.png", fake_mask(number, 3000, 2000))
        rows.append(f"{number}.png,patient{number}")
    (tmp_path / "in" / "cases.csv").write_text("\n".join(rows))
    flags = {"data_dir": tmp_path / "in", "workers": 2, "examples_per_shard": 1, "salt_file": tmp_path / "salt"}
    assert run_module("data_prep.convert", **flags, output_dir=tmp_path / "whole").returncode == 0
    wanted = contents(tmp_path / "whole")
    draw, out = random.Random(0), tmp_path / "out"
    for shards in (1, 4, 8):
        running = begin_and_wait_for(shards, out, **flags)
        time.sleep(draw.uniform(0.0, 0.1))
        running.kill()
        running.communicate()
        assert not (out / "manifest.json").exists()
        assert all(wanted[path.name] == path.read_bytes() for path in out.glob("*.tfrecord"))
    ended = run_module("data_prep.convert", **flags, output_dir=out)
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"\d+ of 16 shards were there from an interrupted run", ended.stdout)
    assert contents(out) == wanted
    assert sorted(path.name for path in out.iterdir()) == sorted(wanted)


def begin_and_wait_for(shards, out, *popen, **flags):
    """Starts the command and returns it once that many shards are there."""
    running = subprocess.Popen(
        command("data_prep.convert", **flags, output_dir=out),
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=heed_interrupt,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(list(out.glob("*.tfrecord"))) < shards:
        assert time.monotonic() < deadline
        assert running.poll() is None, running.communicate()
        time.sleep(0.002)
    return running


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """60 images, which take seconds: the test that stops a conversion among them may itself have to wait for a core."""
    root = tmp_path_factory.mktemp("large")
    for number in range(60):
        pixels = fake_pixels(number, 900, 800)
        write_dicom(root / f"{number}.dcm", pixels, patient_id=f"ID-{number:04d}", study_uid=f"1.2.3.4.5.{number}")
        write_png(root / f"{number}.png", fake_mask(number, 900, 800))
    return root


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_whole_a_second_command_is_refused_and_the_same_one_goes_on(large, tmp_path):
    out, flags = tmp_path / "out", {"data_dir": large, "examples_per_shard": 2, "workers": 1}
    running = begin_and_wait_for(2, out, **flags)
    # While it runs, nobody else may write here.
    running.send_signal(signal.SIGSTOP)
    with pytest.raises(InputError, match="another conversion is writing into this folder"):
        convert(large, out, salt_file=tmp_path / "out.salt")
    running.send_signal(signal.SIGCONT)
    running.send_signal(signal.SIGINT)
    told, errors = running.communicate(timeout=60)
    assert_one_line_error(
        subprocess.CompletedProcess([], running.returncode, told, errors.replace("\r", "\n")),
        f"{out}: interrupted. Every shard that is whole stays: the same command goes on from there",
    )
    whole = {path.name: path.stat().st_ino for path in out.glob("*.tfrecord")}
    assert 2 <= len(whole) < 30
    with pytest.raises(InputError, match="did not finish"):
        read_manifest(out)
    conversion = convert(large, out, salt_file=tmp_path / "out.salt")
    assert conversion.kept == len(whole)
    assert {name: (out / name).stat().st_ino for name in whole} == whole
    convert(large, tmp_path / "whole", salt_file=tmp_path / "out.salt")
    assert contents(out) == contents(tmp_path / "whole")


# Only the size of one file may be limited without being root: the limit stands for the end of the disk.
FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv = ["data_prep.convert", *sys.argv[2:]]
import runpy
runpy.run_module("data_prep.convert", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_one_clear_error_and_the_rerun_goes_on(tmp_path, workers):
    for number in range(6):  # the last shard alone is too large
        height = 400 if number == 5 else 20
        pixels = fake_pixels(number, height, 400)
        write_dicom(tmp_path / "in" / f"{number}.dcm", pixels, patient_id=f"ID-{number}", study_uid=f"1.2.3.4.{number}")
        write_png(tmp_path / "in" / f"{number}.png", fake_mask(number, height, 400))
    out = tmp_path / "out"
    flags = {"data_dir": tmp_path / "in", "output_dir": out, "workers": workers, "examples_per_shard": 1}
    ended = subprocess.run(
        [sys.executable, "-c", FULL, "100000", *command("", **flags)[3:]],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    lines = ended.stderr.replace("\r", "\n")
    assert_one_line_error(
        subprocess.CompletedProcess([], ended.returncode, ended.stdout, lines),
        f"error: {out}: ", "File too large. Every shard that is whole stays", "the same command goes on from there",
    )  # fmt: skip
    kept = {path.name for path in out.glob("*.tfrecord")}
    assert all(len(list(read_tfrecord(out / name))) == 1 for name in kept)
    assert not list(out.glob(".*.partial"))
    assert convert(tmp_path / "in", out, examples_per_shard=1, salt_file=tmp_path / "out.salt").kept == len(kept)
    assert len(list(out.glob("*.tfrecord"))) == 6


def stopped(data_dir, out, monkeypatch, **settings):
    """Converts until the moment before the manifest."""
    with monkeypatch.context() as patch:
        patch.setattr("data_prep.conversion.pipeline.summarise", interrupted)
        with pytest.raises(UnfinishedError, match=r"interrupted. Every shard that is whole stays"):
            convert(data_dir, out, **settings)


def interrupted(*_, **__):
    raise KeyboardInterrupt


def test_what_stays_of_an_interrupted_conversion_names_no_patient(data_dir, salted, monkeypatch):
    stopped(data_dir, salted / "out", monkeypatch)
    files = [path for path in (salted / "out").rglob("*") if path.is_file()]
    assert {"plan.json", "lock", "test-00000-of-00002.tfrecord.json"} <= {path.name for path in files}
    output = b"".join(str(path.relative_to(salted)).encode() + path.read_bytes() for path in files)
    for secret in (*PATIENTS, "Musterfrau", "case3", "view0", str(data_dir), (salted / "salt").read_bytes().hex()):
        assert secret.encode() not in output


def change_a_mask(data_dir):
    path = data_dir / "case0" / "view0.png"
    write_png(path, fake_mask(2))


def add_an_image(data_dir):
    write_dicom(data_dir / "case0" / "more.dcm", fake_pixels(0), patient_id=PATIENTS[0])
    write_png(data_dir / "case0" / "more.png", fake_mask(0))


def touch_an_image(data_dir):
    os.utime(data_dir / "case0" / "view0.dcm", ns=(1, 1))


@pytest.mark.parametrize(
    ("settings", "change", "words"),
    [
        ({"seed": 3}, None, "--seed was 0, now 3"),
        ({"examples_per_shard": 3}, None, "--examples_per_shard was 2, now 3"),
        ({"public_ids": True, "salt_file": None}, None, "--public_ids was False, now True"),
        ({"salt_file": "other"}, None, "the source files or the salt have changed since"),
        ({}, change_a_mask, "the source files or the salt have changed since"),
        ({}, add_an_image, "the source files or the salt have changed since"),
        ({}, touch_an_image, "the source files or the salt have changed since"),
    ],
)
def test_another_plan_does_not_mix_with_what_is_there(tmp_path, monkeypatch, settings, change, words):
    data_dir, out = write_folder(tmp_path / "in", PATIENTS[:3], views=1), tmp_path / "out"
    stopped(data_dir, out, monkeypatch)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    if change is not None:
        change(data_dir)
    if settings.get("salt_file"):
        settings = {"salt_file": tmp_path / settings["salt_file"]}
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        convert(data_dir, out, **settings)
    assert "delete this folder" in str(caught.value)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_another_version_does_not_mix_with_what_is_there(data_dir, salted, monkeypatch):
    stopped(data_dir, salted / "out", monkeypatch)
    monkeypatch.setattr("data_prep.conversion.pipeline.versions", lambda: {"python": "4.0"})
    with pytest.raises(InputError, match=r"pydicom was 3\.\S+, now None"):
        convert(data_dir, salted / "out")


def test_the_data_may_move_between_runs(tmp_path, monkeypatch):
    data_dir = write_folder(tmp_path / "in", PATIENTS[:3], views=1)
    stopped(data_dir, tmp_path / "out", monkeypatch)
    data_dir.rename(tmp_path / "elsewhere")
    assert convert(tmp_path / "elsewhere", tmp_path / "out").kept == 2


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"[" * 99_999, b'{"a":' * 99_999, b"9" * 9_999, b"\xff", b'{"flags": 1}']
)
def test_a_damaged_plan_is_told_and_a_damaged_result_is_written_again(
    data_dir, undisturbed, salted, monkeypatch, content
):
    out = salted / "out"
    stopped(data_dir, out, monkeypatch)
    plan, result = out / ".unfinished" / "plan.json", out / ".unfinished" / "train-00001-of-00006.tfrecord.json"
    whole = plan.read_bytes()
    plan.write_bytes(content)
    with pytest.raises(InputError, match="holds the damaged rest of an unfinished conversion: delete this folder"):
        convert(data_dir, out)
    plan.write_bytes(whole)
    result.write_bytes(content)
    assert convert(data_dir, out).kept == 7
    assert contents(out) == contents(undisturbed)


@pytest.mark.parametrize("value", ["x" * 99_999, "two\nlines", "\x1b[31mred", "\ud800", [["x"] * 99] * 99, 10**4000])
def test_the_difference_of_a_damaged_plan_is_one_line(data_dir, salted, monkeypatch, value):
    out = salted / "out"
    stopped(data_dir, out, monkeypatch)
    plan = out / ".unfinished" / "plan.json"
    document = json.loads(plan.read_text())
    document["flags"]["seed"] = value
    document["flags"] |= {f"{value}"[:70] + str(index): index for index in range(99)}
    plan.write_text(json.dumps(document))
    with pytest.raises(InputError, match="another plan") as caught:
        convert(data_dir, out)
    assert caught.value.rule.isprintable()
    assert len(caught.value.rule) < 2000


@pytest.mark.parametrize("damage", ["shard", "result", "both gone"])
def test_a_damaged_shard_or_result_is_written_again(data_dir, undisturbed, salted, monkeypatch, damage):
    out = salted / "out"
    stopped(data_dir, out, monkeypatch)
    shard, result = out / "train-00001-of-00006.tfrecord", out / ".unfinished" / "train-00001-of-00006.tfrecord.json"
    if damage == "shard":
        data = bytearray(shard.read_bytes())
        data[100] ^= 1
        shard.write_bytes(data)
    elif damage == "result":
        result.write_text(result.read_text()[:-40])
    else:
        shard.unlink()
        result.unlink()
    assert convert(data_dir, out).kept == 7
    assert contents(out) == contents(undisturbed)


def test_killed_after_the_manifest_the_command_still_ends_well(data_dir, undisturbed, salted, monkeypatch):
    out = salted / "out"
    stopped(data_dir, out, monkeypatch)
    (out / "manifest.json").write_bytes((undisturbed / "manifest.json").read_bytes())
    (out / ".manifest.json.0123456789abcdef.partial").write_text("half")
    assert convert(data_dir, out).kept == 8
    assert contents(out) == contents(undisturbed)
    assert not (out / ".unfinished").exists()
    (out / ".unfinished").mkdir()  # killed while tidying up
    with pytest.raises(InputError, match="already converted"):
        convert(data_dir, out)
    assert not (out / ".unfinished").exists()


def test_an_error_of_the_data_leaves_nothing_even_of_a_resumed_run(tmp_path, monkeypatch):
    data_dir, out = write_folder(tmp_path / "in", PATIENTS[:3], views=1), tmp_path / "out"
    stopped(data_dir, out, monkeypatch)
    monkeypatch.setattr(
        "data_prep.conversion.pipeline.summarise", lambda *_, **__: (_ for _ in ()).throw(InputError("bad data"))
    )
    with pytest.raises(InputError, match="bad data"):
        convert(data_dir, out)
    assert list(out.iterdir()) == []


def test_a_salt_that_was_never_filled_is_made_and_an_old_one_stays(data_dir, tmp_path):
    (tmp_path / "salt").touch()
    convert(data_dir, tmp_path / "a")
    salt = (tmp_path / "salt").read_bytes()
    assert len(salt) == 32
    convert(data_dir, tmp_path / "b")
    assert (tmp_path / "salt").read_bytes() == salt
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


DYING = """
import os, pathlib, sys
import data_prep.png
if __name__ == "__mp_main__":  # in a worker: the first mask ends it
    data_prep.png.decode_grey_png.__code__ = (lambda data, bits=None: __import__("os")._exit(9)).__code__
from data_prep.command import run
from data_prep.datasets import Folder
from data_prep.conversion.pipeline import ConvertConfig, make_plan, write_plan
if __name__ == "__main__":
    data, out = map(pathlib.Path, os.environ["DATA_AND_OUT"].split(":"))
    run(lambda: write_plan(make_plan(ConvertConfig(Folder(), data, out, workers=2, examples_per_shard=2))) and None)
"""


def test_a_worker_that_dies_is_one_clear_line(data_dir, tmp_path):
    (tmp_path / "dying.py").write_text(DYING)
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "dying.py")],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(ROOT), "DATA_AND_OUT": f"{data_dir}:{tmp_path / 'out'}"},
    )
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert "--workers: a worker process ended with status 9" in last
    assert "the same command goes on from there" in last
    assert "Traceback" not in ended.stderr
    assert not list((tmp_path / "out").glob("*.tfrecord"))


def test_no_worker_outlives_a_killed_conversion(large, tmp_path):
    out = tmp_path / "out"
    running = begin_and_wait_for(1, out, data_dir=large, examples_per_shard=2, workers=2)
    workers = children_of(running.pid)
    assert len(workers) >= 2
    running.kill()
    running.communicate()
    deadline = time.monotonic() + 60
    while any(runs(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def runs(pid):
    """Whether a process is there; one that nobody reaps has ended too."""
    try:
        return "State:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def children_of(pid):
    found = []
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            parent = re.search(r"^PPid:\t(\d+)$", status.read_text(), re.MULTILINE)
        except OSError:
            continue
        if parent is not None and int(parent[1]) == pid:
            found.append(int(status.parent.name))
    return found


@pytest.mark.parametrize("strict", [False, True])
def test_a_disk_that_goes_away_stops_a_conversion_and_rejects_nothing(data_dir, tmp_path, monkeypatch, strict):
    away = tmp_path / "data"
    shutil.copytree(data_dir, away)
    (away / "case3" / "view0.png").write_bytes((data_dir / "case2" / "view0.png").read_bytes())  # none is damaged
    out, config = tmp_path / "out", {"examples_per_shard": 2, "salt_file": tmp_path / "salt", "strict": strict}
    plan = make_plan(ConvertConfig(Folder(), away, out, **config))
    make, made = shard_writer.make_record, []

    def unmount_at_the_fifth(job):
        made.append(job)
        if len(made) == 5:
            away.rename(tmp_path / "unmounted")
        return make(job)

    with monkeypatch.context() as patch:
        patch.setattr(shard_writer, "make_record", unmount_at_the_fifth)
        with pytest.raises(UnfinishedError) as raised:
            write_plan(plan)
    assert isinstance(raised.value.__cause__, UnfinishedError)
    assert "now it is not" in str(raised.value.__cause__)
    (tmp_path / "unmounted").rename(away)
    write_plan(make_plan(ConvertConfig(Folder(), away, out, **config)))
    assert json.loads((out / "manifest.json").read_text())["rejected"] == []
