"""The records of one side of the split, as training and evaluation go over them."""

from collections.abc import Iterator

from data_prep.manifest import Manifest
from data_prep.schema import Record, from_example, record_facts
from data_prep.tfrecord import read_tfrecord

__all__ = ["split_records"]


def split_records(manifest: Manifest, split: str, wanted: frozenset[str] | None = None) -> Iterator[Record]:
    """Yields the records of a split, in the order of the shards: the same at every call, one in memory at a time.

    Args:
        manifest: The records.
        split: "train" or "test".
        wanted: Ids of those to yield, the others are not decoded; None yields all.

    Raises:
        InputError: A shard is missing or damaged.
    """
    for shard in manifest.shards(split):
        for serialized in read_tfrecord(shard):
            if wanted is None or record_facts(serialized).image_id in wanted:
                yield from_example(serialized)
