import dataclasses
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.errors import InputError
from data_prep.manifest import Placement, render_manifest
from data_prep.verification import verify_records
from tests.fakes.records import fake_record, write_fake_records

REPOSITORY = pathlib.Path(__file__).parents[2]


def make_records(directory, **changes):
    """Three train images of two patients and one test image of another; `changes` go to the test record."""
    rng = np.random.default_rng(0)

    def record(name, patient):
        pixels = rng.integers(0, 4096, (3, 4), dtype=np.uint16)
        return fake_record(pixels, np.eye(3, 4, dtype=np.uint8), name=name, patient=patient)

    train = [record(f"t{index}", f"p{index % 2}") for index in range(3)]
    test = dataclasses.replace(record("e0", "p9"), **changes)
    return write_fake_records(directory, {"train": train, "test": [test]}, shards=1)


def rewrite(manifest, **changes):
    changed = dataclasses.replace(manifest, **changes)
    (manifest.directory / "manifest.json").write_text(render_manifest(changed))
    return changed


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_records(tmp_path_factory.mktemp("whole"))


def test_whole_records_have_no_problem(whole):
    seen = []
    assert verify_records(whole.directory, lambda: seen.append(1)).problems == ()
    assert len(seen) == 4


@settings(max_examples=60, deadline=None)
@given(
    file=st.sampled_from(["manifest", "train", "test"]),
    position=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
def test_a_flipped_bit_anywhere_is_found(whole, tmp_path_factory, file, position, bit):  # fmt: skip
    copy = tmp_path_factory.mktemp("copy") / "records"
    shutil.copytree(whole.directory, copy)
    path = copy / "manifest.json" if file == "manifest" else next(copy.glob(f"{file}-*"))
    data = bytearray(path.read_bytes())
    data[int(position * len(data))] ^= 1 << bit
    path.write_bytes(data)
    assert problems_or_refusal(copy)


def problems_or_refusal(directory):
    """Returns what is wrong, also where the manifest cannot be read at all; no other exception may come."""
    try:
        return verify_records(directory).problems
    except InputError as error:
        return (str(error),)


@pytest.mark.parametrize("cut", [1, 100])
def test_a_truncated_shard_is_found(whole, tmp_path, cut):
    shutil.copytree(whole.directory, tmp_path / "copy")
    path = tmp_path / "copy" / "train-00000-of-00001.tfrecord"
    path.write_bytes(path.read_bytes()[:-cut])
    problems = "\n".join(verify_records(tmp_path / "copy").problems)
    assert "bytes; found" in problems
    assert "sha256" in problems
    assert "not a whole TFRecord file" in problems
    assert "train: the manifest states 3 images; found 2" in problems


def test_missing_and_stray_shards_are_found(whole, tmp_path):
    shutil.copytree(whole.directory, tmp_path / "copy")
    (tmp_path / "copy" / "test-00000-of-00001.tfrecord").rename(tmp_path / "copy" / "test-00000-of-00002.tfrecord")
    problems = verify_records(tmp_path / "copy").problems
    assert "test-00000-of-00001.tfrecord: missing" in problems
    assert "test-00000-of-00002.tfrecord: not in the manifest" in problems
    assert "image e0: in the manifest's split but in no record" in problems


def test_a_manifest_changed_by_hand_is_found(whole, tmp_path):
    shutil.copytree(whole.directory, tmp_path / "copy")
    path = tmp_path / "copy" / "manifest.json"
    path.write_text(path.read_text().replace("not for diagnosis", "for diagnosis"))
    assert verify_records(tmp_path / "copy").problems == (
        "manifest.json: differs from what was written; its own checksum does not fit",
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"intensity_mean": 0.4}, "intensity mean: the manifest states 0.4"),
        ({"intensity_standard_deviation": 0.4}, "intensity standard_deviation: the manifest states 0.4"),
        ({"calcifications": {"train": 3, "test": 2}}, "test: the manifest states 2 calcifications; found 1"),
        ({"pixels": {"train": 3, "test": 12}}, "train: the manifest states 3 pixels; found 36"),
        ({"patients": {"train": 3, "test": 1}}, "train: the manifest states 3 patients; found 2"),
        ({"images": {"train": 3, "test": 2}}, "test: the manifest states 2 images; found 1"),
    ],
)
def test_a_consistent_manifest_of_wrong_numbers_is_found(tmp_path, changes, problem):
    rewrite(make_records(tmp_path), **changes)
    problems = verify_records(tmp_path).problems
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_an_image_on_the_wrong_side_or_of_another_patient_is_found(tmp_path):
    manifest = make_records(tmp_path)
    rewrite(manifest, split={**manifest.split, "e0": Placement("train", "p9"), "t0": Placement("train", "p1")})
    problems = "\n".join(verify_records(tmp_path).problems)
    assert "image e0 must be in train with patient 'p9'; found in test with 'p9'" in problems
    assert "image t0 must be in train with patient 'p1'; found in train with 'p0'" in problems


def test_a_patient_on_both_sides_is_found_unless_images_were_split(tmp_path):
    manifest = make_records(tmp_path, patient_id="p0")
    assert verify_records(tmp_path).problems == ("patient p0: in both splits",)
    rewrite(manifest, split_by="image")
    assert verify_records(tmp_path).problems == ()


def test_a_count_that_the_mask_does_not_show_is_found(tmp_path):
    make_records(tmp_path, calcification_count=5)
    assert verify_records(tmp_path).problems[0] == (
        "test-00000-of-00001.tfrecord record 0: calcification/count must be 1, as its mask shows; found 5"
    )


def test_an_image_in_two_records_is_found(tmp_path):
    make_records(tmp_path, image_id="t0")
    assert "image t0: in 2 records" in verify_records(tmp_path).problems


def run_verify(records_dir):
    return subprocess.run(
        [sys.executable, "-m", "data_prep.verify", f"--records_dir={records_dir}"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=REPOSITORY,
    )


def test_the_command_says_all_good_or_counts_the_problems(whole, tmp_path):
    ended = run_verify(whole.directory)
    assert ended.returncode == 0, ended.stderr
    assert "All good: 2 shards" in ended.stdout
    assert "train 3 images, 2 patients, 3 calcifications; test 1 images, 1 patients, 1 calcifications" in ended.stdout
    shutil.copytree(whole.directory, tmp_path / "copy")
    for path in (tmp_path / "copy").glob("*.tfrecord"):
        path.unlink()
    ended = run_verify(tmp_path / "copy")
    assert ended.returncode == 1
    assert "train-00000-of-00001.tfrecord: missing\n" in ended.stdout
    assert ended.stderr.splitlines()[-1].endswith("problems found: convert the data again")
    ended = run_verify(tmp_path / "none")
    assert (ended.returncode, ended.stderr) == (1, f"error: {tmp_path / 'none'}: no such folder of records\n")
