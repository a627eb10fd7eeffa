import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.schema import to_example
from data_prep.tfrecord import serialize_example, write_tfrecord
from tests.fakes.records import fake_record

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
