"""TFRecord files of `tf.train.Example` without TensorFlow: its import takes every worker 2 s and 300 MB.

The bytes are TensorFlow's own, which the tests compare. Its reader ends the process on a damaged file whose first bytes
claim a record of a terabyte with a checksum that fits.
"""

import contextlib
import os
import pathlib
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import google_crc32c
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from data_prep.errors import InputError

__all__ = ["Example", "count_records", "parse_example", "read_tfrecord", "serialize_example", "write_tfrecord"]

_MASK_DELTA = 0xA282EAD8  # tensorflow/core/lib/hash/crc32c.h: a CRC of data that holds CRCs is masked
_CRC_BYTES = 4
_HEADER_BYTES = 8 + _CRC_BYTES


def write_tfrecord(path: pathlib.Path, records: Iterable[bytes]) -> None:
    """Writes records as a TFRecord file: length, its CRC, data, its CRC (tensorflow/core/lib/io/record_writer.cc).

    Raises:
        OSError: The file cannot be written; a part of it may be there.
    """
    with path.open("wb") as file:
        for record in records:
            length = struct.pack("<Q", len(record))
            file.write(length + _masked_crc(length))
            file.write(record)
            file.write(_masked_crc(record))
            del record  # megabytes, which would stay while the next is made


def read_tfrecord(path: pathlib.Path) -> Iterator[bytes]:
    """Yields the records of a TFRecord file, in memory of one record, whatever length it claims.

    Raises:
        InputError: The file cannot be read, is truncated, or a checksum does not fit.
    """
    with _opened(path) as (file, size):
        while (length := _read_length(file, size, path)) is not None:
            record = file.read(length)
            if file.read(_CRC_BYTES) != _masked_crc(record):
                raise InputError("not a whole TFRecord file (a record's checksum does not fit)", path)
            yield record
            del record  # megabytes, which would stay while the next is read


def count_records(path: pathlib.Path) -> int:
    """Counts the records of a TFRecord file by their lengths, without reading what is in them.

    Raises:
        InputError: The file cannot be read, is truncated, or a length's checksum does not fit.
    """
    count = 0
    with _opened(path) as (file, size):
        while (length := _read_length(file, size, path)) is not None:
            file.seek(length + _CRC_BYTES, os.SEEK_CUR)
            count += 1
    return count


def serialize_example(features: Mapping[str, bytes | int | Sequence[float]]) -> bytes:
    """Serialises a `tf.train.Example`: bytes and integers as lists of one value, floats as a list of float32.

    The same features give the same bytes.
    """
    example = Example()
    for key, value in features.items():
        feature = example.features.feature[key]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.float_list.SetInParent()  # also where it is empty
            feature.float_list.value.extend(value)
    return bytes(example.SerializeToString(deterministic=True))


def parse_example(serialized: bytes) -> Mapping[str, Any]:
    """Parses a `tf.train.Example`: key -> `tf.train.Feature`.

    Raises:
        InputError: The bytes are none.
    """
    try:
        features: Mapping[str, Any] = Example.FromString(serialized).features.feature
    except DecodeError:
        raise InputError("a record must be a tf.train.Example; found damaged bytes") from None
    return features


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[tuple[BinaryIO, int]]:
    try:
        with path.open("rb") as file:
            yield file, path.stat().st_size
    except OSError as error:
        raise InputError(f"not a whole TFRecord file ({error.strerror})", path) from None


def _read_length(file: BinaryIO, size: int, path: pathlib.Path) -> int | None:
    """Reads the header of the next record; None at the end of the file, which has `size` bytes."""
    header = file.read(_HEADER_BYTES)
    if not header:
        return None
    if len(header) < _HEADER_BYTES or _masked_crc(header[:8]) != header[8:]:
        raise InputError("not a whole TFRecord file (a record's length is damaged)", path)
    (length,) = struct.unpack("<Q", header[:8])
    if file.tell() + length + _CRC_BYTES > size:
        raise InputError("not a whole TFRecord file (its end is missing)", path)
    return int(length)


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)


def _example_class() -> Any:
    """Declares the messages of tensorflow/core/example/{example,feature}.proto in a pool of their own."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="records", syntax="proto3")

    def add_message(name: str, *fields: tuple[str, int, int, str]) -> Any:
        message = file.message_type.add(name=name)
        for number, (field_name, label, kind, type_name) in enumerate(fields, start=1):
            message.field.add(name=field_name, number=number, label=label, type=kind, type_name=type_name or None)
        return message

    one, many, message = field.LABEL_OPTIONAL, field.LABEL_REPEATED, field.TYPE_MESSAGE
    add_message("BytesList", ("value", many, field.TYPE_BYTES, ""))
    add_message("FloatList", ("value", many, field.TYPE_FLOAT, ""))
    add_message("Int64List", ("value", many, field.TYPE_INT64, ""))
    feature = add_message(
        "Feature",
        ("bytes_list", one, message, ".records.BytesList"),
        ("float_list", one, message, ".records.FloatList"),
        ("int64_list", one, message, ".records.Int64List"),
    )
    feature.oneof_decl.add(name="kind")
    for alternative in feature.field:
        alternative.oneof_index = 0
    features = add_message("Features", ("feature", many, message, ".records.Features.FeatureEntry"))
    entry = features.nested_type.add(name="FeatureEntry")
    entry.field.add(name="key", number=1, label=one, type=field.TYPE_STRING)
    entry.field.add(name="value", number=2, label=one, type=message, type_name=".records.Feature")
    entry.options.map_entry = True
    add_message("Example", ("features", one, message, ".records.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("records.Example"))


Example = _example_class()
"""The message class of `tf.train.Example`."""
