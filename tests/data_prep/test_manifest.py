import dataclasses
import json

import pytest

from data_prep.command import DISCLAIMER
from data_prep.errors import InputError
from data_prep.manifest import Manifest, read_manifest, render_manifest
from tests.fakes.records import fake_record, write_fake_records


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Manifest:
    splits = {
        "train": [fake_record(name=f"t{index}", patient="p0") for index in range(3)],
        "test": [fake_record(name="e0", patient="p1")],
    }
    return write_fake_records(tmp_path_factory.mktemp("records"), splits, shards=2)


def test_a_manifest_is_read_as_it_was_written(manifest):
    assert read_manifest(manifest.directory) == manifest
    assert (manifest.directory / "manifest.json").read_text() == render_manifest(manifest)
    assert manifest.images == {"train": 3, "test": 1}
    assert manifest.patients == {"train": 1, "test": 1}
    assert manifest.calcifications == {"train": 3, "test": 1}
    assert manifest.pixels == {"train": 1440, "test": 480}
    assert manifest.disclaimer == DISCLAIMER


def test_shards_are_absolute_paths_in_order(manifest):
    assert manifest.shards("train") == [
        manifest.directory / "train-00000-of-00002.tfrecord",
        manifest.directory / "train-00001-of-00002.tfrecord",
    ]
    assert all(path.is_absolute() and path.is_file() for path in manifest.shards("test"))
    with pytest.raises(InputError, match="'val'"):
        manifest.shards("val")


def test_intensity_moments_are_those_of_all_train_pixels(manifest):
    pixels = fake_record().intensity().astype("float64")
    assert manifest.intensity_mean == pytest.approx(pixels.mean(), abs=1e-8)
    assert manifest.intensity_standard_deviation == pytest.approx(pixels.std(), abs=1e-8)


def test_a_missing_folder_and_an_unfinished_one_are_told_apart(tmp_path):
    with pytest.raises(InputError, match="no such folder of records"):
        read_manifest(tmp_path / "none")
    with pytest.raises(InputError, match="did not finish"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda document: document.update(schema_version=2), "schema_version must be 1; found 2"),
        (lambda document: document.pop("schema_version"), "not a manifest of records"),
        (lambda document: document.pop("shards"), "KeyError: 'shards'"),
        (lambda document: document["shards"][0].pop("sha256"), "sha256"),
        (lambda document: document["intensity"].update(standard_deviation=0.0), "standard deviation in"),
        (lambda document: document["intensity"].update(mean=float("nan")), "must be finite"),
        (lambda document: document["intensity"].update(mean=-0.1), "mean in"),
        (lambda document: document["counts"]["train"].update(images=10**400), "whole numbers, 0 or more"),
        (lambda document: document["counts"]["test"].update(images=True), "whole numbers, 0 or more; found True"),
        (lambda document: document["flags"].update(seed={}), "a flag is"),
        (lambda document: document.update(data_set="a\nb"), "one printable line"),
        (lambda document: document.update(rejected=[{"file": 1, "reason": ""}]), "texts"),
        (lambda document: document["split"]["e0"].update({"x" * 3000: 1}), "patient, split and nothing else"),
        (lambda document: document.update(split=[]), "not a manifest of records"),
        (lambda document: document["split"]["e0"].update(split="tess"), "found 'tess'"),
        (lambda document: document["shards"][0].update(split="test"), "named by its split"),
        (lambda document: document["shards"][0].update(name="../x"), "found '../x'"),
        (lambda document: document["shards"][0].update(bytes=1.5), "whole numbers"),
    ],
)
def test_a_manifest_of_another_form_is_refused(manifest, tmp_path, change, rule):
    document = json.loads(render_manifest(manifest))
    change(document)
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        read_manifest(tmp_path)
    assert rule in str(caught.value)
    assert len(caught.value.rule) < 200


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b"7", b"[" * 99_999, b'{"a":' * 99_999, b"9" * 9_999]
)
def test_a_file_that_is_no_manifest_is_refused(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match="not a manifest of records"):
        read_manifest(tmp_path)


def test_the_manifest_is_frozen(manifest):
    with pytest.raises(dataclasses.FrozenInstanceError):
        manifest.intensity_mean = 0.0


def test_every_flipped_bit_is_refused_or_changes_nothing(manifest, tmp_path):
    text = render_manifest(manifest).encode()
    path = tmp_path / "manifest.json"
    passed, unseen = [], []
    for position in range(len(text)):
        damaged = bytearray(text)
        damaged[position] ^= 1 << (position % 7)
        path.write_bytes(damaged)
        try:
            read = read_manifest(tmp_path)
        except InputError:
            pass
        else:
            passed.append((position, dataclasses.replace(read, directory=manifest.directory) == manifest))
        try:
            if render_manifest(read_manifest(tmp_path, changed=True)).encode() == damaged:  # what `verify` compares
                unseen.append(position)
        except InputError:
            continue
    assert unseen == []
    # The name of the checksum and the e of an exponent.
    assert {equal for _, equal in passed} == {True}
    assert len(passed) <= len("sha256_of_the_rest") + text.count(b"e-")


def test_a_changed_manifest_is_refused_and_one_without_a_checksum_is_not(manifest, tmp_path):
    document = json.loads(render_manifest(manifest))
    document["intensity"]["mean"] *= 0.5
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="changed since it was written: its own checksum does not fit"):
        read_manifest(tmp_path)
    assert read_manifest(tmp_path, changed=True).intensity_mean == document["intensity"]["mean"]
    del document["sha256_of_the_rest"]
    path.write_text(json.dumps(document))
    assert read_manifest(tmp_path).intensity_mean == document["intensity"]["mean"]
