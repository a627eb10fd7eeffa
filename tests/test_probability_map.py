import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calcseg_tf.probability_map import from_code, threshold_code, to_codes
from data_prep.errors import InputError


def test_a_probability_is_rounded_to_sixteen_bits():
    probability = np.array([[0.0, 0.5, 1.0, 1.4 / 65535, 1.6 / 65535]], np.float32)
    codes = to_codes(probability)
    assert codes.dtype == np.uint16
    assert codes.tolist() == [[0, 32768, 65535, 1, 2]]  # 0.5 x 65535 = 32767.5, half to even


def test_half_precision_reaches_full_scale():
    assert to_codes(np.array([[0.0, 0.5, 1.0]], np.float16)).tolist() == [[0, 32768, 65535]]


def test_codes_pass_through_unchanged():
    codes = np.array([[0, 7, 65535]], np.uint16)
    assert to_codes(codes) is codes


@pytest.mark.parametrize("bad", [np.nan, -0.001, 1.001, np.inf])
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        to_codes(np.array([[0.5, bad]], np.float32))


@pytest.mark.parametrize("wrong", [np.zeros((2, 2), np.uint8), np.zeros(4, np.float32), np.zeros((0, 3), np.float32)])
def test_another_type_or_shape_is_refused(wrong):
    with pytest.raises(InputError):
        to_codes(wrong)


@given(st.integers(1, 65535))
def test_every_code_survives_as_a_threshold_even_through_float32(code):
    assert threshold_code(from_code(code)) == code
    assert threshold_code(float(np.float32(from_code(code)))) == code


@given(st.floats(1e-6, 1.0))
def test_a_threshold_keeps_what_is_at_or_above_it(threshold):
    code = threshold_code(threshold)
    assert from_code(code) >= threshold - 0.01 / 65535
    assert code == 1 or from_code(code - 1) < threshold


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.1, float("nan")])
def test_a_threshold_outside_its_range_is_refused(bad):
    with pytest.raises(InputError, match="threshold"):
        threshold_code(bad)
