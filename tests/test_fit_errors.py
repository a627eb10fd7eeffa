"""What a training says where TensorFlow fails in the middle of it."""

import dataclasses
import hashlib

import pytest
import tensorflow as tf

from calcseg_tf.tensorboard_log import LogConfig
from calcseg_tf.training import train
from data_prep.atomic import write_text
from data_prep.errors import InputError
from data_prep.manifest import MANIFEST_NAME, read_manifest, render_manifest
from data_prep.tfrecord import Example, read_tfrecord, write_tfrecord
from tests.fakes.mammograms import write_speckled_records
from tests.test_trained_further import CONFIG


def empty_an_image(records_dir):
    """A record that is whole by every checksum, and whose image is none."""
    manifest = read_manifest(records_dir)
    infos = []
    for info in manifest.shard_infos:
        path = records_dir / info.name
        examples = [Example.FromString(record) for record in read_tfrecord(path)]
        if info.split == "train":
            for example in examples:
                example.features.feature["image/encoded"].bytes_list.value[0] = b""
        write_tfrecord(path, [example.SerializeToString() for example in examples])
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        infos.append(dataclasses.replace(info, bytes=path.stat().st_size, sha256=sha256))
    write_text(records_dir / MANIFEST_NAME, render_manifest(dataclasses.replace(manifest, shard_infos=tuple(infos))))


def test_an_image_that_cannot_be_decoded_is_one_line_of_the_records(tmp_path):
    write_speckled_records(tmp_path / "records", train=2)
    empty_an_image(tmp_path / "records")
    with pytest.raises(InputError, match="a record cannot be read") as raised:
        train(CONFIG, tmp_path / "records", tmp_path / "model", str, LogConfig(images_every_epochs=0))
    assert raised.value.where == str(tmp_path / "records")
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="not a readable PNG") as raised:  # where pictures are drawn it is read before
        train(CONFIG, tmp_path / "records", tmp_path / "other", str)
    assert raised.value.where == str(read_manifest(tmp_path / "records").shards("train")[0])


def test_what_tensorflow_says_of_anything_else_stays_as_it_is(tmp_path, monkeypatch):
    write_speckled_records(tmp_path / "records", train=2)

    def fit(*_, **__):
        raise tf.errors.NotFoundError(None, None, "No algorithm worked!")  # of cuDNN

    monkeypatch.setattr(tf.keras.Model, "fit", fit)
    with pytest.raises(tf.errors.NotFoundError, match="No algorithm worked"):
        train(CONFIG, tmp_path / "records", tmp_path / "model", str)
