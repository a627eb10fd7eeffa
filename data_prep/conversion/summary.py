"""Sums a conversion up: from the results of its shards to the manifest."""

import importlib.metadata
import math
import pathlib
import platform
from collections.abc import Mapping, Sequence

from data_prep.command import DISCLAIMER
from data_prep.conversion.shards import ImageFacts, ShardResult
from data_prep.errors import InputError
from data_prep.manifest import Manifest, Placement, Rejection, ShardInfo
from data_prep.schema import SPLITS
from data_prep.split import SplitBy

__all__ = ["intensity_moments", "nothing_usable", "summarise", "versions"]


def summarise(
    directory: pathlib.Path,
    results: Sequence[ShardResult],
    *,
    data_set: str,
    flags: Mapping[str, object],
    split_by: SplitBy,
    rejected: tuple[Rejection, ...] = (),
) -> Manifest:
    """Returns the manifest of shards as written; independent of the order in which images are summed.

    Raises:
        InputError: A split without a record, or train pixels that all have one value.
    """
    facts: dict[str, list[ImageFacts]] = {split: [] for split in SPLITS}
    for result in results:
        facts[result.info.split].extend(result.facts)
    for split, images in facts.items():
        if not images:
            raise InputError(f"the {split} split is empty: {nothing_usable(rejected)}", directory)
    mean, deviation = intensity_moments(facts["train"])
    if deviation == 0.0:
        raise InputError("the train split has one intensity alone: nothing to learn from or to normalise", directory)
    return Manifest(
        directory=directory.absolute(),
        data_set=data_set,
        flags=flags,
        split_by=split_by.value,
        split_rule=split_by.rule,
        split={fact.image_id: Placement(split, fact.patient_id) for split in SPLITS for fact in facts[split]},
        images={split: len(images) for split, images in facts.items()},
        patients={split: len({fact.patient_id for fact in images} - {""}) for split, images in facts.items()},
        calcifications={split: sum(fact.calcifications for fact in images) for split, images in facts.items()},
        pixels={split: sum(fact.pixels for fact in images) for split, images in facts.items()},
        shard_infos=_in_order([result.info for result in results]),
        intensity_mean=mean,
        intensity_standard_deviation=deviation,
        rejected=rejected,
        warnings=tuple(sorted(warning for result in results for warning in result.warnings)),
        versions=versions(),
        disclaimer=DISCLAIMER,
    )


def intensity_moments(facts: Sequence[ImageFacts]) -> tuple[float, float]:
    """Returns mean and population standard deviation over all pixels of all images, intensity in [0, 1]."""
    pixels = sum(fact.pixels for fact in facts)
    mean = math.fsum(fact.intensity_sum for fact in facts) / pixels
    square = math.fsum(fact.intensity_sum_of_squares for fact in facts) / pixels
    # Below this the difference is rounding alone: every pixel has one value.
    variance = square - mean**2
    return mean, math.sqrt(variance) if variance > 1e-14 else 0.0


def nothing_usable(rejected: Sequence[Rejection]) -> str:
    """Says that a data set, or a side of it, gave no image, with the first reason there is."""
    if not rejected:
        return "no mammogram found: DICOM or 16-bit PNG, with a mask beside it or in masks/"
    return f"no usable mammogram; {len(rejected)} rejected, the first {rejected[0].file}: {rejected[0].reason}"


def _in_order(infos: Sequence[ShardInfo]) -> tuple[ShardInfo, ...]:
    return tuple(sorted(infos, key=lambda info: (SPLITS.index(info.split), info.name)))


def versions() -> dict[str, str]:
    """Returns the versions of what decides the bytes of records."""
    found = {"python": platform.python_version()}
    for package in ("calcseg_tf", "tensorflow", "pydicom", "numpy", "pillow"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed as a package"
    return found
