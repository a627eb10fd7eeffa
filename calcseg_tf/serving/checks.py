"""Checks of what a client sends, inside the graph: each error tells the rule and what was found.

They cost three passes of reading over an image and take no memory.
"""

import tensorflow as tf

from data_prep.png import MAX_PIXELS

__all__ = ["check_intensities", "check_png", "check_tile_places", "require"]

# Bytes of a PNG (PNG 1.2, 11.2.2): signature and IHDR's length and type, width, height, bit depth and colour type;
# behind IHDR and its checksum may stand sBIT, one byte for a grey image.
_SIGNATURE_AND_IHDR = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_SBIT = b"\0\0\0\x01sBIT"
_SBIT_AT = 33
_HEAD_BYTES = _SBIT_AT + len(_SBIT) + 1
_END = b"IEND\xaeB`\x82"


def require(condition: tf.Tensor, *message: str | tf.Tensor) -> tf.Operation:
    """Fails with INVALID_ARGUMENT unless the condition holds.

    Args:
        condition: bool scalar.
        message: Strings and scalar tensors that make one line.
    """
    parts = [
        part if isinstance(part, str) or part.dtype == tf.string else tf.strings.as_string(part) for part in message
    ]
    return tf.debugging.Assert(condition, [tf.strings.join(parts)])


def check_intensities(image: tf.Tensor, side: int | None = None) -> tf.Tensor:
    """Returns the image; fails unless it has pixels, at most `MAX_PIXELS` each, all finite and in [0, 1].

    Args:
        image: float32 [batch, height, width, 1].
        side: Height and width that it must have, in px; None for any.
    """
    # Neither a session nor a loaded signature holds its caller to the shape that the signature declares.
    image = tf.ensure_shape(image, [None, side, side, 1])
    batch, height, width, _ = tf.unstack(tf.shape(image, tf.int64))
    has_pixels = require(
        (batch >= 1) & _has_allowed_size(height, width),
        f"image must be [batch, height, width, 1] with 1 to {MAX_PIXELS} pixels each; found [",
        batch, ", ", height, ", ", width, ", 1]",
    )  # fmt: skip
    with tf.control_dependencies([has_pixels]):
        lowest, highest = tf.reduce_min(image), tf.reduce_max(image)
        # The least and the greatest may pass over a NaN; a sum never does.
        finite = tf.math.is_finite(tf.reduce_sum(image))
    in_range = require(
        finite & (lowest >= 0.0) & (highest <= 1.0),
        "image must hold finite intensities in [0, 1], stored value / (2^BitsStored - 1); found ",
        lowest, " to ", highest, tf.where(finite, "", ", not all finite"),
    )  # fmt: skip
    with tf.control_dependencies([in_range]):
        return tf.identity(image)


def check_tile_places(origin: tf.Tensor, size: tf.Tensor, batch: tf.Tensor, multiple_px: int) -> tf.Tensor:
    """Returns `origin`; fails unless every tile begins in its image, at a multiple of the grid.

    Args:
        origin: int32 [batch, 2], (row, column).
        size: int32 [batch, 2], (height, width).
        batch: int32 scalar, the number of windows.
        multiple_px: Side of a cell of the grid.
    """
    origin, size = tf.ensure_shape(origin, [None, 2]), tf.ensure_shape(size, [None, 2])
    origins, sizes = tf.shape(origin)[0], tf.shape(size)[0]
    one_each = require(
        (origins == batch) & (sizes == batch),
        "every window needs an origin and a size; found ", batch, " windows, ", origins, " origins, ", sizes, " sizes",
    )  # fmt: skip
    with tf.control_dependencies([one_each]):
        inside = tf.reduce_all((origin >= 0) & (origin < size) & (origin % multiple_px == 0))
    in_image = require(
        inside,
        f"origin must lie in the image at multiples of {multiple_px} px; found ",
        tf.strings.format("origin {} in an image of size {}", (origin, size)),
    )
    with tf.control_dependencies([in_image]):
        return tf.identity(origin)


def check_png(image_bytes: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Looks at the ends of a PNG without decoding it.

    Without these checks decode_png would stretch 8 bits to 16 and turn colour to grey, silently, and take memory for
    whatever size a header claims.

    Args:
        image_bytes: string scalar.
        index: int scalar, its place in the request.

    Returns:
        The bytes, and how many bits of a sample are significant: int32, 16 unless an sBIT chunk says less.
    """
    # Lengthened, for bytes too short to be a PNG would fail here with an obscurer error.
    head = tf.strings.join([tf.strings.substr(image_bytes, 0, _HEAD_BYTES), "\0" * _HEAD_BYTES])
    head = tf.strings.substr(head, 0, _HEAD_BYTES)
    code = tf.cast(tf.io.decode_raw(head, tf.uint8), tf.int64)
    width, height = (tf.reduce_sum(code[at : at + 4] * [1 << 24, 1 << 16, 1 << 8, 1]) for at in (16, 20))
    name = tf.strings.join(["image_bytes[", tf.strings.as_string(index), "] "])
    rule = "must be a PNG with one grey channel of 16 bits; found "
    is_png = require(
        tf.equal(tf.strings.substr(head, 0, 16), _SIGNATURE_AND_IHDR),
        name, rule, tf.strings.length(image_bytes), " bytes that do not begin as a PNG",
    )  # fmt: skip
    with tf.control_dependencies([is_png]):
        is_grey = require(
            (code[24] == 16) & (code[25] == 0), name, rule, "bit depth ", code[24], ", colour type ", code[25]
        )
        fits = require(
            _has_allowed_size(height, width),
            name, f"must have 1 to {MAX_PIXELS} pixels; found ", height, " x ", width,
        )  # fmt: skip
        length = tf.strings.length(image_bytes)
        end = tf.strings.substr(image_bytes, tf.maximum(length - len(_END), 0), len(_END))
        whole = require(tf.equal(end, _END), name, "must be a whole PNG; found one that does not end with IEND")
    has_sbit = tf.equal(tf.strings.substr(head, _SBIT_AT, len(_SBIT)), _SBIT)
    bits = tf.cast(code[_HEAD_BYTES - 1], tf.int32)
    with tf.control_dependencies([is_grey, fits, whole]):
        return tf.identity(image_bytes), tf.where(has_sbit & (bits >= 1) & (bits < 16), bits, 16)


def _has_allowed_size(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Tells whether int64 scalars make 1 to `MAX_PIXELS` pixels; each alone first, for their product may overflow."""
    each = (height >= 1) & (width >= 1) & (height <= MAX_PIXELS) & (width <= MAX_PIXELS)
    return each & (height * width <= MAX_PIXELS)
