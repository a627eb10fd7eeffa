"""The model directory (`--model_dir`): what a trained or imported network consists of on disk."""

import dataclasses
import hashlib
import json
import pathlib
import shutil
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import h5py
import keras

from calcseg_tf.hdf5 import check_weights_file
from calcseg_tf.models import ModelConfig, build_network, model_config, model_name
from data_prep.atomic import temporary_beside, write_json
from data_prep.command import DISCLAIMER
from data_prep.errors import InputError

__all__ = [
    "BEST_WEIGHTS_FILE",
    "CONFIG_FILE",
    "WEIGHTS_FILE",
    "ModelInfo",
    "copy_weights",
    "info_from_json",
    "load_network",
    "read_info",
    "save_weights",
    "told_digest",
    "weights_sha256",
    "write_info",
]

BEST_WEIGHTS_FILE = "best.weights.h5"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.weights.h5"
_SCHEMA_VERSION = 1
_DIGEST = "sha256"  # attribute of the file of weights


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What `config.json` holds.

    Attributes:
        model: The network's shape.
        training: The recipe, or None for imported weights.
        data: Where the weights come from: data set, sizes, intensity statistics.
        operating_threshold: Probability from which a pixel counts as calcification, in (0, 1).
        operating_threshold_rule: How it was chosen, one sentence.
        selection: Which epoch's weights these are, and its score in validation; None without validation.
    """

    model: ModelConfig
    training: Mapping[str, Any] | None
    data: Mapping[str, Any]
    operating_threshold: float = 0.5
    operating_threshold_rule: str = "default, not chosen on data"
    selection: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.operating_threshold < 1:
            raise InputError(f"an operating threshold lies between 0 and 1; found {self.operating_threshold}")

    def at_threshold(self, threshold: float | None) -> "ModelInfo":
        """Returns it with the operating threshold that a user gave; itself where none is given.

        Raises:
            InputError: Not between 0 and 1.
        """
        if threshold is None:
            return self
        return dataclasses.replace(self, operating_threshold=threshold, operating_threshold_rule="--threshold")


def write_info(model_dir: pathlib.Path, info: ModelInfo) -> None:
    """Writes `config.json`, replacing an older one in one step."""
    write_json(
        model_dir / CONFIG_FILE,
        {
            "schema_version": _SCHEMA_VERSION,
            "model": {"name": model_name(info.model), **dataclasses.asdict(info.model)},  # type: ignore[call-overload]
            "training": info.training,
            "data": info.data,
            "operating_threshold": info.operating_threshold,
            "operating_threshold_rule": info.operating_threshold_rule,
            **({"selection": info.selection} if info.selection else {}),
            "weights": WEIGHTS_FILE,
            "versions": {name: metadata.version(name) for name in ("tensorflow", "keras")},
            "disclaimer": DISCLAIMER,
        },
    )


def read_info(model_dir: pathlib.Path) -> ModelInfo:
    """Reads `config.json`.

    Raises:
        InputError: The folder or the file is missing, of another schema, or breaks a rule.
    """
    path = model_dir / CONFIG_FILE
    if not model_dir.is_dir():
        raise InputError("--model_dir must be a folder; found none", model_dir)
    if not path.is_file():
        raise InputError(f"a model directory needs {CONFIG_FILE}; found none", model_dir)
    try:
        return info_from_json(json.loads(path.read_text(encoding="utf-8")))
    except InputError as error:
        raise InputError(error.rule, path) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"not a readable model config ({type(error).__name__}: {error})", path) from None


def info_from_json(content: Mapping[str, Any]) -> ModelInfo:
    """Takes a model's info from the content of its `config.json`; keys that this version does not know are passed over.

    Raises:
        InputError: Of another schema, or it breaks a rule.
    """
    try:
        if content["schema_version"] != _SCHEMA_VERSION:
            raise InputError(f"schema_version must be {_SCHEMA_VERSION}; found {content['schema_version']}")
        for name, kinds in (("data", dict), ("training", (dict, type(None)))):
            if not isinstance(content[name], kinds):
                raise InputError(f"{name} must be an object; found a {type(content[name]).__name__}")
        options = dict(content["model"])
        return ModelInfo(
            model=model_config(options.pop("name"), **options),
            training=content["training"],
            data=content["data"],
            operating_threshold=float(content["operating_threshold"]),
            operating_threshold_rule=str(content["operating_threshold_rule"]),
            selection=content.get("selection"),
        )
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f"not a readable model config ({type(error).__name__}: {error})") from None


def save_weights(model_dir: pathlib.Path, network: keras.Model, name: str = WEIGHTS_FILE) -> None:
    """Writes `model.weights.h5`, or weights of another name beside it, replacing older ones in one step."""
    with temporary_beside(model_dir / name) as temporary:
        # Keras tells the format by the ending.
        with_ending = temporary.with_name(temporary.name + ".weights.h5")
        try:
            network.save_weights(with_ending)
            with h5py.File(with_ending, "r+") as file:
                file.attrs[_DIGEST] = _digest(file)
            with_ending.replace(temporary)
        finally:
            with_ending.unlink(missing_ok=True)


def copy_weights(model_dir: pathlib.Path, source: str, target: str) -> None:
    """Copies weights within a model directory, replacing the target in one step.

    Raises:
        InputError: The source is damaged; the target stays as it is.
    """
    with temporary_beside(model_dir / target) as temporary:
        shutil.copyfile(model_dir / source, temporary)
        try:
            _check_weights(temporary)
        except InputError as error:
            raise InputError(error.rule, model_dir / source) from None
        except Exception as error:  # HDF5 tells damage by nearly any
            raise InputError(f"not weights ({' '.join(str(error).split())[:160]})", model_dir / source) from None


def load_network(model_dir: pathlib.Path) -> tuple[keras.Model, ModelInfo]:
    """Builds the network of a model directory for inference and loads its weights.

    Raises:
        InputError: Config or weights are missing, unreadable, or do not fit each other.
    """
    info = read_info(model_dir)
    path = model_dir / WEIGHTS_FILE
    if not path.is_file():
        raise InputError(
            f"a model directory needs {WEIGHTS_FILE}, which the end of a training writes; found none", model_dir
        )
    network = build_network(info.model)
    try:
        _check_weights(path)
        network.load_weights(path)
    except InputError:
        raise
    except Exception as error:  # HDF5 tells damage by nearly any
        raise InputError(f"not weights of this network ({' '.join(str(error).split())[:160]})", path) from None
    return network, info


def weights_sha256(model_dir: pathlib.Path) -> str:
    """Returns the hex digest of a model directory's weights.

    Raises:
        InputError: They cannot be read.
    """
    path = model_dir / WEIGHTS_FILE
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None


def _check_weights(path: pathlib.Path) -> None:
    check_weights_file(path)
    with h5py.File(path) as file:
        if file.attrs.get(_DIGEST, digest := _digest(file)) != digest:
            raise InputError("the weights are damaged: their values are not those that were written", path)


def told_digest(path: pathlib.Path) -> str | None:
    """Returns the digest of its arrays that a file of weights tells; None where it tells none or is no such file."""
    try:
        with h5py.File(path) as file:
            return file.attrs.get(_DIGEST)
    except OSError:
        return None


def _digest(file: h5py.File) -> str:
    """Returns the SHA-256 of every array with its name: HDF5 itself does not notice a changed value."""
    digest = hashlib.sha256()

    def add(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            digest.update(f"{name} {item.dtype.str} {item.shape}\n".encode())
            digest.update(item[()].tobytes())

    file.visititems(add)
    return digest.hexdigest()
