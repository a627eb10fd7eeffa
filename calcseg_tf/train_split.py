"""Checks the train split before a run: what would otherwise show after hours, or as a message of TensorFlow's."""

from collections.abc import Iterator

from calcseg_tf.input_pipeline import InputConfig
from calcseg_tf.split_records import check_shards
from data_prep.errors import InputError
from data_prep.manifest import Manifest
from data_prep.schema import RecordFacts, record_facts
from data_prep.tfrecord import read_tfrecord

__all__ = ["check_train_split"]


def check_train_split(manifest: Manifest, inputs: InputConfig, held_out: frozenset[str]) -> None:
    """Checks that the shards are whole and hold what training, and validation where there is one, need.

    Reads the lengths in every shard, and records only until each rule has found what keeps it.

    Args:
        manifest: The records.
        inputs: How crops are drawn.
        held_out: Ids of the images held out of training.

    Raises:
        InputError: A shard is missing or damaged; there is no mammogram, none into which a crop fits, or no
            calcification, on either side of the held-out patients.
    """
    if manifest.images["train"] == 0:
        raise InputError("the train split must hold a mammogram; found none", manifest.directory)
    check_shards(manifest, "train")
    if manifest.calcifications["train"] == 0:
        outlined = manifest.flags.get("cbis_regions") == "ignore"
        hint = "; --cbis_regions=calcification of convert takes outlined regions for calcifications" if outlined else ""
        raise InputError(f"the train split must hold a calcification; found none{hint}", manifest.directory)
    if held_out:
        _check_sides(manifest, held_out)
    largest = (0, 0)
    for facts in _facts(manifest):
        if facts.image_id in held_out:
            continue
        if min(facts.height, facts.width) >= inputs.crop_size:
            return
        largest = max(largest, (facts.height, facts.width), key=min)
    raise InputError(
        f"--crop_size must fit into a mammogram that is trained on; found {inputs.crop_size}, "
        f"the largest has {largest[0]} x {largest[1]} px",
        manifest.directory,
    )


def _check_sides(manifest: Manifest, held_out: frozenset[str]) -> None:
    calcified = (facts.image_id in held_out for facts in _facts(manifest) if facts.calcification_count)
    found = set()
    for side in calcified:
        found.add(side)
        if len(found) == 2:
            return
    has = "every calcification" if found == {True} else "no calcification"
    raise InputError(
        f"both sides of --validation_fraction must hold a calcification; its {len(held_out)} mammograms have {has} of "
        "the train split: choose another fraction or --seed",
        manifest.directory,
    )


def _facts(manifest: Manifest) -> Iterator[RecordFacts]:
    return (record_facts(record) for shard in manifest.shards("train") for record in read_tfrecord(shard))
