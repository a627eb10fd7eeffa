"""The records of one side of the split, as training and evaluation go over them."""

from collections.abc import Iterator

from data_prep.errors import InputError
from data_prep.manifest import Manifest
from data_prep.schema import Record, from_example, record_facts
from data_prep.tfrecord import count_records, read_tfrecord

__all__ = ["check_shards", "split_records"]


def split_records(manifest: Manifest, split: str, wanted: frozenset[str] | None = None) -> Iterator[Record]:
    """Yields the records of a split, in the order of the shards: the same at every call, one in memory at a time.

    Args:
        manifest: The records.
        split: "train" or "test".
        wanted: Ids of those to yield, the others are not decoded; None yields all.

    Raises:
        InputError: A shard is missing, damaged or not the one of the manifest.
    """
    check_shards(manifest, split)
    for shard in manifest.shards(split):
        for serialized in read_tfrecord(shard):
            try:
                if wanted is not None and record_facts(serialized).image_id not in wanted:
                    continue
                record = from_example(serialized)
            except InputError as error:
                raise InputError(error.rule, shard) from None
            yield record


def check_shards(manifest: Manifest, split: str) -> None:
    """Checks by sizes and lengths that the shards of a split are whole: one cut between two records reads well.

    Args:
        manifest: The records.
        split: "train" or "test".

    Raises:
        InputError: One is missing or another than the manifest tells of.
    """
    for shard in manifest.shard_infos:
        path = manifest.directory / shard.name
        if shard.split != split:
            continue
        if not path.is_file():
            raise InputError("a shard of the manifest is missing: convert the data again", path)
        if (size := path.stat().st_size) != shard.bytes:
            raise InputError(f"the manifest says {shard.bytes} bytes; found {size}: convert the data again", path)
        # TensorFlow's reader ends the process on a record whose length claims a terabyte.
        if (found := count_records(path)) != shard.examples:
            raise InputError(f"the manifest says {shard.examples} records; found {found}: convert the data again", path)
