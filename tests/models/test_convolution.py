import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from calcseg_tf.models.convolution import convolve, correlation
from calcseg_tf.models.parallel_conv import CONVOLUTIONS, ParallelConv2D

CHANNELS = {"merged": (3, 5), "fourier": (3, 5), "shifted": (3, 1)}


def some(seed, *shape):
    return tf.random.stateless_normal(shape, [seed, 7])


def output_and_gradients(function, image, kernel, upstream):
    with tf.GradientTape() as tape:
        tape.watch([image, kernel])
        output = function(image, kernel)
    return output, *tape.gradient(output, [image, kernel], upstream)


def plain(image, kernel):
    return tf.nn.conv2d(image, kernel, strides=1, padding="SAME")


def assert_close(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        scale = float(tf.reduce_max(tf.abs(other)))
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("way", CHANNELS)
@settings(max_examples=15, deadline=None)
@given(st.integers(1, 2), st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3, 5, 9]))
def test_every_way_gives_tensorflows_output_and_gradients(way, batch, height, width, size):
    channels, filters = CHANNELS[way]
    image, kernel = some(1, batch, height, width, channels), some(2, size, size, channels, filters)
    upstream = some(3, batch, height, width, filters)
    found = output_and_gradients(lambda i, k: convolve(i, k, correlation(way, size)), image, kernel, upstream)
    assert_close(found, output_and_gradients(plain, image, kernel, upstream))


@pytest.mark.parametrize("way", CHANNELS)
def test_every_way_works_in_a_graph_that_does_not_know_the_size(way):
    channels, filters = CHANNELS[way]
    image, kernel, upstream = (
        some(1, 2, 45, 33, channels),
        some(2, 9, 9, channels, filters),
        some(3, 2, 45, 33, filters),
    )
    signature = [tf.TensorSpec([None, None, None, channels]), tf.TensorSpec(kernel.shape)]
    function = tf.function(lambda i, k: convolve(i, k, correlation(way, 9)), input_signature=signature)
    assert function.get_concrete_function().output_shapes.as_list() == [None, None, None, filters]
    assert_close(
        output_and_gradients(function, image, kernel, upstream), output_and_gradients(plain, image, kernel, upstream)
    )


@pytest.mark.parametrize("way", CHANNELS)
def test_a_part_of_an_image_gives_its_part_of_the_gradients(way):
    channels, filters = CHANNELS[way]
    image, kernel, upstream = (
        some(1, 1, 40, 50, channels),
        some(2, 5, 5, channels, filters),
        some(3, 1, 40, 50, filters),
    )
    _, image_gradient, kernel_gradient = output_and_gradients(plain, image, kernel, upstream)
    ways = correlation(way, 5)
    prepared = ways.prepare(tf.transpose(kernel[::-1, ::-1], [0, 1, 3, 2]))
    padded = tf.pad(upstream, [[0, 0], [2, 2], [2, 2], [0, 0]])
    parts = [
        ways.gradients(image[:, rows], padded[:, rows.start : rows.stop + 4], prepared)
        for rows in (slice(0, 17), slice(17, 40))
    ]
    assert_close(
        [tf.concat([part for part, _ in parts], 1), parts[0][1] + parts[1][1]], [image_gradient, kernel_gradient]
    )
    np.testing.assert_array_equal(ways.image_gradient(padded[:, :21], prepared), parts[0][0])


def test_parallel_convolutions_are_the_same_computed_in_any_way():
    image = some(1, 2, 40, 33, 3)
    layer = ParallelConv2D(8, (1, 3, 7, 9), "separate")
    layer(image)
    layer.set_weights([some(number, *weight.shape) for number, weight in enumerate(layer.weights)])
    expected = tf.concat([plain(image, kernel) for kernel in layer.kernels], -1) + layer.bias
    for convolution in CONVOLUTIONS:
        layer.convolution = convolution
        assert_close([layer(image)], [expected])


def test_kernels_side_by_side_come_apart_again():
    layer = ParallelConv2D(4, (3, 5))
    layer(some(1, 1, 8, 8, 2))
    merged = layer.merged_kernel()
    assert merged.shape == (5, 5, 2, 4)
    np.testing.assert_array_equal(merged[0, :, :, :2], np.zeros([5, 2, 2]))
    for one, other in zip(layer.split_kernel(merged), layer.kernels, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_wide_layer_of_large_kernels_goes_through_transforms_and_a_narrow_one_does_not():
    wide, narrow = ParallelConv2D(32, (3, 5, 7, 9)), ParallelConv2D(16, (3,))
    for layer in (wide, narrow):
        layer(some(1, 1, 8, 8, 16))
    operations = [
        {
            operation.type
            for operation in tf.function(layer)
            .get_concrete_function(tf.TensorSpec([1, 8, 8, 16]))
            .graph.get_operations()
        }
        for layer in (wide, narrow)
    ]
    assert "Conv2D" not in operations[0]
    assert "Conv2D" in operations[1]
