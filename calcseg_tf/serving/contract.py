"""What server and client agree on: names of signatures, inputs and outputs, files, and how tiles are cut.

Names are a contract with other people's programs: they stay as they are. What is added raises `CONTRACT_VERSION`.
"""

import dataclasses
from collections.abc import Mapping

from calcseg_tf.models import ModelConfig

__all__ = [
    "CHECKSUMS_FILE",
    "CLIENT",
    "CONTRACT_VERSION",
    "CONTRACT_VERSION_KEY",
    "EXTRA_DIR",
    "IMAGE",
    "IMAGE_BYTES",
    "METADATA",
    "METADATA_FILE",
    "ORIGIN",
    "PREDICT_PNG",
    "PREDICT_TILES",
    "PROBABILITY",
    "PROBABILITY_BYTES",
    "SERVING_DEFAULT",
    "SIGNATURES_KEY",
    "SIZE",
    "WARM_UP_FILE",
    "Signature",
    "TensorForm",
    "TileGeometry",
    "signatures",
]

CONTRACT_VERSION = 2  # 1 had serving_default and predict_png alone

SERVING_DEFAULT = "serving_default"
PREDICT_PNG = "predict_png"
PREDICT_TILES = "predict_tiles"
METADATA = "metadata"  # a signature and its output

IMAGE, IMAGE_BYTES, ORIGIN, SIZE, CLIENT = "image", "image_bytes", "origin", "size", "client"
# REST encodes a string output as base64 where its name ends in _bytes.
PROBABILITY, PROBABILITY_BYTES = "probability", "probability_bytes"

CONTRACT_VERSION_KEY = "contract_version"
SIGNATURES_KEY = "signatures"

EXTRA_DIR = "assets.extra"
METADATA_FILE = "metadata.json"
CHECKSUMS_FILE = "SHA256SUMS"
WARM_UP_FILE = "tf_serving_warmup_requests"

_TILE_PX = 512


@dataclasses.dataclass(frozen=True)
class TileGeometry:
    """How an image is cut for `predict_tiles`.

    Attributes:
        tile_px: Side of an answer.
        halo_px: What a window shows around its tile, on each side.
        origin_multiple_px: Tiles begin at multiples of this.
    """

    tile_px: int
    halo_px: int
    origin_multiple_px: int

    @classmethod
    def of(cls, config: ModelConfig) -> "TileGeometry":
        """Returns tiles of 512 px, rounded up to the network's grid, or the tiles that it is defined by."""
        if config.fixed_tile_px:
            return cls(config.fixed_tile_px, config.halo_px, config.fixed_tile_px)
        alignment = config.alignment_px
        return cls(-(-_TILE_PX // alignment) * alignment, config.halo_px, alignment)

    @property
    def window_px(self) -> int:
        """Side of what is sent for a tile."""
        return self.tile_px + 2 * self.halo_px


@dataclasses.dataclass(frozen=True)
class TensorForm:
    """Type and shape of an input or an output; None stands for any length."""

    dtype: str
    shape: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Signature:
    """The inputs of a signature and its one output, each by name."""

    inputs: Mapping[str, TensorForm]
    outputs: Mapping[str, TensorForm]


def signatures(tiles: TileGeometry) -> dict[str, Signature]:
    """Returns every signature by name; the first dimension is always the batch, as batching servers need it."""
    image, text = TensorForm("float32", (None, None, None, 1)), TensorForm("string", (None,))
    window, tile = (TensorForm("float32", (None, side, side, 1)) for side in (tiles.window_px, tiles.tile_px))
    place = TensorForm("int32", (None, 2))
    return {
        SERVING_DEFAULT: Signature({IMAGE: image}, {PROBABILITY: image}),
        PREDICT_PNG: Signature({IMAGE_BYTES: text}, {PROBABILITY_BYTES: text}),
        PREDICT_TILES: Signature({IMAGE: window, ORIGIN: place, SIZE: place}, {PROBABILITY: tile}),
        METADATA: Signature({CLIENT: text}, {METADATA: text}),
    }
