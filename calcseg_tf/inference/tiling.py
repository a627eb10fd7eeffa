"""Prediction by tiles that equals prediction of the whole image, borders included.

Every layer of the network pads with zeros at the true border of the image, and only there. A tile is therefore read
with a halo as wide as the network sees, cut off where the image ends: where the halo is whole, what the tile's own
padding spoils is discarded; where it was cut, the tile's padding is the image's own. A network with strides has a grid
that begins at the image's first pixel: its tiles begin at multiples of its cells.

Air costs nothing: over a part of the image that shows air's one value throughout, the answer depends on the distance to
the border and the place in the grid's cell alone, and is looked up in the network's answer to one small image of air.

A network that sees all of its input (`ModelConfig.fixed_tile_px`) has no such answer: what is predicted here, by tiles
of one size with one halo, is by definition its prediction.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from calcseg_tf.inference.air import air_value
from calcseg_tf.inference.full_resolution import FullResolution
from calcseg_tf.models import ModelConfig

__all__ = ["DEFAULT_TILE_SIZE", "TiledNetwork"]

DEFAULT_TILE_SIZE = 256  # px; the working set of the paper's network then stays near 0.2 GB


class Plan(NamedTuple):
    """All that the steps need.

    Attributes:
        image: float32 [batch, height, width, 1].
        air: float32 scalar, the value of air.
        air_logits: float32 [rows, columns], of the smallest image of air that holds what the image can show.
    """

    image: tf.Tensor
    air: tf.Tensor
    air_logits: tf.Tensor


@dataclasses.dataclass(frozen=True)
class TiledNetwork(FullResolution):
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

    def plan(self, image: tf.Tensor) -> Plan:
        """Prepares; see `FullResolution.plan`."""
        if not self.knows_air:
            return Plan(image, tf.constant(0.0), tf.zeros([0, 0]))
        air = air_value(image)
        # The image's size tells where the last cell of the grid is cut.
        size = 2 * self.halo_px + self.alignment_px + tf.shape(image)[1:3] % self.alignment_px
        return Plan(image, air, self.network(tf.fill([1, size[0], size[1], 1], air))[0, :, :, 0])

    def begin(self) -> tf.Tensor:
        """Returns the first row, counted over all images, an int32 scalar."""
        return tf.constant(0)

    def state_shapes(self) -> tf.TensorShape:
        """A scalar."""
        return tf.TensorShape([])

    @property
    def part_shape(self) -> tf.TensorShape:
        """Logits of a band of tiles, [rows, width, 1]."""
        return tf.TensorShape([None, None, 1])

    def unfinished(self, plan: Plan, state: tf.Tensor) -> tf.Tensor:
        """Tells whether rows are left; see `FullResolution.unfinished`."""
        return state < tf.reduce_prod(tf.shape(plan.image)[:2])

    def rows_done(self, plan: Plan, state: tf.Tensor) -> tf.Tensor:
        """Tells how many rows are done; see `FullResolution.rows_done`."""
        return state

    def assemble(self, plan: Plan, parts: tf.Tensor) -> tf.Tensor:
        """Gives the rows back to their images; see `FullResolution.assemble`."""
        return tf.reshape(parts, tf.shape(plan.image))

    def step(self, plan: Plan, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Predicts the band of tiles that starts at row `state`."""
        _, height, width, _ = tf.unstack(tf.shape(plan.image))
        number, top = state // height, state % height
        image = plan.image[number : number + 1]
        # [width, rows, 1]: TensorArray.concat joins along the first axis.
        tiles = tf.TensorArray(tf.float32, size=0, dynamic_size=True, infer_shape=False)

        def predict(left: tf.Tensor, tiles: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            tile = self._tile(plan._replace(image=image), top, left)[0]
            return left + self.tile_size, tiles.write(left // self.tile_size, tf.transpose(tile, [1, 0, 2]))

        _, tiles = tf.while_loop(lambda left, _: left < width, predict, (tf.constant(0), tiles), parallel_iterations=1)
        band = tf.ensure_shape(tf.transpose(tiles.concat(), [1, 0, 2]), self.part_shape)
        return band, number * height + tf.minimum(top + self.tile_size, height)

    def _tile(self, plan: Plan, top: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
        """Predicts one tile: float32 [batch, rows, columns, 1]."""
        image, air = plan.image, plan.air_logits
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

        # An image narrower than the small one of air has both borders in sight at once: it is computed.
        large = tf.reduce_all(size[1:3] >= tf.shape(air))
        return tf.cond(large & tf.reduce_all(tf.equal(seen, plan.air)), nothing_but_air, tissue)

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
