"""The record: one mammogram as a `tf.train.Example`. Every key of it lives here, for the writer and every reader.

TensorFlow is imported inside the functions: its four seconds must not delay the error about a mistyped folder.
"""

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from data_prep.dicom.terms import Laterality, SpacingSource, View
from data_prep.errors import InputError
from data_prep.mask import BACKGROUND, CALCIFICATION, IGNORE
from data_prep.png import decode_grey_png, encode_png
from data_prep.tfrecord import parse_example, serialize_example

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = [
    "BACKGROUND",
    "CALCIFICATION",
    "IGNORE",
    "SCHEMA_VERSION",
    "SPLITS",
    "Record",
    "RecordFacts",
    "decode_image_and_mask",
    "from_example",
    "image_id_of",
    "record_facts",
    "to_example",
]

SCHEMA_VERSION = 1
SPLITS = ("train", "test")

_IMAGE_ENCODED = "image/encoded"
_IMAGE_BITS_STORED = "image/bits_stored"
_IMAGE_HEIGHT = "image/height"
_IMAGE_WIDTH = "image/width"
_MASK_ENCODED = "mask/encoded"
_IMAGE_ID = "image/id"
_PATIENT_ID = "patient/id"
_LATERALITY = "image/laterality"
_VIEW = "image/view"
_SPACING_MM = "image/pixel_spacing_mm"
_SPACING_SOURCE = "image/pixel_spacing_source"
_COUNT = "calcification/count"
_SHA256 = "source/sha256"

_KEYS = frozenset({
    _IMAGE_ENCODED, _IMAGE_BITS_STORED, _IMAGE_HEIGHT, _IMAGE_WIDTH, _MASK_ENCODED, _IMAGE_ID, _PATIENT_ID,
    _LATERALITY, _VIEW, _SPACING_MM, _SPACING_SOURCE, _COUNT, _SHA256,
})  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """One mammogram with its annotation, as it is stored.

    Attributes:
        pixels: uint16 [height, width]; stored values, brighter is denser; full scale 2^bits_stored - 1.
        bits_stored: 8 to 16.
        mask: uint8 [height, width]: BACKGROUND, CALCIFICATION or IGNORE.
        image_id: Salted hash, or the data set's own id where it is public.
        patient_id: Likewise.
        laterality: "L", "R" or "".
        view: A defined term of View Position (0018,5101), or "".
        pixel_spacing_mm: (row, column), or None when unknown.
        pixel_spacing_source: The attribute that gave it, or "unknown".
        calcification_count: 8-connected components of the calcification pixels.
        source_sha256: Hex digest of the source file.
    """

    pixels: np.ndarray
    bits_stored: int
    mask: np.ndarray
    image_id: str
    patient_id: str
    laterality: str
    view: str
    pixel_spacing_mm: tuple[float, float] | None
    pixel_spacing_source: str
    calcification_count: int
    source_sha256: str

    def intensity(self) -> np.ndarray:
        """Returns float32 [height, width] in [0, 1]."""
        return self.pixels.astype(np.float32) / np.float32((1 << self.bits_stored) - 1)


@dataclasses.dataclass(frozen=True)
class RecordFacts:
    """What a record tells of itself without its images being decoded.

    Attributes:
        image_id: As in `Record`.
        height: Of image and mask in px.
        width: Likewise.
        calcification_count: As in `Record`.
    """

    image_id: str
    height: int
    width: int
    calcification_count: int


def record_facts(serialized: bytes) -> RecordFacts:
    """Reads the facts of a record, unchecked but for being there.

    Raises:
        InputError: The bytes are no example, or a key is missing.
    """
    features = parse_example(serialized)
    try:
        return RecordFacts(
            image_id=features[_IMAGE_ID].bytes_list.value[0].decode(),
            height=int(features[_IMAGE_HEIGHT].int64_list.value[0]),
            width=int(features[_IMAGE_WIDTH].int64_list.value[0]),
            calcification_count=int(features[_COUNT].int64_list.value[0]),
        )
    except (IndexError, UnicodeDecodeError):
        raise InputError("a record must hold its id, size and number of calcifications; one is missing") from None


def to_example(record: Record) -> bytes:
    """Serialises a record; the same record gives the same bytes."""
    height, width = record.pixels.shape
    return serialize_example(
        {
            _IMAGE_ENCODED: encode_png(record.pixels),
            _IMAGE_BITS_STORED: record.bits_stored,
            _IMAGE_HEIGHT: height,
            _IMAGE_WIDTH: width,
            _MASK_ENCODED: encode_png(record.mask),
            _IMAGE_ID: record.image_id.encode(),
            _PATIENT_ID: record.patient_id.encode(),
            _LATERALITY: record.laterality.encode(),
            _VIEW: record.view.encode(),
            _SPACING_MM: record.pixel_spacing_mm or (),
            _SPACING_SOURCE: record.pixel_spacing_source.encode(),
            _COUNT: record.calcification_count,
            _SHA256: record.source_sha256.encode(),
        }
    )


def from_example(serialized: bytes) -> Record:
    """Parses a record and checks it against the schema.

    The spacing comes back as float32 stored it: to 1 part in 10 million.

    Raises:
        InputError: A key is missing, unknown or empty, an image does not decode to the size it states, or a value is
            outside the rules of `Record`.
    """
    features = parse_example(serialized)
    if set(features) != _KEYS:
        # Unknown keys are counted: a damaged record may have any.
        raise InputError(
            f"a record of schema {SCHEMA_VERSION} has the keys of data_prep/schema.py; missing are "
            f"{', '.join(sorted(_KEYS.difference(features))) or 'none'}, unknown {len(set(features) - _KEYS)}"
        )

    def single(key: str, kind: str) -> bytes | int:
        values = getattr(features[key], kind).value
        if len(values) != 1:
            raise InputError(f"{key} must hold one value of {kind}; found {len(values)}")
        value: bytes | int = values[0]
        return value

    def integer(key: str) -> int:
        return int(single(key, "int64_list"))

    def data(key: str) -> bytes:
        return bytes(single(key, "bytes_list"))

    def text(key: str) -> str:
        return data(key).decode("utf-8", "replace")

    spacing = tuple(float(value) for value in features[_SPACING_MM].float_list.value)
    record = Record(
        pixels=decode_grey_png(data(_IMAGE_ENCODED)),
        bits_stored=integer(_IMAGE_BITS_STORED),
        mask=decode_grey_png(data(_MASK_ENCODED)),
        image_id=text(_IMAGE_ID),
        patient_id=text(_PATIENT_ID),
        laterality=text(_LATERALITY),
        view=text(_VIEW),
        pixel_spacing_mm=(spacing[0], spacing[1]) if len(spacing) == 2 else None,
        pixel_spacing_source=text(_SPACING_SOURCE),
        calcification_count=integer(_COUNT),
        source_sha256=text(_SHA256),
    )
    _check(record, (integer(_IMAGE_HEIGHT), integer(_IMAGE_WIDTH)), len(spacing))
    return record


def _check(record: Record, size: tuple[int, int], spacing_values: int) -> None:
    pixels, mask = record.pixels, record.mask
    if pixels.shape != size or mask.shape != size or pixels.dtype != np.uint16 or mask.dtype != np.uint8:
        raise InputError(f"image and mask must be uint16 and uint8 of {size}; found {pixels.shape} and {mask.shape}")
    if not 8 <= record.bits_stored <= 16 or int(pixels.max()) >= 1 << record.bits_stored:
        raise InputError(
            f"{_IMAGE_BITS_STORED} must be 8 to 16 and hold every pixel; found {record.bits_stored} and a pixel of "
            f"{int(pixels.max())}"
        )
    values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist()
    if not set(values) <= {BACKGROUND, CALCIFICATION, IGNORE}:
        raise InputError(f"a mask holds 0, 1 and 255 alone; found {values[:8]}")
    if spacing_values not in (0, 2) or not all(0 < length < math.inf for length in record.pixel_spacing_mm or ()):
        raise InputError(
            f"{_SPACING_MM} must be empty or (row, column), finite and greater than 0; found {spacing_values} values"
        )
    if record.laterality not in Laterality._value2member_map_ or record.view not in View._value2member_map_:
        raise InputError(f"{_LATERALITY} and {_VIEW} must be terms of data_prep/dicom/terms.py; found another")
    if record.pixel_spacing_source not in SpacingSource._value2member_map_:
        raise InputError(f"{_SPACING_SOURCE} must be a source of data_prep/dicom/terms.py; found another")


def decode_image_and_mask(serialized: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
    """Decodes one serialised record inside a `tf.data` pipeline.

    Returns:
        image: float32 [height, width, 1], intensity in [0, 1].
        mask: uint8 [height, width, 1]: BACKGROUND, CALCIFICATION or IGNORE.
    """
    import tensorflow as tf

    features = tf.io.parse_single_example(
        serialized,
        {
            _IMAGE_ENCODED: tf.io.FixedLenFeature([], tf.string),
            _IMAGE_BITS_STORED: tf.io.FixedLenFeature([], tf.int64),
            _MASK_ENCODED: tf.io.FixedLenFeature([], tf.string),
        },
    )
    stored = tf.io.decode_png(features[_IMAGE_ENCODED], channels=1, dtype=tf.uint16)
    mask = tf.io.decode_png(features[_MASK_ENCODED], channels=1, dtype=tf.uint8)
    full_scale = tf.bitwise.left_shift(tf.constant(1, tf.int64), features[_IMAGE_BITS_STORED]) - 1
    return tf.cast(stored, tf.float32) / tf.cast(full_scale, tf.float32), mask


def image_id_of(serialized: "tf.Tensor") -> "tf.Tensor":
    """Reads the image id, a string scalar, of one serialised record inside a `tf.data` pipeline."""
    import tensorflow as tf

    feature = {_IMAGE_ID: tf.io.FixedLenFeature([], tf.string)}
    return tf.io.parse_single_example(serialized, feature)[_IMAGE_ID]
