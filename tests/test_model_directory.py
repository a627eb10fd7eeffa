import json
import os

import h5py
import numpy as np
import pytest

from calcseg_tf.model_directory import ModelInfo, copy_weights, load_network, read_info, save_weights, write_info
from calcseg_tf.models import build_network, model_config
from data_prep.command import DISCLAIMER
from data_prep.errors import InputError

TINY = {"widths": (4,), "kernel_sizes": (3, 5), "head_kernel_size": 3}


def info_of(**values):
    given = {
        "model": model_config("fcn", **TINY),
        "training": {"epochs": 3, "inputs": {"crop_size": 8}},
        "data": {"data_set": "fake", "intensity_mean": 0.25},
        "operating_threshold": 0.125,
        "operating_threshold_rule": "a rule",
    }
    return ModelInfo(**{**given, **values})


@pytest.fixture
def model_dir(tmp_path):
    write_info(tmp_path / "model", info_of())
    network = build_network(model_config("fcn", **TINY))
    network.get_layer("normalization").set_statistics(0.25, 0.5)
    save_weights(tmp_path / "model", network)
    return tmp_path / "model"


def change(model_dir, **values):
    path = model_dir / "config.json"
    content = json.loads(path.read_text())
    for name, value in values.items():
        if value is None:
            del content[name]
        else:
            content[name] = value
    path.write_text(json.dumps(content))


def test_what_is_written_is_read(tmp_path):
    network = build_network(model_config("fcn", **TINY))
    network.get_layer("normalization").set_statistics(0.25, 0.5)
    write_info(tmp_path, info_of())
    save_weights(tmp_path, network)
    read, info = load_network(tmp_path)
    assert info == info_of()
    for one, other in zip(network.get_weights(), read.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.weights.h5"]
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["model"] == {"name": "fcn", "widths": [4], "kernel_sizes": [3, 5], "head_kernel_size": 3}
    assert written["disclaimer"] == DISCLAIMER
    assert set(written["versions"]) == {"tensorflow", "keras"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schema_version": 2}, "schema_version must be 1; found 2"),
        ({"schema_version": None}, "not a readable model config"),
        ({"model": None}, "not a readable model config"),
        ({"model": "fcn"}, "not a readable model config"),
        ({"model": {"name": "fnc"}}, "did you mean fcn"),
        ({"model": {"name": ["fcn"]}}, "not a readable model config"),
        ({"model": {"name": "fcn", "widths": [3]}}, "multiples of 4"),
        ({"model": {"name": "fcn", "widths": [4.0]}}, "whole numbers; found 4.0"),
        ({"model": {"name": "fcn", "widths": "four"}}, "whole numbers; found 'f'"),
        ({"model": {"name": "fcn", "depth": 3}}, "found depth"),
        ({"operating_threshold": 1.5}, "between 0 and 1; found 1.5"),
        ({"operating_threshold": float("nan")}, "between 0 and 1; found nan"),
        ({"operating_threshold": "high"}, "not a readable model config"),
        ({"data": []}, "data must be an object; found a list"),
        ({"training": "none"}, "training must be an object; found a str"),
    ],
)
def test_a_damaged_config_is_one_line_that_names_it(model_dir, values, message):
    change(model_dir, **values)
    with pytest.raises(InputError, match=message) as raised:
        read_info(model_dir)
    assert raised.value.where == str(model_dir / "config.json")
    assert "\n" not in str(raised.value)


def test_a_threshold_that_no_number_holds_is_one_line(model_dir):
    path = model_dir / "config.json"
    path.write_text(path.read_text().replace("0.125", "9" * 400))
    with pytest.raises(InputError, match="not a readable model config"):
        read_info(model_dir)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null", b'"text"'])
def test_a_config_that_is_no_json_object_is_one_line_that_names_it(model_dir, content):
    (model_dir / "config.json").write_bytes(content)
    with pytest.raises(InputError, match="not a readable model config") as raised:
        load_network(model_dir)
    assert raised.value.where == str(model_dir / "config.json")


def test_missing_parts_are_named(model_dir, tmp_path):
    with pytest.raises(InputError, match="must be a folder; found none"):
        load_network(tmp_path / "nowhere")
    (model_dir / "model.weights.h5").unlink()
    with pytest.raises(InputError, match=r"model\.weights\.h5, which the end of a training writes; found none"):
        load_network(model_dir)
    (model_dir / "config.json").unlink()
    with pytest.raises(InputError, match=r"needs config\.json; found none"):
        load_network(model_dir)


@pytest.mark.parametrize("damage", ["empty", "garbage", "truncated", "half"])
def test_damaged_weights_are_one_line_that_names_them(model_dir, damage):
    path = model_dir / "model.weights.h5"
    data = path.read_bytes()
    wrong = {"empty": b"", "garbage": b"\x00\x01" * 3000, "truncated": data[:-1], "half": data[: len(data) // 2]}
    path.write_bytes(wrong[damage])
    with pytest.raises(InputError, match="not weights of this network") as raised:
        load_network(model_dir)
    assert raised.value.where == str(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "other",
    [
        {"widths": (8,)}, {"widths": (4, 4)}, {"widths": ()}, {"kernel_sizes": (3, 7)}, {"kernel_sizes": (3,)},
        {"head_kernel_size": 5},
    ],
)  # fmt: skip
def test_weights_of_another_network_are_refused(tmp_path, other):
    if other == {"widths": ()}:  # the file holds a block more than the config
        write_info(tmp_path, info_of())
        save_weights(tmp_path, build_network(model_config("fcn", **{**TINY, "widths": (4, 4)})))
    else:
        write_info(tmp_path, info_of(model=model_config("fcn", **{**TINY, **other})))
        save_weights(tmp_path, build_network(model_config("fcn", **TINY)))
    with pytest.raises(InputError, match="not weights of this network"):
        load_network(tmp_path)


class FailsHalfway:
    def __init__(self, error):
        self.error = error

    def save_weights(self, path):
        path.write_bytes(b"half of")
        raise self.error


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_older_weights_and_nothing_else(model_dir, error):
    before = (model_dir / "model.weights.h5").read_bytes()
    with pytest.raises(type(error)):
        save_weights(model_dir, FailsHalfway(error))
    assert (model_dir / "model.weights.h5").read_bytes() == before
    assert sorted(os.listdir(model_dir)) == ["config.json", "model.weights.h5"]


def test_a_config_that_cannot_be_written_leaves_the_older_one(model_dir):
    before = (model_dir / "config.json").read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        write_info(model_dir, info_of(data={"intensity_mean": float("nan")}))
    assert (model_dir / "config.json").read_bytes() == before
    assert sorted(os.listdir(model_dir)) == ["config.json", "model.weights.h5"]


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "model").write_text("a file")
    with pytest.raises(OSError, match="model"):
        write_info(tmp_path / "model", info_of())
    with pytest.raises(InputError, match="must be a folder"):
        read_info(tmp_path / "model")


def change_one_value(path):
    with h5py.File(path, "r+") as file:
        arrays = []
        file.visititems(
            lambda name, item: arrays.append(item) if isinstance(item, h5py.Dataset) and item.size else None
        )
        values = arrays[0][()].reshape(-1).copy()
        values[0] = np.nextafter(values[0], np.float32(9))
        arrays[0][...] = values.reshape(arrays[0].shape)


def test_one_changed_value_of_the_weights_is_noticed(model_dir):
    path = model_dir / "model.weights.h5"
    change_one_value(path)
    with pytest.raises(InputError, match="the weights are damaged") as raised:
        load_network(model_dir)
    assert raised.value.where == str(path)


def test_a_copy_of_damaged_weights_replaces_nothing(model_dir):
    best, path = model_dir / "best.weights.h5", model_dir / "model.weights.h5"
    copy_weights(model_dir, path.name, best.name)
    good = path.read_bytes()
    assert best.read_bytes() == good
    change_one_value(best)
    for damaged, rule in (
        (best.read_bytes(), "are damaged"),
        (good[:-3], "not weights"),
        (b"no weights", "not weights"),
    ):
        best.write_bytes(damaged)
        with pytest.raises(InputError, match=rule) as raised:
            copy_weights(model_dir, best.name, path.name)
        assert raised.value.where == str(best)
        assert path.read_bytes() == good
    assert sorted(each.name for each in model_dir.iterdir()) == ["best.weights.h5", "config.json", "model.weights.h5"]


def test_weights_of_an_earlier_version_hold_no_digest_and_are_read(model_dir):
    with h5py.File(model_dir / "model.weights.h5", "r+") as file:
        del file.attrs["sha256"]
    load_network(model_dir)
