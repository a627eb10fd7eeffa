"""Finished folders of records as code, for tests of what reads them."""

import pathlib
import struct
from collections.abc import Mapping, Sequence

import google_crc32c
import numpy as np

from data_prep.annotation import count_calcifications
from data_prep.atomic import write_text
from data_prep.conversion.shards import ShardResult, describe_record, file_sha256, shard_name
from data_prep.conversion.summary import summarise
from data_prep.manifest import MANIFEST_NAME, Manifest, ShardInfo, read_manifest, render_manifest
from data_prep.schema import Record, to_example
from data_prep.split import SplitBy
from data_prep.tfrecord import write_tfrecord
from tests.fakes.folder import fake_mask, fake_pixels

__all__ = ["claim_length", "fake_record", "write_fake_records"]


def fake_record(
    pixels: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *,
    name: str = "image-0",
    patient: str = "patient-0",
    bits_stored: int = 12,
    pixel_spacing_mm: tuple[float, float] | None = (0.07, 0.07),
) -> Record:
    """Builds a record; `mask` holds 0, 1 and 255, and both arrays are drawn from seed 0 where not given."""
    pixels = fake_pixels(0, bits=bits_stored) if pixels is None else pixels
    mask = (fake_mask(0, *pixels.shape) // 255).astype(np.uint8) if mask is None else mask
    return Record(
        pixels=pixels,
        bits_stored=bits_stored,
        mask=mask,
        image_id=name,
        patient_id=patient,
        laterality="L",
        view="CC",
        pixel_spacing_mm=pixel_spacing_mm,
        pixel_spacing_source="unknown" if pixel_spacing_mm is None else "PixelSpacing (0028,0030)",
        calcification_count=count_calcifications(mask),
        source_sha256="0" * 64,
    )


def write_fake_records(directory: pathlib.Path, splits: Mapping[str, Sequence[Record]], shards: int = 1) -> Manifest:
    """Writes records and their manifest as `data_prep.convert` would: `splits` maps "train" and "test" to records."""
    directory.mkdir(parents=True, exist_ok=True)
    results = []
    for split, records in splits.items():
        for index in range(shards):
            part = list(records)[index::shards]
            path = directory / shard_name(split, index, shards)
            write_tfrecord(path, [to_example(record) for record in part])
            info = ShardInfo(path.name, split, file_sha256(path), len(part), path.stat().st_size)
            results.append(ShardResult(info, tuple(map(describe_record, part)), ()))
    manifest = summarise(directory, results, data_set="fake", flags={}, split_by=SplitBy.PATIENT)
    write_text(directory / MANIFEST_NAME, render_manifest(manifest))
    return read_manifest(directory)


def claim_length(length: int, payload: bytes) -> bytes:
    """Returns a record of a TFRecord file that claims another length, with checksums that fit."""
    size = struct.pack("<Q", length)
    masked = [(crc := google_crc32c.value(part)) >> 15 | crc << 17 for part in (size, payload)]
    sums = [struct.pack("<I", (value + 0xA282EAD8) & 0xFFFFFFFF) for value in masked]
    return size + sums[0] + payload + sums[1]
