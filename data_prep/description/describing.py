"""Reads a folder of records once and takes the figures of each.

A record is dropped once its figures are taken. What stays is a line of numbers an image, one number a calcification,
and histograms of the intensities.
"""

import collections
import concurrent.futures
import dataclasses
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from data_prep.breast import breast_mask
from data_prep.components import label_components
from data_prep.description.figures import Description, Figures, ImageFigures, Intensities
from data_prep.errors import InputError
from data_prep.manifest import Manifest, ShardInfo, read_manifest
from data_prep.mask import CALCIFICATION, IGNORE
from data_prep.schema import SPLITS, Record, from_example
from data_prep.tfrecord import read_tfrecord

__all__ = ["calcification_areas", "describe_records"]


def describe_records(
    records_dir: pathlib.Path, workers: int = 1, on_image: Callable[[], object] = lambda: None
) -> Description:
    """Reads every record once.

    Args:
        records_dir: Folder of records.
        workers: Threads; each holds one record. The result does not depend on them.
        on_image: Called after each record.

    Raises:
        InputError: No folder of records, or a shard that is missing, damaged, or not what its manifest says.
    """
    manifest = read_manifest(records_dir)
    images: dict[str, list[ImageFigures]] = {split: [] for split in SPLITS}
    all_pixels: dict[str, dict[int, np.ndarray]] = {split: {} for split in SPLITS}
    tissue: dict[str, dict[int, np.ndarray]] = {split: {} for split in SPLITS}
    for measured in _in_order(_measure, _records(manifest), workers):
        split, bits = measured.image.split, measured.image.bits_stored
        images[split].append(measured.image)
        for total, counts in ((all_pixels, measured.all_pixels), (tissue, measured.tissue)):
            total[split][bits] = total[split].get(bits, 0) + counts
        on_image()
    return Description(
        manifest,
        tuple(
            Figures(split, tuple(images[split]), Intensities(all_pixels[split]), Intensities(tissue[split]))
            for split in SPLITS
        ),
    )


def calcification_areas(mask: np.ndarray) -> tuple[int, ...]:
    """Returns the pixels of each 8-connected component of CALCIFICATION in a mask, uint8 [height, width]."""
    drawn = mask == CALCIFICATION
    labels, _ = label_components(drawn)
    return tuple(np.bincount(labels[drawn])[1:].tolist())


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a serialised record stands."""

    shard: ShardInfo
    path: pathlib.Path
    number: int
    serialized: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, eq=False)
class _Measured:
    image: ImageFigures
    all_pixels: np.ndarray
    tissue: np.ndarray


def _records(manifest: Manifest) -> Iterator[_Place]:
    for shard in manifest.shard_infos:
        path = manifest.directory / shard.name
        if not path.is_file():
            raise InputError("missing, though the manifest names it: convert the data again", path)
        found = 0
        for serialized in read_tfrecord(path):
            yield _Place(shard, path, found, serialized)
            found += 1
        if found != shard.examples:
            raise InputError(f"must hold {shard.examples} records, as the manifest says; found {found}", path)


def _measure(place: _Place) -> _Measured:
    try:
        record = from_example(place.serialized)
        areas = calcification_areas(record.mask)
        if len(areas) != record.calcification_count:
            raise InputError(
                f"calcification/count must be {len(areas)}, as its mask shows; found {record.calcification_count}"
            )
    except InputError as error:
        raise InputError(error.rule, f"{place.path} record {place.number}") from None
    return _figures(record, areas, place.shard.split)


def _figures(record: Record, areas: tuple[int, ...], split: str) -> _Measured:
    values = 1 << record.bits_stored
    breast = breast_mask(record.intensity())
    tissue = np.bincount(record.pixels[breast], minlength=values)
    tissue_px = int(tissue.sum())
    height, width = record.pixels.shape
    image = ImageFigures(
        split=split,
        image_id=record.image_id,
        patient_id=record.patient_id,
        laterality=record.laterality,
        view=record.view,
        height=height,
        width=width,
        bits_stored=record.bits_stored,
        pixel_spacing_mm=record.pixel_spacing_mm,
        pixel_spacing_source=record.pixel_spacing_source,
        areas_px=areas,
        ignored_px=int(np.count_nonzero(record.mask == IGNORE)),
        tissue_px=tissue_px,
        tissue_intensity=float(tissue @ np.arange(values)) / tissue_px / (values - 1) if tissue_px else None,
    )
    return _Measured(image, np.bincount(record.pixels.ravel(), minlength=values), tissue)


def _in_order(call: Callable[[_Place], _Measured], places: Iterator[_Place], workers: int) -> Iterator[_Measured]:
    """Maps in order with at most `workers` calls, and the records that they hold, at a time."""
    if workers <= 1:
        yield from map(call, places)
        return
    # Threads, not processes: nearly all the time goes into zlib and NumPy, which let go of the interpreter's lock.
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        running: collections.deque[concurrent.futures.Future[_Measured]] = collections.deque()
        try:
            for place in places:
                running.append(pool.submit(call, place))
                if len(running) >= workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
