"""metadata.json: what a client must know about a served model; beside it on disk, and told by it over the network."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import keras

from calcseg_tf.model_directory import ModelInfo, info_from_json
from calcseg_tf.serving.contract import CONTRACT_VERSION, CONTRACT_VERSION_KEY, SIGNATURES_KEY, TileGeometry, signatures
from data_prep.errors import InputError

__all__ = ["ServedInfo", "metadata_text", "older", "read_metadata"]

_NORMALIZATION_LAYER = "normalization"
_MOST_PX = 8192  # of a side of a tile
_WEIGHTS_KEY = "weights_sha256"


@dataclasses.dataclass(frozen=True)
class ServedInfo:
    """What a client takes from a server's metadata.

    Attributes:
        info: As `config.json` in the model directory holds it.
        weights_sha256: Hex digest of the weights file that was exported.
        signatures: Names of those that are served.
        tiles: How images are cut for `predict_tiles`.
    """

    info: ModelInfo
    weights_sha256: str
    signatures: frozenset[str]
    tiles: TileGeometry


def metadata_text(config: Mapping[str, Any], network: keras.Model, info: ModelInfo, weights_sha256: str) -> str:
    """Returns metadata.json: all of `config.json`, and what serving adds.

    Args:
        config: Content of the model directory's `config.json`.
        network: Holds the normalisation.
        info: The same config, read.
        weights_sha256: Hex digest of the weights file.
    """
    tiles = TileGeometry.of(info.model)
    content = {
        CONTRACT_VERSION_KEY: CONTRACT_VERSION,
        **{key: value for key, value in config.items() if key != "weights"},
        _WEIGHTS_KEY: weights_sha256,
        "normalization": {**_normalization(network), "done_by": "the network's first layer; send plain intensities"},
        "tiles": {**dataclasses.asdict(tiles), "window_px": tiles.window_px},
        SIGNATURES_KEY: {name: dataclasses.asdict(each) for name, each in signatures(tiles).items()},
    }
    return json.dumps(content, indent=2) + "\n"


def read_metadata(text: str, server: str) -> ServedInfo:
    """Reads what a server tells of itself.

    Raises:
        InputError: The server is older than this client, or tells something else.
    """
    try:
        content = json.loads(text)
        if (version := int(content[CONTRACT_VERSION_KEY])) < CONTRACT_VERSION:
            raise older(f"contract version {version}", server)
        info = info_from_json(content)
        weights, served = str(content[_WEIGHTS_KEY]), frozenset(content[SIGNATURES_KEY])
        tiles = TileGeometry(
            **{field.name: int(content["tiles"][field.name]) for field in dataclasses.fields(TileGeometry)}
        )
        if not (1 <= tiles.tile_px <= _MOST_PX and 0 <= tiles.halo_px <= _MOST_PX and tiles.origin_multiple_px >= 1):
            raise ValueError(f"tiles cannot be {dataclasses.asdict(tiles)}")
    except InputError as error:
        if error.where:
            raise
        raise InputError(f"the server's model is unknown here: is this client older? ({error.rule})", server) from None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"the server's metadata cannot be read ({type(error).__name__}: {error})", server) from None
    return ServedInfo(info, weights, served, tiles)


def older(found: str, server: str) -> InputError:
    """Makes the error for a server whose SavedModel was exported by an older version of this project."""
    return InputError(
        f"the served model is older than this client, which needs contract version {CONTRACT_VERSION}; "
        f"found {found}: export it again with calcseg_tf.export",
        server,
    )


def _normalization(network: keras.Model) -> dict[str, float]:
    layer = network.get_layer(_NORMALIZATION_LAYER)
    return {"mean": float(layer.mean), "standard_deviation": float(layer.standard_deviation)}
