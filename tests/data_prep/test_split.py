import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.errors import InputError
from data_prep.split import SplitBy, assign_splits, group_patients, patient_key, rank

NAMES = st.text("ABC123", min_size=1, max_size=3)


@pytest.mark.parametrize(
    ("patient_id", "key"),
    [
        ("Mass-Test_P_00173_LEFT_CC", "P_00173"),
        ("Calc-Training_P_00173_RIGHT_MLO", "P_00173"),
        ("Mass-Test_0173_LEFT_CC", "Mass-Test_0173"),
        ("p1 right mlo", "p1"),
        ("p1-L-ML", "p1"),
        ("p1_LCC", "p1"),
        ("p1.r", "p1"),
        (" p1 ", "p1"),
        ("LEFT_CC", "LEFT"),
        ("_CC", "_CC"),
        ("L", "L"),
        ("PAUL", "PAUL"),
        ("12_LEFTOVER", "12_LEFTOVER"),
        ("P_00173_LEFT_CC_1", "P_00173_LEFT_CC_1"),
        ("", ""),
    ],
)
def test_a_patient_is_the_patient_id_without_laterality_and_view(patient_id, key):
    assert patient_key(patient_id) == key


@given(st.text(max_size=12))
def test_a_patient_key_is_stable_and_never_empty_for_a_name(patient_id):
    key = patient_key(patient_id)
    assert patient_key(key) == key
    assert bool(key) == bool(patient_id.strip())


def test_images_that_share_a_patient_or_a_study_directly_or_through_others_are_one_patient():
    groups = group_patients({
        "a": ["patient:1", "study:x"],
        "b": ["patient:2", "study:x"],
        "c": ["patient:2", "study:y"],
        "d": ["patient:3", "study:z"],
    })  # fmt: skip
    assert groups == {"a": "patient:1", "b": "patient:1", "c": "patient:1", "d": "patient:3"}


@given(st.lists(st.lists(NAMES, min_size=1, max_size=2), min_size=1, max_size=8), st.randoms())
def test_groups_are_disjoint_and_independent_of_order(names, order):
    images = {f"image{index}": found for index, found in enumerate(names)}
    groups = group_patients(images)
    for one in images:
        for other in images:
            if set(images[one]) & set(images[other]):
                assert groups[one] == groups[other]
    for group in set(groups.values()):
        members = [name for image in images if groups[image] == group for name in images[image]]
        assert group == min(members)
    shuffled = list(images.items())
    order.shuffle(shuffled)
    assert group_patients(dict(shuffled)) == groups


@given(st.sets(NAMES, min_size=2), st.floats(0.01, 0.99), st.integers(0, 9))
def test_the_split_keeps_the_fraction_fills_both_sides_and_ignores_order(keys, fraction, seed):
    sides = assign_splits(keys, fraction, seed)
    train = sum(side == "train" for side in sides.values())
    assert set(sides) == keys
    assert set(sides.values()) == {"train", "test"}
    assert train == min(max(math.floor(fraction * len(keys) + 0.5), 1), len(keys) - 1)
    shuffled = sorted(keys)
    random.Random(seed).shuffle(shuffled)
    assert assign_splits(shuffled, fraction, seed) == sides


@given(st.sets(NAMES, min_size=2), st.floats(0.01, 0.99), st.integers(0, 9), st.data())
def test_named_sides_are_kept_the_others_drawn_and_both_sides_filled(keys, fraction, seed, data):
    named = data.draw(st.dictionaries(st.sampled_from(sorted(keys)), st.sampled_from(["train", "test"])))
    if len(named) == len(keys) and len(set(named.values())) == 1:
        with pytest.raises(InputError, match="a split needs both sides"):
            assign_splits(keys, fraction, seed, named)
        return
    sides = assign_splits(keys, fraction, seed, named)
    assert set(sides) == keys
    assert set(sides.values()) == {"train", "test"}
    assert {key: sides[key] for key in named} == named
    train = sum(side == "train" for key, side in sides.items() if key not in named)
    drawn = len(keys) - len(named)
    assert abs(train - fraction * drawn) <= 1.0


def test_another_seed_gives_another_split():
    keys = [f"patient{number}" for number in range(40)]
    assert assign_splits(keys, 0.75, 0) != assign_splits(keys, 0.75, 1)


def test_the_split_of_a_seed_stays_what_it_was_in_earlier_versions():
    assert rank("patient0", 0) == "0d2524dc3f27db6a76c19e833a0bd7cb967de68295803f2f7a292e631c926c0b"
    sides = assign_splits([f"p{number}" for number in range(8)], 0.75, 0)
    assert sorted(key for key, side in sides.items() if side == "test") == ["p1", "p6"]


def test_one_key_cannot_be_split():
    with pytest.raises(InputError, match="at least 2 to choose from; found 1"):
        assign_splits(["a", "a"], 0.75, 0)


def test_the_manifest_says_which_rule_keeps_patients_apart():
    assert "All images of a patient are on one side" in SplitBy.PATIENT.rule
    assert "a patient may have images on both sides" in SplitBy.IMAGE.rule
