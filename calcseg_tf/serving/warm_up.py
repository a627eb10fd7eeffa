"""Requests that TensorFlow Serving sends itself before a version becomes available.

A graph's first run allocates, chooses kernels and, on a GPU, compiles: that shall not fall on a client. The images are
noise and air, of sizes that take every branch: one tile and several, tissue and air, a tile inside its image and one at
its border.
"""

import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from calcseg_tf.serving.contract import (
    CLIENT,
    IMAGE,
    IMAGE_BYTES,
    METADATA,
    ORIGIN,
    PREDICT_PNG,
    PREDICT_TILES,
    SERVING_DEFAULT,
    SIZE,
    WARM_UP_FILE,
    TileGeometry,
)
from data_prep.png import encode_png

__all__ = ["predict_request", "warm_up_requests", "write_warm_up"]

_SMALL, _LARGE = (64, 48), (600, 560)  # px


def predict_request(model: str, signature: str, inputs: Mapping[str, np.ndarray]) -> predict_pb2.PredictRequest:
    """Makes the request for a signature; string inputs are arrays of bytes objects."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def warm_up_requests(tiles: TileGeometry) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yields (signature, inputs)."""
    rng = np.random.default_rng(0)
    large = np.zeros(_LARGE, np.float32)
    large[: _SMALL[0], : _SMALL[1]] = rng.random(_SMALL, np.float32)
    for image in (rng.random(_SMALL, np.float32), large):
        yield SERVING_DEFAULT, {IMAGE: image[None, :, :, None]}
        yield PREDICT_PNG, {IMAGE_BYTES: np.array([encode_png(np.rint(image * 65535).astype(np.uint16))], object)}
    window = rng.random((1, tiles.window_px, tiles.window_px, 1), np.float32)
    inside = -(-tiles.halo_px // tiles.origin_multiple_px) * tiles.origin_multiple_px
    for origin, size in ((inside, inside + tiles.tile_px + tiles.halo_px), (0, tiles.tile_px)):
        seen = window.copy()
        if origin == 0:
            border = np.ones((tiles.window_px,), bool)
            border[tiles.halo_px : tiles.halo_px + tiles.tile_px] = False
            seen[:, border], seen[:, :, border] = 0, 0
        place = {ORIGIN: np.full((1, 2), origin, np.int32), SIZE: np.full((1, 2), size, np.int32)}
        yield PREDICT_TILES, {IMAGE: seen, **place}
    yield METADATA, {CLIENT: np.array([b"warm-up"], object)}


def write_warm_up(extra_dir: pathlib.Path, tiles: TileGeometry, model: str) -> None:
    """Writes `tf_serving_warmup_requests`, a TFRecord of PredictionLog.

    Args:
        extra_dir: The version's `assets.extra`.
        tiles: How images are cut for `predict_tiles`.
        model: Name under which the model is served; a server does not look at it here.
    """
    with tf.io.TFRecordWriter(str(extra_dir / WARM_UP_FILE)) as writer:
        for signature, inputs in warm_up_requests(tiles):
            request = predict_request(model, signature, inputs)
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
