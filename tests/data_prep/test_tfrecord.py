import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.errors import InputError
from data_prep.schema import to_example
from data_prep.tfrecord import count_records, parse_example, read_tfrecord, serialize_example, write_tfrecord
from tests.fakes.records import claim_length, fake_record

records = st.lists(st.binary(max_size=300), max_size=5)
features = st.dictionaries(
    st.text(max_size=20),
    st.one_of(
        st.binary(max_size=50),
        st.integers(-(2**63), 2**63 - 1),
        st.lists(st.floats(width=32, allow_nan=False), max_size=3).map(tuple),
    ),
    max_size=6,
)


def by_tensorflow(values):
    """The same features as TensorFlow's own messages."""
    example = tf.train.Example()
    for key, value in values.items():
        if isinstance(value, bytes):
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        elif isinstance(value, int):
            feature = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        else:
            feature = tf.train.Feature(float_list=tf.train.FloatList(value=value))
        example.features.feature[key].CopyFrom(feature)
    return example.SerializeToString(deterministic=True)


@settings(max_examples=200, deadline=None)
@given(features)
def test_an_example_has_the_bytes_of_tensorflows(values):
    assert serialize_example(values) == by_tensorflow(values)


@settings(max_examples=50, deadline=None)
@given(records)
def test_a_file_has_the_bytes_of_tensorflows_writer(tmp_path_factory, written):
    folder = tmp_path_factory.mktemp("records")
    write_tfrecord(folder / "ours", written)
    with tf.io.TFRecordWriter(str(folder / "theirs")) as writer:
        for record in written:
            writer.write(record)
    assert (folder / "ours").read_bytes() == (folder / "theirs").read_bytes()


@pytest.mark.parametrize("spacing", [(0.07, 0.085), None])
def test_tensorflow_reads_a_record(tmp_path, spacing):
    record = fake_record(pixel_spacing_mm=spacing)
    write_tfrecord(tmp_path / "shard", [to_example(record)])
    (serialized,) = tf.data.TFRecordDataset(str(tmp_path / "shard"))
    feature = tf.train.Example.FromString(serialized.numpy()).features.feature
    assert feature["image/id"].bytes_list.value == [b"image-0"]
    assert feature["image/height"].int64_list.value == [24]
    assert feature["image/pixel_spacing_mm"].WhichOneof("kind") == "float_list"
    found = feature["image/pixel_spacing_mm"].float_list.value
    np.testing.assert_array_equal(found, np.asarray(spacing or (), np.float32))


@settings(max_examples=50, deadline=None)
@given(records)
def test_a_file_that_tensorflow_wrote_is_read(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("records") / "theirs"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in written:
            writer.write(record)
    assert list(read_tfrecord(path)) == written


@pytest.mark.parametrize("length", [101, 1 << 20, 1 << 31, 1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_record_longer_than_the_file_is_refused_before_memory_is_taken(tmp_path, length):
    path = tmp_path / "shard"
    path.write_bytes(claim_length(100, b"x" * 100))
    assert list(read_tfrecord(path)) == [b"x" * 100]
    path.write_bytes(claim_length(length, b"x" * 100))  # TensorFlow's reader ends the process at 2^40
    for read in (lambda: list(read_tfrecord(path)), lambda: count_records(path)):
        with pytest.raises(InputError, match=r"not a whole TFRecord file \(its end is missing\)"):
            read()


@settings(max_examples=50, deadline=None)
@given(records)
def test_records_are_counted_without_reading_them(tmp_path_factory, written):
    path = tmp_path_factory.mktemp("records") / "shard"
    write_tfrecord(path, written)
    assert count_records(path) == len(written)


def test_counting_sees_every_truncation_but_one_between_records(tmp_path):
    path = tmp_path / "shard"
    write_tfrecord(path, [b"first", b"second"])
    whole = path.read_bytes()
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        if length == 16 + len(b"first"):
            assert count_records(path) == 1
        else:
            with pytest.raises(InputError, match="not a whole TFRecord file"):
                count_records(path)


def test_every_truncation_and_every_flipped_bit_of_a_file_is_seen(tmp_path):
    path = tmp_path / "shard"
    write_tfrecord(path, [b"first", b"second"])
    whole = path.read_bytes()
    boundary = 16 + len(b"first")
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        if length == boundary:
            assert list(read_tfrecord(path)) == [b"first"]  # what only the manifest's count can tell
        else:
            with pytest.raises(InputError, match="not a whole TFRecord file"):
                list(read_tfrecord(path))
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="not a whole TFRecord file"):
            list(read_tfrecord(path))


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match="No such file") as caught:
        list(read_tfrecord(tmp_path / "none"))
    assert caught.value.where == str(tmp_path / "none")


def test_an_example_is_parsed_as_tensorflow_parses_it():
    serialized = to_example(fake_record())
    theirs = tf.train.Example.FromString(serialized).features.feature
    ours = parse_example(serialized)
    assert set(ours) == set(theirs)
    assert {key: ours[key].SerializeToString() for key in ours} == {
        key: theirs[key].SerializeToString() for key in theirs
    }
