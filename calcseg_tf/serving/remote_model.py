"""A served model as a function from intensities to probabilities, in place of one in this process."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from calcseg_tf.prediction import ModelChangedError
from calcseg_tf.probability_map import FULL_SCALE
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
    TileGeometry,
)
from calcseg_tf.serving.lossless_png import encode_intensity
from calcseg_tf.serving.metadata import ServedInfo, older, read_metadata
from calcseg_tf.serving.retries import Retries
from calcseg_tf.serving.transport import AVAILABLE, ModelTarget, ServerError, Transport, Trouble
from data_prep.errors import InputError
from data_prep.png import decode_grey_png

__all__ = ["RemoteModel", "cut_window"]

_CLIENT_NAME = "calcseg_tf.serving.client"
_Answer = TypeVar("_Answer")


class RemoteModel:
    """Predicts whole mammograms on a server; may be called by several threads at once.

    Attributes:
        served: What the server tells of the model.
    """

    def __init__(
        self, transport: Transport, server: str, target: ModelTarget, signature: str, retries: Retries, in_flight: int
    ) -> None:
        """Connects.

        Args:
            transport: The connection.
            server: host:port, for messages.
            target: The model, likewise.
            signature: `serving_default`, `predict_png` or `predict_tiles`.
            retries: How requests are repeated.
            in_flight: Tiles that are asked for at once, over all images.

        Raises:
            InputError: The server is absent or unhealthy, lacks the model, its version or the signature, or is older
                than this client.
        """
        self._transport = transport
        self._server = server
        self._target = target
        self._retries = retries
        self._require_available()
        self.served = self._read_metadata()
        if signature not in self.served.signatures:
            raise self._no_signature(signature)
        methods = {SERVING_DEFAULT: self._by_float, PREDICT_PNG: self._by_png, PREDICT_TILES: self._by_tiles}
        self._method = methods[signature]
        self._requests = ThreadPoolExecutor(in_flight, thread_name_prefix="tiles")
        self._air_lock = threading.Lock()
        self._air: np.ndarray | None = None

    def __enter__(self) -> "RemoteModel":
        return self

    def __exit__(self, *_: object) -> None:
        """Asks for no further tile, and waits for none."""
        self._requests.shutdown(wait=False, cancel_futures=True)
        self._transport.close()

    def probability(self, intensity: np.ndarray, progress: Callable[[int], object] = lambda _: None) -> np.ndarray:
        """Returns float32 [height, width] in [0, 1], the probability that a pixel is part of a calcification.

        Args:
            intensity: float32 [height, width] in [0, 1].
            progress: Called with the number of rows done since the last call.

        Raises:
            InputError: The server gave no answer; says why.
            ModelChangedError: The server has another model by now.
        """
        probability = self._method(intensity, progress)
        self._require_same_model()
        if probability.shape != intensity.shape:
            raise InputError(f"the answer must be of the image's size; found {list(probability.shape)}", self._server)
        return probability

    def _by_float(self, intensity: np.ndarray, progress: Callable[[int], object]) -> np.ndarray:
        answer = self._ask(SERVING_DEFAULT, {IMAGE: intensity[None, :, :, None]})
        progress(len(intensity))
        return self._one(answer)

    def _by_png(self, intensity: np.ndarray, progress: Callable[[int], object]) -> np.ndarray:
        answer = self._ask(PREDICT_PNG, {IMAGE_BYTES: np.array([encode_intensity(intensity)], object)})
        codes = decode_grey_png(self._text(answer), bits=16)
        progress(len(intensity))
        return codes.astype(np.float32) / FULL_SCALE

    def _by_tiles(self, intensity: np.ndarray, progress: Callable[[int], object]) -> np.ndarray:
        tile = self.served.tiles.tile_px
        result = np.empty_like(intensity)

        def predict(top: int, left: int) -> None:
            place = result[top : top + tile, left : left + tile]
            place[:] = self._tile(intensity, top, left)[: place.shape[0], : place.shape[1]]

        height, width = intensity.shape
        bands = [
            [self._requests.submit(predict, top, left) for left in range(0, width, tile)]
            for top in range(0, height, tile)
        ]
        try:
            for index, band in enumerate(bands):
                for future in band:
                    future.result()
                progress(min(tile, height - index * tile))
        finally:
            for future in (future for band in bands for future in band):
                future.cancel()
        return result

    def _tile(self, intensity: np.ndarray, top: int, left: int) -> np.ndarray:
        """Returns float32 [tile, tile]; tiles of nothing but air that see no border have one answer, asked for once."""
        tiles, size = self.served.tiles, intensity.shape
        window, sees_border = cut_window(intensity, (top, left), tiles)
        if sees_border or window.any():
            return self._ask_tile(window, (top, left), size)
        with self._air_lock:
            if self._air is None:
                self._air = self._ask_tile(window, (top, left), size)
            return self._air

    def _ask_tile(self, window: np.ndarray, origin: tuple[int, int], size: tuple[int, ...]) -> np.ndarray:
        inputs = {
            IMAGE: window[None, :, :, None],
            ORIGIN: np.array([origin], np.int32),
            SIZE: np.array([size], np.int32),
        }
        answer = self._one(self._ask(PREDICT_TILES, inputs))
        tile = self.served.tiles.tile_px
        if answer.shape != (tile, tile):
            raise InputError(f"the answer must be a tile of {tile} px; found {list(answer.shape)}", self._server)
        return answer

    def _one(self, answer: np.ndarray) -> np.ndarray:
        if answer.dtype != np.float32 or answer.ndim != 4 or (answer.shape[0], answer.shape[3]) != (1, 1):
            found = f"{answer.dtype} {list(answer.shape)}"
            raise InputError(f"the answer must be float32 [1, height, width, 1]; found {found}", self._server)
        return answer[0, :, :, 0]

    def _text(self, answer: np.ndarray) -> bytes:
        if answer.shape != (1,) or not isinstance(answer[0], bytes):
            raise InputError(f"the answer must be one string; found {answer.dtype} {list(answer.shape)}", self._server)
        return answer[0]

    def _require_available(self) -> None:
        versions = self._call(self._transport.versions)
        if AVAILABLE not in versions.values():
            states = ", ".join(f"version {version} is {state}" for version, state in sorted(versions.items()))
            raise InputError(f"the server is not ready to serve {self._target}: {states}", self._server)

    def _require_same_model(self) -> None:
        """Checks that an answer is of the model whose name the result will bear: a label may move, a version appear."""
        if self._target.version is None and self._read_metadata().weights_sha256 != self.served.weights_sha256:
            raise ModelChangedError("the served model (--version keeps to one)", self._server)

    def _read_metadata(self) -> ServedInfo:
        text = self._ask(METADATA, {CLIENT: np.array([_CLIENT_NAME.encode()], object)})
        try:
            return read_metadata(self._text(text).decode(), self._server)
        except UnicodeDecodeError:
            raise InputError("the server's metadata must be text in UTF-8; found other bytes", self._server) from None

    def _ask(self, signature: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Returns the one output of a signature."""
        answer = self._call(lambda: self._transport.predict(signature, inputs), signature)
        if len(answer) != 1:
            raise InputError(f"{signature} has one output; found {sorted(answer)}", self._server)
        return next(iter(answer.values()))

    def _call(self, request: Callable[[], _Answer], signature: str = "") -> _Answer:
        try:
            return self._retries.call(request)
        except ServerError as error:
            raise self._told(error, signature) from None

    def _told(self, error: ServerError, signature: str) -> InputError:
        """Turns a failed request into the one line that its user gets."""
        if error.trouble is Trouble.NO_SIGNATURE:
            is_older = signature == METADATA
            return older(f"no signature {METADATA}", self._server) if is_older else self._no_signature(signature)
        rules = {
            Trouble.ABSENT: f"no TensorFlow Serving answers ({error.told})",
            Trouble.BUSY: f"the server is too busy ({error.told})",
            Trouble.LATE: "the server gave no answer within --deadline_s",
            Trouble.NO_MODEL: f"the server has no model {self._target} ({error.told})",
            Trouble.TOO_LARGE: f"the server takes no message so large; try --signature={PREDICT_TILES} ({error.told})",
            Trouble.UNEQUAL: f"the server batches, which needs images of one size; use --signature={PREDICT_TILES}",
            Trouble.REFUSED: f"the server refused the image: {error.told}",
            Trouble.OTHER: f"the server failed: {error.told}",
        }
        return InputError(rules[error.trouble], self._server)

    def _no_signature(self, signature: str) -> InputError:
        return InputError(f"the served model has no signature {signature}", self._server)


def cut_window(intensity: np.ndarray, origin: tuple[int, int], tiles: TileGeometry) -> tuple[np.ndarray, bool]:
    """Cuts what `predict_tiles` takes for a tile.

    Args:
        intensity: float32 [height, width].
        origin: (row, column) of the tile's first pixel, in the image.
        tiles: How images are cut.

    Returns:
        float32 [window, window], 0 where the image has ended; whether the image ends within it.
    """
    window = np.zeros((tiles.window_px, tiles.window_px), np.float32)
    first = [each - tiles.halo_px for each in origin]
    begin = [max(each, 0) for each in first]
    end = [min(each + tiles.window_px, length) for each, length in zip(first, intensity.shape, strict=True)]
    rows, columns = (slice(low - at, high - at) for low, high, at in zip(begin, end, first, strict=True))
    window[rows, columns] = intensity[begin[0] : end[0], begin[1] : end[1]]
    return window, window.shape != (end[0] - begin[0], end[1] - begin[1])
