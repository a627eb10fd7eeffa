import pathlib
import pickle
import tempfile
import uuid

import numpy as np
import pytest

from calcseg_tf.input_pipeline import InputConfig, training_batches
from data_prep.atomic import remove_scratch, temporary_beside, write_text
from data_prep.conversion.pipeline import ConvertConfig, make_plan, write_plan
from data_prep.conversion.shards import file_sha256
from data_prep.datasets import Folder
from data_prep.errors import InputError, UnfinishedError
from data_prep.manifest import read_manifest
from data_prep.remote import RemotePath, is_remote, records_path
from data_prep.verification import verify_records
from tests.fakes.commands import assert_one_line_error, run_module
from tests.fakes.folder import write_folder

PATIENTS = ("ID-0001", "ID-0002", "ID-0003", "ID-0004")


@pytest.fixture
def remote():
    """A folder of its own on TensorFlow's second file system, which lives in memory."""
    return records_path(f"ram://{uuid.uuid4().hex}/records")


def convert(data_dir, output_dir, salt, **settings):
    settings = {"examples_per_shard": 2, "salt_file": salt, **settings}
    return write_plan(make_plan(ConvertConfig(Folder(), data_dir, output_dir, **settings)))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_url_keeps_its_slashes_as_path_in_pickles_and_from_pathlib():
    path = records_path("gs://bucket/records")
    assert isinstance(path, RemotePath)
    assert str(path / "train.tfrecord") == "gs://bucket/records/train.tfrecord"
    assert str(pickle.loads(pickle.dumps(path / "a"))) == "gs://bucket/records/a"
    assert records_path(pathlib.Path("gs://bucket/records")) == path
    assert str(path.parent) == "gs://bucket"
    assert not is_remote("/data/records")
    assert not is_remote("records:2")
    assert records_path("records") == pathlib.Path("records")


def test_files_behave_as_local_ones(remote):
    assert not remote.exists()
    write_text(remote / "a.txt", "one")
    write_text(remote / "a.txt", "two")
    assert (remote / "a.txt").read_text() == "two"
    assert [path.name for path in remote.iterdir()] == ["a.txt"]
    assert (remote.is_dir(), remote.is_file()) == (True, False)
    assert ((remote / "a.txt").is_dir(), (remote / "a.txt").is_file()) == (False, True)
    assert (remote / "a.txt").stat().st_size == 3
    assert file_sha256(remote / "a.txt") == "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"
    (remote / "a.txt").unlink()
    (remote / "a.txt").unlink(missing_ok=True)
    for call in ((remote / "a.txt").unlink, (remote / "a.txt").stat, (remote / "a.txt").read_bytes):
        with pytest.raises(FileNotFoundError):
            call()


def test_records_on_another_file_system_are_those_of_a_local_folder(tmp_path, remote):
    data_dir = write_folder(tmp_path / "in", PATIENTS, views=2)
    local = convert(data_dir, tmp_path / "local", tmp_path / "salt")
    far = convert(data_dir, remote, tmp_path / "salt")
    assert contents(remote) == contents(tmp_path / "local")
    assert far.manifest.split == local.manifest.split
    manifest = read_manifest(str(remote))
    assert verify_records(remote).problems == ()
    config = InputConfig(crop_size=8, global_batch_size=2, steps_per_epoch=1, crops_per_image=2)
    (images, masks) = next(iter(training_batches(manifest, config)))
    (images_here, masks_here) = next(iter(training_batches(local.manifest, config)))
    np.testing.assert_array_equal(images, images_here)
    np.testing.assert_array_equal(masks, masks_here)
    with pytest.raises(InputError, match="already converted"):
        convert(data_dir, remote, tmp_path / "salt")


def test_an_interrupted_conversion_goes_on_there_too(tmp_path, remote, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    data_dir = write_folder(tmp_path / "in", PATIENTS, views=2)
    with monkeypatch.context() as patch:
        patch.setattr("data_prep.conversion.pipeline.summarise", interrupted)
        with pytest.raises(UnfinishedError, match="interrupted"):
            convert(data_dir, remote, tmp_path / "salt")
    (remote / "train-00001-of-00003.tfrecord").unlink()
    with pytest.raises(InputError, match="--seed was 0, now 1"):
        convert(data_dir, remote, tmp_path / "salt", seed=1)
    assert convert(data_dir, remote, tmp_path / "salt").kept == 3
    convert(data_dir, tmp_path / "whole", tmp_path / "salt")
    assert contents(remote) == contents(tmp_path / "whole")


def test_an_error_of_the_data_leaves_nothing_there(tmp_path, remote):
    data_dir = write_folder(tmp_path / "in", PATIENTS[:2], views=1)
    for path in data_dir.rglob("*.dcm"):
        path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="train split is empty"):
        convert(data_dir, remote, tmp_path / "salt")
    assert not remote.exists()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["s3", "hdfs"])
def test_a_file_system_that_tensorflow_lacks_is_refused_in_one_line(tmp_path, scheme):
    ended = run_module("data_prep.convert", data_dir=tmp_path, output_dir=f"{scheme}://bucket/records")
    assert_one_line_error(ended, f"{scheme}://bucket/records: TensorFlow has no file system {scheme}://", "gs, ram")
    assert list(tmp_path.iterdir()) == []


def test_data_and_salt_stay_on_this_machine(tmp_path, remote):
    with pytest.raises(InputError, match=r"--salt_file: records on another file system need a salt on this one"):
        ConvertConfig(Folder(), tmp_path, remote)
    with pytest.raises(InputError, match=r"--data_dir: must lie on this machine"):
        ConvertConfig(Folder(), pathlib.Path("gs://bucket/data"), tmp_path)
    with pytest.raises(InputError, match=r"--salt_file: must lie on this machine"):
        ConvertConfig(Folder(), tmp_path, remote, salt_file=pathlib.Path("gs://bucket/salt"))


def test_a_process_that_ends_at_once_leaves_nothing_of_remote_files(tmp_path, remote, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_beside(remote / "a") as local:
        local.write_bytes(b"pixels")
        assert [local.parent] == list(tmp_path.iterdir())
        remove_scratch()
        assert list(tmp_path.iterdir()) == []
        local.parent.mkdir()
        local.touch()
