import numpy as np
import pytest

from calcseg_tf.input_pipeline import InputConfig
from calcseg_tf.split_records import split_records
from calcseg_tf.train_split import check_train_split
from data_prep.errors import InputError
from data_prep.tfrecord import read_tfrecord, write_tfrecord
from tests.fakes.records import fake_record, write_fake_records


def record(number, shape, calcified=True):
    mask = np.zeros(shape, np.uint8)
    mask[1, 1] = calcified
    return fake_record(np.full(shape, 9 + number, np.uint16), mask, name=f"image-{number}", patient=f"patient-{number}")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    train = [record(0, (20, 30), calcified=False), record(1, (50, 24)), record(2, (40, 40), calcified=False)]
    folder = tmp_path_factory.mktemp("records")
    return write_fake_records(folder, {"train": train, "test": [record(9, (99, 99))]}, shards=2)


def check(manifest, crop_size=16, held_out=()):
    check_train_split(manifest, InputConfig(crop_size=crop_size), frozenset(held_out))


def test_a_crop_must_fit_into_one_mammogram_that_is_trained_on(manifest):
    check(manifest, 40)
    with pytest.raises(InputError, match=r"--crop_size must fit .*; found 41, the largest has 40 x 40 px"):
        check(manifest, 41)


def test_crops_need_not_fit_into_what_is_held_out(tmp_path):
    train = [record(0, (20, 30)), record(1, (50, 24))]
    manifest = write_fake_records(tmp_path, {"train": train, "test": [record(9, (99, 99))]})
    check(manifest, 20, ["image-1"])
    with pytest.raises(InputError, match="found 24, the largest has 20 x 30 px"):
        check(manifest, 24, ["image-1"])


@pytest.mark.parametrize(
    ("held_out", "has"), [(["image-1"], "every calcification"), (["image-0", "image-2"], "no calcification")]
)
def test_both_sides_of_a_validation_must_hold_a_calcification(manifest, held_out, has):
    with pytest.raises(InputError, match=f"its {len(held_out)} mammograms have {has} of the train split"):
        check(manifest, held_out=held_out)


def test_a_shard_cut_between_two_records_is_not_scored_or_trained_on_as_if_it_were_whole(tmp_path):
    test = [record(number, (30, 30)) for number in range(3)]
    manifest = write_fake_records(tmp_path, {"train": test, "test": test})
    for split in ("train", "test"):
        assert len(list(split_records(manifest, split))) == 3
        (shard,) = manifest.shards(split)
        whole = shard.read_bytes()
        records = list(read_tfrecord(shard))
        write_tfrecord(shard, records[:2])
        with pytest.raises(InputError, match=f"the manifest says {len(whole)} bytes") as raised:
            list(split_records(manifest, split))
        assert raised.value.where == str(shard)
        shard.write_bytes(b"")
        with pytest.raises(InputError, match="found 0"):
            list(split_records(manifest, split))
        shard.unlink()
        with pytest.raises(InputError, match="a shard of the manifest is missing"):
            list(split_records(manifest, split))
