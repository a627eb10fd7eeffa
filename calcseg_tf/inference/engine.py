"""Exact prediction of whole images by a chain of convolutions, without computing anything twice.

The image is cut into cells of S x S px. A convolution that sees r px computes, from cells whose first pixel lies at
(y, x), cells whose first pixel lies at (y - r, x - r): then a cell sees itself and its neighbours above, to the left
and above to the left, and nothing else. Layer after layer, cells are computed in reading order; of what came before,
only the last row of cells is kept. Tiles of 256 px with a halo of 22 would compute 1.4 times the image.

Every layer of the network pads with zeros at the image's true border: what a cell sees outside is read from a pixel
that holds zeros. Cells that see one value alone, that of air, are not computed: what they hold depends on the distance
to the border alone, and is looked up in the cells of one small image of air, computed in the same way. Both are exact.
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from calcseg_tf.inference.air import air_value, large_enough, sees_more_than
from calcseg_tf.inference.cell_grid import CellGrid
from calcseg_tf.inference.full_resolution import FullResolution
from calcseg_tf.inference.stages import Stage, stages_of
from calcseg_tf.models.normalization import IntensityNormalization

__all__ = ["Engine"]

_STEP_PX = 104 * 32**2  # computed at once, a row of 3328 px: arrays of the widest block stay near 100 MB
_CELL_PX, _CELL_PX_GPU = 64, 256  # where no stage has a say: measured on a CPU; on a GPU few, large operations

Features = tuple[tf.Tensor, ...]


class Plan(NamedTuple):
    """All that the steps need.

    Attributes:
        size: int32 [2], height and width of the images.
        image: float32 [batch, height, width, 1], intensities.
        prepared: Of each stage, what depends on its weights.
        bank: Of each stage but the first, what it takes from cells that are not computed: float32 [S, S, 1 + cells of
            the image of air, channels], the first of them zeros.
        bank_logits: float32 [1 + cells of the image of air, S, S].
        codes: int32 [batch, rows, columns], where to find a cell: in the bank, or after it among those computed.
        places: int32 [computed cells, 3], image, row and column of each.
        seen: int32 [computed cells, 2, 2], the codes of the cells above left, above, left, and of itself.
        before: int32 [batch x rows + 1], how many cells were computed before each row of cells.
    """

    size: tf.Tensor
    image: tf.Tensor
    prepared: tuple[tuple[tf.Tensor, ...], ...]
    bank: Features
    bank_logits: tf.Tensor
    codes: tf.Tensor
    places: tf.Tensor
    seen: tf.Tensor
    before: tf.Tensor


class State(NamedTuple):
    """What one step leaves to the next.

    Attributes:
        row: int32 scalar, the next row of cells, counted over all images.
        above: Of each stage but the first, what it takes from the computed cells of the row before.
    """

    row: tf.Tensor
    above: Features


class Engine(FullResolution):
    """Applies a chain of convolutions to whole images, in stock TensorFlow operations; `plan` reads the weights."""

    def __init__(self, normalization: IntensityNormalization, stages: tuple[Stage, ...], cell_px: int) -> None:
        if any(2 * stage.reach > cell_px for stage in stages):
            raise ValueError(f"a stage sees more than its neighbouring cells of {cell_px} px")
        self._normalization = normalization
        self._stages = stages
        self._grid = CellGrid(cell_px, sum(stage.reach for stage in stages))
        self._cells_per_step = max(1, _STEP_PX // cell_px**2)

    @classmethod
    def of(cls, network: keras.Model) -> "Engine":
        """Makes the engine of a network as `calcseg_tf.models.fcn` builds it, which keeps its variables.

        Raises:
            ValueError: The network is not such a chain.
        """
        _, normalization, *layers = network.layers
        stages = stages_of(layers)
        default = _CELL_PX_GPU if tf.config.list_logical_devices("GPU") else _CELL_PX
        wanted = [stage.cell_px for stage in stages if stage.cell_px is not None]
        return cls(normalization, stages, wanted[0] if wanted else default)

    def plan(self, image: tf.Tensor) -> Plan:
        """Prepares; see `FullResolution.plan`."""
        size = tf.shape(image)[1:3]
        prepared = tuple(stage.prepare() for stage in self._stages)
        air = air_value(image)
        computed = sees_more_than(air, image, self._grid)
        with_air = large_enough(size, self._grid) & ~tf.reduce_all(computed)
        computed |= ~with_air
        bank, bank_logits = tf.cond(
            with_air, lambda: self._bank_of(air, size, prepared), lambda: (self._zeros(), self._zero_logits())
        )
        first = tf.shape(bank_logits)[0]
        codes = self._grid.codes(computed, first, size)
        return Plan(
            size=size,
            image=image,
            prepared=prepared,
            bank=bank,
            bank_logits=bank_logits,
            codes=codes,
            places=tf.cast(tf.where(computed), tf.int32),
            seen=self._grid.seen(codes, computed),
            before=self._grid.before(computed),
        )

    def begin(self) -> State:
        """Begins; see `FullResolution.begin`."""
        return State(tf.constant(0), tuple(zeros[:, :, :0] for zeros in self._zeros()))

    def state_shapes(self) -> State:
        """Tells shapes; see `FullResolution.state_shapes`."""
        side = self._grid.cell_px
        shapes = tuple(tf.TensorShape([side, side, None, stage.channels]) for stage in self._stages[1:])
        return State(tf.TensorShape([]), shapes)

    @property
    def part_shape(self) -> tf.TensorShape:
        """Logits of cells, [cells, S, S]."""
        return tf.TensorShape([None, self._grid.cell_px, self._grid.cell_px])

    def unfinished(self, plan: Plan, state: State) -> tf.Tensor:
        """Tells whether cells are left; see `FullResolution.unfinished`."""
        return plan.before[state.row] < plan.before[-1]

    def step(self, plan: Plan, state: State) -> tuple[tf.Tensor, State]:
        """Computes as many whole rows of cells as a step holds, one at least."""
        begin = plan.before[state.row]
        fitting = _count_up_to(plan.before, begin + self._cells_per_step) - 1
        last = tf.maximum(fitting, _count_up_to(plan.before, begin))
        end = plan.before[last]
        # Slots: the bank, the row above, then what is computed here.
        above = plan.before[tf.maximum(state.row - 1, 0)]
        seen = plan.seen[begin:end]
        slots = tf.where(seen < tf.shape(plan.bank_logits)[0], seen, seen - above)
        known = tuple(zip(plan.bank, state.above, strict=True))
        logits, features = self._compute(plan.image, plan.size, plan.prepared, known, plan.places[begin:end], slots)
        kept = end - plan.before[last - 1]
        rows = tuple(each[:, :, end - begin - kept :] for each in features)
        return logits, State(last, rows)

    def rows_done(self, plan: Plan, state: State) -> tf.Tensor:
        """Tells how far the answer reaches; see `FullResolution.rows_done`."""
        rows = tf.shape(plan.codes)[1]
        done = tf.clip_by_value(state.row % rows * self._grid.cell_px - self._grid.halo_px, 0, plan.size[0])
        return state.row // rows * plan.size[0] + done

    def assemble(self, plan: Plan, parts: tf.Tensor) -> tf.Tensor:
        """Lays the cells in place; see `FullResolution.assemble`."""
        cells = tf.gather(tf.concat([plan.bank_logits, parts], 0), plan.codes)
        batch, rows, columns = tf.unstack(tf.shape(plan.codes))
        side, halo = self._grid.cell_px, self._grid.halo_px
        raster = tf.reshape(tf.transpose(cells, [0, 1, 3, 2, 4]), [batch, rows * side, columns * side, 1])
        return raster[:, halo : halo + plan.size[0], halo : halo + plan.size[1]]

    def _seen_in(self, image: tf.Tensor, places: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the normalised pixels that the first stage sees, [count, 1], and their places in the tiles."""
        pixel = self._grid.image_index(places, size, self._stages[0].reach)
        intensity = self._normalization(tf.gather(tf.reshape(image, [-1]), tf.maximum(pixel, 0)))
        seen = tf.where(pixel < 0, 0.0, intensity)
        return tf.reshape(seen, [-1, 1]), tf.reshape(tf.range(tf.size(pixel)), tf.shape(pixel))

    def _zeros(self) -> Features:
        side = self._grid.cell_px
        return tuple(tf.zeros([side, side, 1, stage.channels]) for stage in self._stages[1:])

    def _zero_logits(self) -> tf.Tensor:
        return tf.zeros([1, self._grid.cell_px, self._grid.cell_px])

    def _bank_of(
        self, air: tf.Tensor, size: tf.Tensor, prepared: tuple[tuple[tf.Tensor, ...], ...]
    ) -> tuple[Features, tf.Tensor]:
        """Computes every cell of the smallest image of air that holds all distances to the borders of `size`."""
        small = self._grid.air_size(size)
        image = tf.fill([1, small[0], small[1], 1], air)
        everywhere = tf.ones([1, *tf.unstack(self._grid.cells_along(small))], tf.bool)
        codes = self._grid.codes(everywhere, tf.constant(1), small)
        places, slots = tf.cast(tf.where(everywhere), tf.int32), self._grid.seen(codes, everywhere)
        logits, features = self._compute(
            image, small, prepared, tuple((zero,) for zero in self._zeros()), places, slots
        )
        bank = tuple(tf.concat([zero, each], 2) for zero, each in zip(self._zeros(), features, strict=True))
        return bank, tf.concat([self._zero_logits(), logits], 0)

    def _compute(
        self,
        image: tf.Tensor,
        size: tf.Tensor,
        prepared: tuple[tuple[tf.Tensor, ...], ...],
        known: tuple[Features, ...],
        places: tf.Tensor,
        slots: tf.Tensor,
    ) -> tuple[tf.Tensor, Features]:
        """Computes cells in reading order.

        Args:
            image: See `Plan`.
            size: See `Plan`.
            prepared: See `Plan`.
            known: Of each stage but the first, what it takes from known cells, tensors [S, S, some, channels] that are
                joined not before they are wanted; slot 0 zeros.
            places: int32 [cells, 3], image, row and column of each.
            slots: int32 [cells, 2, 2], the slots of what each cell sees: known ones first, then the cells themselves.

        Returns:
            Logits [cells, S, S], and what each stage but the first takes from the cells, [S, S, cells, channels].
        """
        first, *others = self._stages
        offset = first.reach
        features = first.apply(*self._seen_in(image, places, size), prepared[0])
        taken = []
        for stage, weights, cells in zip(others, prepared[1:], known, strict=True):
            projected = stage.project(features, weights)
            taken.append(projected)
            pool = tf.concat([*cells, projected], 2)
            index = self._grid.cell_index(places, slots, size, stage.reach, offset, tf.shape(pool)[2])
            features = stage.apply(tf.reshape(pool, [-1, stage.channels]), index, weights)
            offset += stage.reach
        return tf.transpose(features[..., 0], [2, 0, 1]), tuple(taken)


def _count_up_to(values: tf.Tensor, most: tf.Tensor) -> tf.Tensor:
    """Counts the values that are `most` at most."""
    return tf.reduce_sum(tf.cast(values <= most, tf.int32))
