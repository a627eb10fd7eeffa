"""Files of weights that reach for other files, or for more memory than there is."""

import json

import h5py
import numpy as np
import pytest

from calcseg_tf.fine_tuning import load_backbone_weights
from calcseg_tf.hdf5 import check_weights_file
from calcseg_tf.model_directory import WEIGHTS_FILE, load_network
from data_prep.errors import InputError
from tests.test_commands import write_model


def _external_link(file):
    file["a"] = h5py.ExternalLink("/etc/passwd", "/")


def _soft_link(file):
    file["a"] = h5py.SoftLink("/b")


def _kept_elsewhere(file):
    file.create_dataset("a", (4,), np.uint8, external=[("/etc/passwd", 0, 4)])


def _virtual(file):
    layout = h5py.VirtualLayout((4,), np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "a", (4,))
    file.create_virtual_dataset("a", layout)


def _claims_a_terabyte(file):
    file.create_dataset("a", (1 << 38,), np.float32, chunks=(1024,))


def _claims_it_in_parts(file):
    for number in range(5):
        file.create_dataset(f"deep/{number}", (1 << 26,), np.float32, chunks=(1024,))


def _one_value_of_a_chunk_of_gigabytes(file):
    file.create_dataset("a", (1,), np.float32, maxshape=(None,), chunks=(1 << 29,), compression="gzip")


def _of_any_length(file):
    file.create_dataset("a", (4,), h5py.vlen_dtype(np.float32))


@pytest.mark.parametrize(
    ("write", "rule"),
    [
        (_external_link, "found a link"),
        (_soft_link, "found a link"),
        (_kept_elsewhere, "kept elsewhere"),
        (_virtual, "kept elsewhere"),
        (_claims_a_terabyte, "at most 1073741824 bytes"),
        (_claims_it_in_parts, "at most 1073741824 bytes"),
        (_one_value_of_a_chunk_of_gigabytes, "at most 1073741824 bytes"),
        (_of_any_length, "arrays of numbers alone"),
    ],
)
def test_a_file_of_weights_holds_its_own_arrays_and_no_more_than_memory(tmp_path, write, rule):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write(file.create_group("inner"))
    with pytest.raises(InputError, match=rule) as error:
        check_weights_file(tmp_path / "a.h5")
    assert str(error.value).startswith(str(tmp_path / "a.h5"))


def test_a_group_that_holds_itself_ends(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("a")
        group["b"] = group
        file["a/c"] = np.zeros(3)
    check_weights_file(tmp_path / "a.h5")


def test_weights_are_checked_before_keras_reads_them(tmp_path):
    model = write_model(tmp_path / "model")
    load_network(model)  # its own pass
    with h5py.File(model / WEIGHTS_FILE, "a") as file:
        _kept_elsewhere(file.create_group("more"))
    with pytest.raises(InputError, match="kept elsewhere"):
        load_network(model)


def test_weights_of_a_backbone_are_checked_before_keras_reads_them(tmp_path):
    import keras

    backbone = keras.Sequential([keras.layers.Conv2D(1, 1, name="conv", input_shape=(4, 4, 1))], name="backbone")
    network = keras.Sequential([backbone])
    backbone.save_weights(tmp_path / "a.h5")
    load_backbone_weights(network, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        _external_link(file.create_group("more"))
    with pytest.raises(InputError, match="found a link"):
        load_backbone_weights(network, tmp_path / "a.h5")


def test_a_deeply_nested_config_is_one_line(tmp_path):
    model = write_model(tmp_path / "model")
    (model / "config.json").write_text('{"a":' * 100_000)
    with pytest.raises(InputError, match="not a readable model config"):
        load_network(model)


@pytest.mark.parametrize("data", [b"PK\3\4" + bytes(100), b"\x80\4cos\nsystem\n(S'touch /tmp/x'\ntR.", b""])
def test_weights_that_are_a_keras_archive_or_a_pickle_are_refused_unread(tmp_path, data):
    model = write_model(tmp_path / "model")
    (model / WEIGHTS_FILE).write_bytes(data)
    with pytest.raises(InputError, match="not weights of this network"):
        load_network(model)


@pytest.mark.parametrize(
    "model",
    [
        {"name": "fcn", "widths": [4, 4_000_000_000]},
        {"name": "unet", "widths": [64, 4_000_000_000]},
        {"name": "deeplabv3", "channels": 4_000_000},
    ],
)
def test_a_config_of_a_network_that_no_memory_has_is_one_line(tmp_path, model):
    folder = write_model(tmp_path / "model")
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "model": model}))
    with pytest.raises(InputError, match="a network has at most 268435456 weights"):
        load_network(folder)
