"""A batch of images divided into bands, so that what is computed band by band needs the memory of one."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

__all__ = ["Bands", "Rows"]

_PIXELS_AT_ONCE = 1 << 16  # of a band, over its images; with fewer, what is done once a band costs too much
_ROWS = 32  # bands begin at multiples of this, so that the tiles of a Fourier transform are full

Rows = Callable[[tf.Tensor, int], tf.Tensor]
"""Takes a band's number and a halo; gives the band's rows and so many above and below, as far as the image goes:
[images, rows, width, channels]."""


@dataclasses.dataclass(frozen=True)
class Bands:
    """Bands of rows of one image each, or, where images are small, of several whole images.

    Attributes:
        batch: Images.
        height: In px.
        width: In px; int32 scalars, as the others.
        images: At most so many in a band.
        rows: At most so many in a band; all of an image, or a multiple of 32 of it.
    """

    batch: Any
    height: Any
    width: Any
    images: Any
    rows: Any

    @staticmethod
    def of(image: tf.Tensor) -> "Bands":
        """Divides [batch, height, width, channels]."""
        batch, height, width = tf.unstack(tf.shape(image)[:3])
        rows = tf.maximum(_PIXELS_AT_ONCE // (width * _ROWS), 1) * _ROWS
        return Bands(
            batch=batch,
            height=height,
            width=width,
            images=tf.clip_by_value(_PIXELS_AT_ONCE // (height * width), 1, batch),
            rows=tf.minimum(rows, height),
        )

    @property
    def count(self) -> tf.Tensor:
        """How many bands there are."""
        return -(-self.batch // self.images) * self._to_an_image

    def of_tensor(self, image: tf.Tensor) -> Rows:
        """Gives the rows of [batch, height, width, channels]."""

        def rows(band: tf.Tensor, halo: int) -> tf.Tensor:
            first, last = self._window(band, halo)
            image_number = band // self._to_an_image * self.images
            return image[image_number : image_number + self.images, first:last]

        return rows

    def padded(self, source: Rows, band: tf.Tensor, halo: int, reach: int) -> tf.Tensor:
        """Gives the rows of a band with its halo and `reach` px more on every side, zeros where the image ends."""
        first, last = self._window(band, halo)
        above, below = tf.maximum(reach - first, 0), tf.maximum(reach - (self.height - last), 0)
        return tf.pad(source(band, halo + reach), [[0, 0], [above, below], [reach, reach], [0, 0]])

    def scan(
        self,
        step: Callable[..., tuple[tf.Tensor, Sequence[tf.Tensor]]],
        state: Sequence[tf.Tensor],
        channels: int,
        keep: bool = True,
    ) -> tuple["_Kept", list[tf.Tensor]]:
        """Computes one band after another.

        Args:
            step: Takes a band's number and the state, tensor by tensor; gives the band's result, float32 [images, rows,
                width, channels], and the next state.
            state: The first state.
            channels: Of the results.
            keep: Whether the results are kept.

        Returns:
            The results, and the last state.
        """
        kept = tf.TensorArray(
            tf.float32,
            self.count,
            clear_after_read=False,
            infer_shape=False,
            element_shape=[None, None, None, channels],
        )

        def body(band: tf.Tensor, kept: tf.TensorArray, *state: tf.Tensor) -> tuple[Any, ...]:
            result, next_state = step(band, *state)
            return band + 1, kept.write(band, result) if keep else kept, *next_state

        _, kept, *last_state = tf.while_loop(
            lambda band, *_: band < self.count, body, (0, kept, *state), parallel_iterations=1
        )
        return _Kept(self, kept), last_state

    @property
    def _to_an_image(self) -> tf.Tensor:
        return -(-self.height // self.rows)

    def _window(self, band: tf.Tensor, halo: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the first row of a band with its halo, and the one after the last."""
        first = band % self._to_an_image * self.rows
        return tf.maximum(first - halo, 0), tf.minimum(first + self.rows + halo, self.height)


@dataclasses.dataclass(frozen=True)
class _Kept:
    """The results of a scan.

    Attributes:
        bands: How the batch was divided.
        array: One element a band.
    """

    bands: Bands
    array: tf.TensorArray

    def rows(self, band: tf.Tensor, halo: int) -> tf.Tensor:
        """Gives rows, as `Rows`; the halo reaches no further than into the next bands."""
        if halo == 0:
            return self.array.read(band)
        first, last = self.bands._window(band, halo)
        own = band % self.bands._to_an_image * self.bands.rows
        middle = self.array.read(band)
        above, below = own - first, last - tf.minimum(own + self.bands.rows, self.bands.height)

        def with_halo() -> tf.Tensor:
            # Where the image ends, nothing is taken of what is read.
            before = self.array.read(tf.where(above > 0, band - 1, band))
            after = self.array.read(tf.where(below > 0, band + 1, band))
            return tf.concat([before[:, tf.shape(before)[1] - above :], middle, after[:, :below]], axis=1)

        return tf.cond(above + below > 0, with_halo, lambda: middle)

    def whole(self, shape: Sequence[Any]) -> tf.Tensor:
        """Puts one-channel results together, in a shape whose sizes may be None."""
        # A band holds whole images or rows of one: one after another, their pixels are in the batch's order.
        size = [self.bands.batch, self.bands.height, self.bands.width, 1]
        flat = tf.TensorArray(tf.float32, self.bands.count, infer_shape=False, element_shape=[None])
        _, flat = tf.while_loop(
            lambda band, _: band < self.bands.count,
            lambda band, flat: (band + 1, flat.write(band, tf.reshape(self.array.read(band), [-1]))),
            (0, flat),
        )
        return tf.ensure_shape(tf.reshape(flat.concat(), size), shape)
