import importlib.util
import sys

import pytest

from data_prep.conversion.pipeline import ConvertConfig, make_plan, write_plan
from data_prep.datasets import Folder
from data_prep.errors import InputError, UnfinishedError
from data_prep.schema import from_example
from data_prep.tfrecord import read_tfrecord
from tests.fakes.commands import assert_one_line_error, run_module
from tests.fakes.folder import write_folder

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="Apache Beam is not installed (requirements-beam.txt)"
)
IN_PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
PATIENTS = tuple(f"ID-{number:04d}" for number in range(4))


def config(data_dir, output_dir, **settings):
    settings = {"examples_per_shard": 2, "salt_file": output_dir.parent / "salt", **settings}
    return ConvertConfig(Folder(), data_dir, output_dir, **settings)


def convert(data_dir, output_dir, **settings):
    return write_plan(make_plan(config(data_dir, output_dir, **settings)))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def shards(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.tfrecord")}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """8 images of 4 patients; the pixels of one are cut."""
    root = write_folder(tmp_path_factory.mktemp("data"), PATIENTS, views=2)
    cut = root / "case1" / "view0.dcm"
    cut.write_bytes(cut.read_bytes()[:-50])
    return root


@needs_beam
@pytest.mark.parametrize("options", [(), pytest.param(IN_PROCESSES, marks=pytest.mark.slow)])
def test_beam_gives_the_records_and_the_bytes_of_the_local_runner(data_dir, tmp_path, options):
    local = convert(data_dir, tmp_path / "local")
    beam = convert(data_dir, tmp_path / "beam", runner="DirectRunner", beam_options=options)
    for split in ("train", "test"):
        pairs = zip(local.manifest.shards(split), beam.manifest.shards(split), strict=True)
        for ours, theirs in pairs:
            for record, other in zip(read_tfrecord(ours), read_tfrecord(theirs), strict=True):
                assert record == other
                assert from_example(record).image_id == from_example(other).image_id
    assert contents(tmp_path / "local") == contents(tmp_path / "beam")
    assert len(beam.rejected) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beam", "local", "salt"]


@needs_beam
def test_the_command_takes_a_beam_runner_with_its_options(data_dir, tmp_path):
    ended = run_module(
        "data_prep.convert",
        data_dir=data_dir, output_dir=tmp_path / "out", runner="DirectRunner", beam_options="--direct_num_workers=1",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "by Apache Beam's DirectRunner" in ended.stdout
    assert (tmp_path / "out" / "manifest.json").is_file()


@needs_beam
def test_what_a_local_run_left_is_finished_by_beam(data_dir, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("data_prep.conversion.pipeline.summarise", interrupted)
        with pytest.raises(UnfinishedError):
            convert(data_dir, tmp_path / "out")
    (tmp_path / "out" / "train-00001-of-00003.tfrecord").unlink()
    before = shards(tmp_path / "out")
    with pytest.raises(InputError, match="a runner is one of"):  # a slip that costs nothing of what is there
        convert(data_dir, tmp_path / "out", runner="DirctRunner")
    assert shards(tmp_path / "out") == before
    assert convert(data_dir, tmp_path / "out", runner="DirectRunner").kept == 3
    convert(data_dir, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@needs_beam
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"runner": "DirctRunner"}, "a runner is one of local, .*; found 'DirctRunner'; did you mean DirectRunner"),
        ({"runner": "FnApiRunner", "beam_options": ("--direct_workers=2",)}, "Beam has no option --direct_workers"),
        ({"runner": "FnApiRunner", "beam_options": ("--direct_num_workers=x",)}, "Beam does not take these options"),
        ({"runner": "FnApiRunner", "strict": True}, r"view0.dcm: PixelData \(7FE0,0010\) cannot be decoded"),
    ],
)
def test_errors_of_a_beam_run_are_one_line_and_leave_nothing(data_dir, tmp_path, settings, words):
    with pytest.raises(InputError, match=words):
        convert(data_dir, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


@needs_beam
def test_a_failed_beam_run_keeps_what_is_whole(data_dir, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("data_prep.conversion.shard_writer.write_tfrecord", full)
        with pytest.raises(UnfinishedError, match=r"stopped \(.*No space left.*the same command goes on"):
            convert(data_dir, tmp_path / "out", runner="FnApiRunner")
    convert(data_dir, tmp_path / "out", runner="FnApiRunner")


def test_a_runner_of_beam_needs_beam(data_dir, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"DirectRunner runs on Apache Beam: pip install -r requirements-beam.txt"):
        config(data_dir, tmp_path / "out", runner="DirectRunner")


def test_options_of_beam_need_a_runner_of_beam(data_dir, tmp_path):
    for options, words in (("--x=1", "name a Beam runner with --runner"), ("'", "a quotation mark is missing")):
        ended = run_module(
            "data_prep.convert", data_dir=data_dir, output_dir=tmp_path / "out", beam_options=options
        )  # fmt: skip
        assert_one_line_error(ended, "--beam_options: ", words)
