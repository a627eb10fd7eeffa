"""Prediction by tiles that equals prediction of the whole image, borders included.

Every layer of the network pads with zeros at the true border of the image, and only there. A tile is therefore read
with a halo as wide as the network sees, cut off where the image ends: where the halo is whole, what the tile's own
padding spoils is discarded; where it was cut, the tile's padding is the image's own. A network with strides has a grid
that begins at the image's first pixel: its tiles begin at multiples of its cells.

Air costs nothing: over a part of the image that is 0 throughout, the answer depends on the distance to the border and
the place in the grid's cell alone, and is looked up in the network's answer to one small image of zeros.

A network that sees all of its input (`ModelConfig.fixed_tile_px`) has no such answer: what is predicted here, by tiles
of one size with one halo, is by definition its prediction.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from calcseg_tf.models import ModelConfig

__all__ = ["DEFAULT_TILE_SIZE", "TiledNetwork"]

DEFAULT_TILE_SIZE = 256  # px; the working set of the paper's network then stays near 0.2 GB


@dataclasses.dataclass(frozen=True)
class TiledNetwork:
    """Applies a network to images of any size, tile by tile, with TensorFlow operations alone.

    Attributes:
        network: Maps float32 [batch, height, width, 1] to float32 logits of the same shape.
        halo_px: How far an output pixel sees in each direction, a multiple of `alignment_px`.
        tile_size: Side of a tile in px, without halo, a multiple of `alignment_px`.
        alignment_px: Side of a cell of the network's grid.
        knows_air: Whether tiles of nothing but air are looked up.
    """

    network: Callable[[tf.Tensor], tf.Tensor]
    halo_px: int
    tile_size: int = DEFAULT_TILE_SIZE
    alignment_px: int = 1
    knows_air: bool = True

    def __post_init__(self) -> None:
        if self.tile_size < 1:
            raise ValueError(f"a tile must be at least 1 px wide; found {self.tile_size}")
        if self.tile_size % self.alignment_px or self.halo_px % self.alignment_px:
            raise ValueError(
                f"tile and halo must be multiples of {self.alignment_px} px; found {self.tile_size} and {self.halo_px}"
            )

    @classmethod
    def of(
        cls, network: Callable[[tf.Tensor], tf.Tensor], config: ModelConfig, tile_size: int = DEFAULT_TILE_SIZE
    ) -> "TiledNetwork":
        """Applies the network of a config, in tiles of `tile_size` px rounded up to its grid, or its fixed tiles."""
        alignment = config.alignment_px
        side = config.fixed_tile_px or -(-tile_size // alignment) * alignment
        return cls(network, config.halo_px, side, alignment, knows_air=config.fixed_tile_px is None)

    def air(self, size: tf.Tensor) -> tf.Tensor:
        """Returns the logits float32 [rows, columns] of the smallest image of zeros that holds what `size` can show.

        Args:
            size: int32 [2], height and width of the image; they tell where the last cell of the grid is cut.
        """
        if not self.knows_air:
            return tf.zeros([0, 0])
        rows, columns = tf.unstack(2 * self.halo_px + self.alignment_px + size % self.alignment_px)
        return self.network(tf.zeros([1, rows, columns, 1]))[0, :, :, 0]

    def band(self, image: tf.Tensor, air: tf.Tensor, top: tf.Tensor) -> tf.Tensor:
        """Predicts the band of tiles that starts at row `top`.

        Args:
            image: float32 [batch, height, width, 1].
            air: What `air` returned for the image's size.
            top: int32 scalar in [0, height).

        Returns:
            Logits float32 [batch, min(tile_size, height - top), width, 1].
        """
        width = tf.shape(image)[2]
        # [width, batch, rows, 1]: TensorArray.concat joins along the first axis.
        tiles = tf.TensorArray(tf.float32, size=0, dynamic_size=True, infer_shape=False)

        def predict(left: tf.Tensor, tiles: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            tile = self._tile(image, air, top, left)
            return left + self.tile_size, tiles.write(left // self.tile_size, tf.transpose(tile, [2, 0, 1, 3]))

        _, tiles = tf.while_loop(lambda left, _: left < width, predict, (tf.constant(0), tiles), parallel_iterations=1)
        band = tf.transpose(tiles.concat(), [1, 2, 0, 3])
        return tf.ensure_shape(band, [None, None, None, 1])

    def whole(self, image: tf.Tensor) -> tf.Tensor:
        """Predicts images of any size in memory that does not grow with them, but for input and output.

        Args:
            image: float32 [batch, height, width, 1].

        Returns:
            Logits of the same shape.
        """
        height = tf.shape(image)[1]
        air = self.air(tf.shape(image)[1:3])
        bands = tf.TensorArray(tf.float32, size=0, dynamic_size=True, infer_shape=False)

        def predict(top: tf.Tensor, bands: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            band = self.band(image, air, top)
            return top + self.tile_size, bands.write(top // self.tile_size, tf.transpose(band, [1, 0, 2, 3]))

        _, bands = tf.while_loop(lambda top, _: top < height, predict, (tf.constant(0), bands), parallel_iterations=1)
        logits = tf.transpose(bands.concat(), [1, 0, 2, 3])
        return tf.ensure_shape(logits, [None, None, None, 1])

    def _tile(self, image: tf.Tensor, air: tf.Tensor, top: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
        """Predicts one tile: float32 [batch, rows, columns, 1]."""
        size = tf.shape(image)
        bottom, right = tf.minimum(top + self.tile_size, size[1]), tf.minimum(left + self.tile_size, size[2])
        read_top, read_left = tf.maximum(top - self.halo_px, 0), tf.maximum(left - self.halo_px, 0)
        seen = image[:, read_top : bottom + self.halo_px, read_left : right + self.halo_px]

        def tissue() -> tf.Tensor:
            logits = self.network(seen)
            return logits[:, top - read_top : bottom - read_top, left - read_left : right - read_left]

        if not self.knows_air:
            return tissue()

        def nothing_but_air() -> tf.Tensor:
            rows = self._air_index(tf.range(top, bottom), size[1], tf.shape(air)[0])
            columns = self._air_index(tf.range(left, right), size[2], tf.shape(air)[1])
            logits = tf.gather(tf.gather(air, rows), columns, axis=1)[None, :, :, None]
            return tf.repeat(logits, size[0], axis=0)

        # An image narrower than the small one of zeros has both borders in sight at once: it is computed.
        large = tf.reduce_all(size[1:3] >= tf.shape(air))
        return tf.cond(large & tf.reduce_all(tf.equal(seen, 0.0)), nothing_but_air, tissue)

    def _air_index(self, position: tf.Tensor, length: tf.Tensor, air_length: tf.Tensor) -> tf.Tensor:
        """Maps positions along an axis of the image to positions in `air` at the same place between the borders."""
        from_end = length - 1 - position
        return tf.where(
            position < self.halo_px,
            position,
            tf.where(
                from_end < self.halo_px,
                air_length - 1 - from_end,
                self.halo_px + (position - self.halo_px) % self.alignment_px,
            ),
        )
