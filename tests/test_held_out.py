import numpy as np
import pytest

from calcseg_tf.held_out import ValidationConfig, held_out_images
from calcseg_tf.split_records import split_records
from data_prep.errors import InputError
from tests.fakes.records import fake_record, write_fake_records

PATIENTS = ["", "", "a", "a", "b", "b", "b", "c", "d", "e"]


def records(patients):
    pixels = np.full((8, 8), 9, np.uint16)
    return [fake_record(pixels + n, name=f"image-{n}", patient=patient) for n, patient in enumerate(patients)]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    return write_fake_records(folder, {"train": records(PATIENTS), "test": records(["z"] * 11)[10:]}, shards=2)


def sides(manifest, fraction, seed):
    held_out = held_out_images(manifest, fraction, seed)
    number = {f"image-{n}": n for n in range(len(PATIENTS))}
    inside = {PATIENTS[number[image]] or image for image in held_out}
    outside = {patient or image for image, n in number.items() if image not in held_out for patient in [PATIENTS[n]]}
    return inside, outside


@pytest.mark.parametrize(("fraction", "count"), [(0.01, 1), (0.25, 2), (0.5, 4), (0.9, 6)])
def test_whole_patients_of_the_train_split_are_held_out_and_unknown_ones_count_one_an_image(manifest, fraction, count):
    for seed in range(20):
        inside, outside = sides(manifest, fraction, seed)
        assert not inside & outside
        assert (len(inside), len(outside)) == (count, 7 - count)


def test_the_choice_depends_on_the_seed_alone_and_larger_fractions_add_to_it(manifest):
    assert held_out_images(manifest, 0.3, 5) == held_out_images(manifest, 0.3, 5)
    assert len({held_out_images(manifest, 0.3, seed) for seed in range(20)}) > 5
    assert held_out_images(manifest, 0.3, 5) < held_out_images(manifest, 0.6, 5)
    assert held_out_images(manifest, 0.0, 5) == frozenset()


def test_a_patient_stays_on_each_side(tmp_path):
    test = records(["z"] * 3)[2:]
    two = write_fake_records(tmp_path / "two", {"train": records(["a", "b"]), "test": test})
    assert len(held_out_images(two, 0.1, 0)) == 1
    with pytest.raises(InputError, match=r"must leave a patient to train on; 0\.9 of 2 in the train split would be 2"):
        held_out_images(two, 0.9, 0)
    one = write_fake_records(tmp_path / "one", {"train": records(["a", "a"]), "test": test})
    with pytest.raises(InputError, match="must leave a patient to train on"):
        held_out_images(one, 0.1, 0)


def test_the_records_of_the_held_out_images_come_in_the_same_order_every_time(manifest):
    held_out = frozenset({"image-9", "image-4", "image-1"})
    for _ in range(2):
        found = list(split_records(manifest, "train", held_out))
        assert [record.image_id for record in found] == ["image-4", "image-1", "image-9"]  # even ones: the first shard
        assert [record.pixels[0, 0] for record in found] == [13, 10, 18]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"validation_fraction": 1.0}, "--validation_fraction must be 0 to below 1; found 1.0"),
        ({"validation_fraction": -0.1}, "--validation_fraction must be 0 to below 1"),
        ({"validation_fraction": float("nan")}, "--validation_fraction must be 0 to below 1"),
        ({"validate_every_epochs": 0}, "--validate_every_epochs must be at least 1; found 0"),
        ({"keep": "first"}, "--keep must be one of best, last; found 'first'"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(values, message):
    with pytest.raises(InputError, match=message):
        ValidationConfig(**values)
