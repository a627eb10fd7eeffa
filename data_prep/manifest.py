"""The manifest of a folder of records: what was converted, how, and a checksum of every byte of it.

Written last, so a folder that holds `manifest.json` is complete. Holds no absolute path and nothing of a DICOM header;
unless the data set is public, salted hashes stand in place of the names of rejected files.
"""

import dataclasses
import hashlib
import json
import math
import pathlib
import re
import reprlib
from collections.abc import Mapping
from typing import Any, TypeVar

from data_prep.errors import InputError
from data_prep.remote import records_path
from data_prep.schema import SCHEMA_VERSION, SPLITS

__all__ = [
    "MANIFEST_NAME",
    "ImageWarning",
    "Manifest",
    "Placement",
    "Rejection",
    "ShardInfo",
    "read_manifest",
    "render_manifest",
]

MANIFEST_NAME = "manifest.json"

# Every key of manifest.json.
_SCHEMA_VERSION = "schema_version"
_DATA_SET = "data_set"
_FLAGS = "flags"
_SPLIT_BY = "split_by"
_SPLIT_RULE = "split_rule"
_SPLIT = "split"
_COUNTS = "counts"
_SHARDS = "shards"
_INTENSITY = "intensity"
_MEAN = "mean"
_STANDARD_DEVIATION = "standard_deviation"
_REJECTED = "rejected"
_WARNINGS = "warnings"
_VERSIONS = "versions"
_DISCLAIMER = "disclaimer"
_SELF_SHA256 = "sha256_of_the_rest"
_COUNT_NAMES = ("images", "patients", "calcifications", "pixels")

_TOO_MANY = 1 << 63  # a longer number is no count, and may be too long to print

_Entry = TypeVar("_Entry", bound="Placement | ShardInfo | Rejection | ImageWarning")


@dataclasses.dataclass(frozen=True)
class Placement:
    """Which side one image went to.

    Attributes:
        split: "train" or "test".
        patient: `patient/id` of its record; "" where the patient is unknown.
    """

    split: str
    patient: str


@dataclasses.dataclass(frozen=True)
class ShardInfo:
    """One shard as it must be found on disk.

    Attributes:
        name: File name, such as "train-00000-of-00002.tfrecord".
        split: "train" or "test".
        sha256: Hex digest of the file.
        examples: Records in it; 0 where every file meant for it was rejected.
        bytes: Size of the file.
    """

    name: str
    split: str
    sha256: str
    examples: int
    bytes: int


@dataclasses.dataclass(frozen=True, order=True)
class Rejection:
    """A file that was left out.

    Attributes:
        file: Path relative to the data directory, with "/"; in a manifest `Identity.file` of it.
        reason: The rule it breaks and what was found, on one line.
    """

    file: str
    reason: str


@dataclasses.dataclass(frozen=True, order=True)
class ImageWarning:
    """What a person should know of an image that is among the records all the same.

    Attributes:
        image: `image/id` of its record.
        warning: One line.
    """

    image: str
    warning: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A finished conversion.

    Attributes:
        directory: Absolute path of the folder of records; not stored.
        data_set: Name of the reader that made it.
        flags: The settings that decide the result; neither folders nor the number of workers.
        split_by: "patient" or "image".
        split_rule: One sentence on how the sides were drawn.
        split: Image id -> its side and patient.
        images: Records per split.
        patients: Distinct known patients per split.
        calcifications: 8-connected components of the calcification pixels, summed per split.
        pixels: Pixels per split.
        shard_infos: Every shard, train first, in order of name.
        intensity_mean: Mean over all pixels of the train split, intensity in [0, 1].
        intensity_standard_deviation: Population standard deviation over the same pixels; greater than 0.
        rejected: Files left out, in order of name.
        warnings: On images that are there, in order of id.
        versions: Versions of what made the records.
        disclaimer: `data_prep.command.DISCLAIMER`.
        schema_version: `data_prep.schema.SCHEMA_VERSION` of the writer.
    """

    directory: pathlib.Path
    data_set: str
    flags: Mapping[str, Any]
    split_by: str
    split_rule: str
    split: Mapping[str, Placement]
    images: Mapping[str, int]
    patients: Mapping[str, int]
    calcifications: Mapping[str, int]
    pixels: Mapping[str, int]
    shard_infos: tuple[ShardInfo, ...]
    intensity_mean: float
    intensity_standard_deviation: float
    rejected: tuple[Rejection, ...]
    versions: Mapping[str, str]
    disclaimer: str
    warnings: tuple[ImageWarning, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def shards(self, split: str) -> list[pathlib.Path]:
        """Returns the absolute paths of the shards of "train" or "test", in order of name.

        Raises:
            InputError: No such split.
        """
        if split not in SPLITS:
            raise InputError(f"a split is one of {', '.join(SPLITS)}; found {split!r}")
        return [self.directory / shard.name for shard in self.shard_infos if shard.split == split]


def render_manifest(manifest: Manifest) -> str:
    """Returns the text of manifest.json; the same manifest gives the same bytes."""
    document: dict[str, Any] = {
        _SCHEMA_VERSION: manifest.schema_version,
        _DISCLAIMER: manifest.disclaimer,
        _DATA_SET: manifest.data_set,
        _FLAGS: dict(manifest.flags),
        _SPLIT_BY: manifest.split_by,
        _SPLIT_RULE: manifest.split_rule,
        _COUNTS: {split: {name: getattr(manifest, name)[split] for name in _COUNT_NAMES} for split in SPLITS},
        _INTENSITY: {
            _MEAN: manifest.intensity_mean,
            _STANDARD_DEVIATION: manifest.intensity_standard_deviation,
        },
        _SHARDS: [dataclasses.asdict(shard) for shard in manifest.shard_infos],
        _SPLIT: {key: dataclasses.asdict(manifest.split[key]) for key in sorted(manifest.split)},
        _REJECTED: [dataclasses.asdict(rejection) for rejection in manifest.rejected],
        # Absent where there are none, as in manifests older than warnings: those must render to the bytes they have.
        **({_WARNINGS: [dataclasses.asdict(warning) for warning in manifest.warnings]} if manifest.warnings else {}),
        _VERSIONS: dict(manifest.versions),
    }
    return _dump({**document, _SELF_SHA256: _digest(document)})


def read_manifest(records_dir: str | pathlib.Path, changed: bool = False) -> Manifest:
    """Reads the manifest of a finished folder of records.

    Args:
        records_dir: The folder.
        changed: Read it even where its own checksum does not fit, to say what is wrong; a file without one always is.

    Raises:
        InputError: No such folder, no manifest in it, a damaged one, or one of another schema version.
    """
    directory = records_path(records_dir).absolute()
    if not directory.is_dir():
        raise InputError("no such folder of records", directory)
    path = directory / MANIFEST_NAME
    if not path.is_file():
        raise InputError(
            "no manifest.json: a conversion that did not finish (repeat its command), or no folder of records",
            directory,
        )
    try:
        document = json.loads(path.read_bytes().decode("utf-8"), parse_float=_finite, parse_constant=_finite)
        version = document[_SCHEMA_VERSION]
    except InputError as error:
        raise InputError(f"not a manifest of records: {error.rule}", path) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"not a manifest of records ({type(error).__name__})", path) from None
    if version != SCHEMA_VERSION:
        found = reprlib.repr(version)
        raise InputError(f"schema_version must be {SCHEMA_VERSION}; found {found}: convert the data again", path)
    try:
        manifest = _parse(document, directory)
        stated = document.pop(_SELF_SHA256, None)
        fits = changed or stated is None or stated == _digest(document)
    except InputError as error:
        raise InputError(f"not a manifest of records: {error.rule}", path) from None
    except KeyError as error:  # one of the keys above
        raise InputError(f"not a manifest of records (KeyError: {error})", path) from None
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"not a manifest of records ({type(error).__name__})", path) from None
    if not fits:
        # A changed mean would train another network, and nothing would tell.
        raise InputError(
            "changed since it was written: its own checksum does not fit (data_prep.verify says more)", path
        )
    return manifest


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InputError("a number must be finite; found another")
    return number


def _entry(kind: type[_Entry], value: Any) -> _Entry:
    names = {field.name for field in dataclasses.fields(kind)}
    if not isinstance(value, dict) or value.keys() != names:
        raise InputError(f"an entry must hold {', '.join(sorted(names))} and nothing else; found another")
    return kind(**value)


def _placement(value: Any) -> Placement:
    placement = _entry(Placement, value)
    if placement.split not in SPLITS or not isinstance(placement.patient, str):
        raise InputError(f"a side is one of {', '.join(SPLITS)}; found {reprlib.repr(placement.split)}")
    return placement


def _shard(value: Any) -> ShardInfo:
    shard = _entry(ShardInfo, value)
    if shard.split not in SPLITS or not re.fullmatch(rf"{shard.split}-\d{{5}}-of-\d{{5}}\.tfrecord", shard.name):
        found = f"{reprlib.repr(shard.name)} of {reprlib.repr(shard.split)}"
        raise InputError(f"a shard is named by its split; found {found}")
    if not re.fullmatch("[0-9a-f]{64}", shard.sha256):
        raise InputError("the sha256 of a shard has 64 hexadecimal digits; found another")
    _count(shard.examples), _count(shard.bytes)
    return shard


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _TOO_MANY:
        raise InputError(f"sizes and counts are whole numbers, 0 or more; found {reprlib.repr(value)}")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not 0.0 <= value <= 1.0:
        raise InputError("intensity must have a mean in [0, 1] and a standard deviation in (0, 0.5]")
    return float(value)


def _line(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise InputError(f"a name or a sentence is one printable line; found {reprlib.repr(value)}")
    return value


def _flag(value: Any) -> Any:
    for item in value if isinstance(value, list) else [value]:
        if not (item is None or isinstance(item, bool | int | float | str)):
            raise InputError(
                f"a flag is a text, a number, true, false, null, or a list of them; found {type(item).__name__}"
            )
    return value


def _texts(kind: type[_Entry], value: Any) -> _Entry:
    entry = _entry(kind, value)
    if not all(isinstance(text, str) for text in value.values()):
        raise InputError("a rejection or warning holds texts; found another")
    return entry


def _parse(document: dict[str, Any], directory: pathlib.Path) -> Manifest:
    counts = {
        name: {split: _count(document[_COUNTS][split][name]) for split in SPLITS} for name in _COUNT_NAMES
    }  # fmt: skip
    mean, deviation = _number(document[_INTENSITY][_MEAN]), _number(document[_INTENSITY][_STANDARD_DEVIATION])
    if not 0.0 < deviation <= 0.5 + 1e-9:
        raise InputError("intensity must have a mean in [0, 1] and a standard deviation in (0, 0.5]")
    return Manifest(
        directory=directory,
        data_set=_line(document[_DATA_SET]),
        flags={_line(name): _flag(value) for name, value in document[_FLAGS].items()},
        split_by=_line(document[_SPLIT_BY]),
        split_rule=_line(document[_SPLIT_RULE]),
        split={key: _placement(value) for key, value in document[_SPLIT].items()},
        images=counts["images"],
        patients=counts["patients"],
        calcifications=counts["calcifications"],
        pixels=counts["pixels"],
        shard_infos=tuple(_shard(shard) for shard in document[_SHARDS]),
        intensity_mean=mean,
        intensity_standard_deviation=deviation,
        rejected=tuple(_texts(Rejection, value) for value in document[_REJECTED]),
        versions={_line(name): _line(version) for name, version in document[_VERSIONS].items()},
        disclaimer=_line(document[_DISCLAIMER]),
        warnings=tuple(_texts(ImageWarning, value) for value in document.get(_WARNINGS, ())),
    )


def _digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(_dump(document).encode()).hexdigest()


def _dump(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False) + "\n"
