"""Where the engine's cells lie, what they see, and where that is found."""

import dataclasses

import tensorflow as tf

__all__ = ["CellGrid"]


@dataclasses.dataclass(frozen=True)
class CellGrid:
    """Cells that cover an image in every layer of a chain of convolutions.

    After layers that see o px together, cell (row, column) covers the pixels from (row S - o, column S - o) on. The
    last cells, with o = halo, cover the image; cells and their pixels may lie outside it.

    Rows of cells differ by how far they lie from the top and the bottom of the image, columns likewise: the first
    `_edge` see the top, those from height // S on the bottom, and all between are alike. An image of air that has one
    of those between holds all there are (`air_size`).

    Attributes:
        cell_px: S.
        halo_px: How far the network sees in each direction.
    """

    cell_px: int
    halo_px: int

    @property
    def _edge(self) -> int:
        return -(-2 * self.halo_px // self.cell_px)

    @property
    def least_px(self) -> int:
        """The least height or width at which top and bottom are never in sight at once."""
        return (self._edge + 1) * self.cell_px

    def cells_along(self, size: tf.Tensor) -> tf.Tensor:
        """Returns how many rows and columns of cells images of a size have, int32 [2]."""
        return -(-(size + self.halo_px) // self.cell_px)

    def air_size(self, size: tf.Tensor) -> tf.Tensor:
        """Returns height and width of the smallest image of air with all distances to the borders of `size`."""
        return self.least_px + size % self.cell_px

    def codes(self, computed: tf.Tensor, first: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        """Numbers cells: those computed from `first` on in reading order, others as the image of air has them, from 1.

        Args:
            computed: bool [batch, rows, columns].
            first: int32 scalar.
            size: int32 [2], of the image.

        Returns:
            int32 [batch, rows, columns].
        """
        order = tf.reshape(tf.cumsum(tf.reshape(tf.cast(computed, tf.int32), [-1]), exclusive=True), tf.shape(computed))
        rows, columns = (self._alike(tf.shape(computed)[axis + 1], size[axis]) for axis in (0, 1))
        in_air = 1 + rows[:, None] * self.cells_along(self.air_size(size))[1] + columns
        return tf.where(computed, first + order, in_air)

    def _alike(self, count: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        """Returns for each row of cells the row of the image of air that is like it."""
        row = tf.range(count)
        at_bottom = length // self.cell_px
        return tf.where(row < at_bottom, tf.minimum(row, self._edge), row - at_bottom + self._edge + 1)

    def seen(self, codes: tf.Tensor, computed: tf.Tensor) -> tf.Tensor:
        """Returns int32 [computed cells, 2, 2], the codes of the cells above left, above, left, and of itself.

        Outside the grid everything lies outside the image: 0.
        """
        framed = tf.pad(codes, [[0, 0], [1, 0], [1, 0]])
        above = tf.stack([framed[:, :-1, :-1], framed[:, :-1, 1:]], -1)
        beside = tf.stack([framed[:, 1:, :-1], framed[:, 1:, 1:]], -1)
        return tf.boolean_mask(tf.stack([above, beside], -2), computed)

    def before(self, computed: tf.Tensor) -> tf.Tensor:
        """Returns int32 [batch x rows + 1], how many cells are computed before each row."""
        in_row = tf.reduce_sum(tf.cast(computed, tf.int32), axis=2)
        return tf.concat([[0], tf.cumsum(tf.reshape(in_row, [-1]))], 0)

    def image_index(self, places: tf.Tensor, size: tf.Tensor, reach: int) -> tf.Tensor:
        """Tells which pixels the first layer sees.

        Args:
            places: int32 [cells, 3], image, row and column.
            size: int32 [2], height and width.
            reach: How far the layer sees.

        Returns:
            int32 [S + 2 reach, S + 2 reach, cells]: the pixel's number in the batch, or -1 outside its image.
        """
        image, row, column = tf.unstack(places, axis=1)
        y, x = (self._positions(along, 0, reach) for along in (row, column))
        inside = _inside(y, size[0])[:, None] & _inside(x, size[1])
        pixel = (image * size[0] + y)[:, None] * size[1] + x
        return tf.where(inside, pixel, -1)

    def cell_index(
        self, places: tf.Tensor, slots: tf.Tensor, size: tf.Tensor, reach: int, offset: int, count: tf.Tensor
    ) -> tf.Tensor:
        """Tells which pixels of cells [S, S, count] a later layer sees.

        Args:
            places: int32 [cells, 3], image, row and column.
            slots: int32 [cells, 2, 2], where the cells above left, above, left, and the cell itself are among `count`.
            size: int32 [2], height and width.
            reach: How far the layer sees.
            offset: How far the layers before it see together.
            count: int32 scalar.

        Returns:
            int32 [S + 2 reach, S + 2 reach, cells]: 0 outside the image.
        """
        _, row, column = tf.unstack(places, axis=1)
        inside = [_inside(self._positions(along, offset, reach), size[i]) for i, along in enumerate((row, column))]
        position = tf.range(-2 * reach, self.cell_px)
        own = tf.cast(position >= 0, tf.int32)
        slot = tf.gather(tf.gather(tf.transpose(slots, [1, 2, 0]), own), own, axis=1)
        within = position % self.cell_px
        pixel = (within[:, None] * self.cell_px + within)[..., None] * count + slot
        return tf.where(inside[0][:, None] & inside[1], pixel, 0)

    def _positions(self, along: tf.Tensor, offset: int, reach: int) -> tf.Tensor:
        """Returns rows (or columns) of the image, int32 [S + 2 reach, cells], that a layer sees."""
        return tf.range(-2 * reach, self.cell_px)[:, None] + (along * self.cell_px - offset)


def _inside(position: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    return (position >= 0) & (position < length)
