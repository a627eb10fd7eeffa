"""Where a mammogram shows one value alone: half of it and more is air, whatever value the detector gives to air."""

import tensorflow as tf

from calcseg_tf.inference.cell_grid import CellGrid

__all__ = ["air_value", "large_enough", "sees_more_than"]

_SAMPLED_PX = 16
_POOL_PX = 4


def air_value(image: tf.Tensor) -> tf.Tensor:
    """Returns the commonest intensity of a grid of pixels, a float32 scalar.

    Any value is right: of the wrong one less is found, and computed as tissue is.

    Args:
        image: float32 [batch, height, width, 1].
    """
    values, _, counts = tf.unique_with_counts(tf.reshape(image[:, ::_SAMPLED_PX, ::_SAMPLED_PX], [-1]))
    return values[tf.argmax(counts)]


def large_enough(size: tf.Tensor, grid: CellGrid) -> tf.Tensor:
    """Tells whether an image is so large that its air can be looked up, a bool scalar."""
    return tf.reduce_all(size >= grid.least_px)


def sees_more_than(air: tf.Tensor, image: tf.Tensor, grid: CellGrid) -> tf.Tensor:
    """Tells which cells see anything but air, bool [batch, rows, columns]; some more may be told, and none less.

    Args:
        air: float32 scalar.
        image: float32 [batch, height, width, 1]; NaN is not air.
        grid: A cell sees all from 2 halos above and to the left of its place in the image on.
    """
    other = tf.not_equal(image[..., 0], air)
    cells = grid.cells_along(tf.shape(image)[1:3])
    margin = -(-2 * grid.halo_px // _POOL_PX) * _POOL_PX
    after = cells * grid.cell_px - tf.shape(image)[1:3]
    # One byte a pixel, and a sixteenth of it from here on.
    padded = tf.pad(other, [[0, 0], [margin, after[0]], [margin, after[1]]])
    rows, columns = tf.unstack(tf.shape(padded)[1:] // _POOL_PX)
    blocks = tf.reshape(
        tf.reduce_any(tf.reshape(padded, [-1, rows, _POOL_PX, columns * _POOL_PX]), 2), [-1, rows, columns, _POOL_PX]
    )
    pooled = tf.cast(tf.reduce_any(blocks, 3), tf.float32)[..., None]
    window, stride = (margin + grid.cell_px) // _POOL_PX, grid.cell_px // _POOL_PX
    return tf.nn.max_pool2d(pooled, window, stride, "VALID")[..., 0] > 0
