import numpy as np
import pytest

from data_prep.synthesis.fields import combed, power_law, ridges, upsample
from tests.data_prep.synthesis.spectrum import exponent


@pytest.mark.parametrize("beta", [2.0, 3.0, 4.0])
def test_a_power_law_field_has_its_exponent(beta):
    field = power_law((512, 512), 0.14, beta, 30.0, np.random.default_rng(1))
    assert field.dtype == np.float32
    assert exponent(field, 0.14, 0.15, 2.0) == pytest.approx(beta, abs=0.25)
    assert (field.mean(), field.std()) == pytest.approx((0.0, 1.0), abs=1e-4)


def test_a_field_is_flat_above_its_longest_wavelength():
    fields = [power_law((512, 512), 0.5, 3.0, 8.0, np.random.default_rng(seed)) for seed in range(3)]
    assert np.mean([exponent(field, 0.5, 0.2, 0.8) for field in fields]) == pytest.approx(3.0, abs=0.3)
    assert np.mean([exponent(field, 0.5, 0.02, 0.08) for field in fields]) < 0.5


@pytest.mark.parametrize(("angle", "along", "across"), [(0.0, 1, 0), (np.pi / 2, 0, 1)])
def test_structures_lie_along_the_direction_asked_for(angle, along, across):
    field = combed(np.full((256, 256), angle, np.float32), 0.15, 3.0, (0.5, 20.0), np.random.default_rng(2), 3.0)
    steps = [np.abs(np.diff(field, axis=axis)).mean() for axis in (0, 1)]
    assert steps[across] > 1.5 * steps[along]


def test_a_field_without_short_waves_is_smooth_and_of_the_size_asked_for():
    field = combed(np.zeros((203, 151), np.float32), 0.15, 3.0, (15.0, 45.0), np.random.default_rng(3))
    assert field.shape == (203, 151)
    # 15 mm are 100 steps: from one to the next a sine of deviation 1 changes by at most 2 pi sqrt(2) / 100.
    assert np.abs(np.diff(field, axis=0)).max() < 0.1


def test_a_ridge_is_1_on_the_zero_line():
    np.testing.assert_allclose(
        ridges(np.array([0.0, 0.5, -0.5, 5.0]), 0.5), [1.0, np.exp(-1), np.exp(-1), 0.0], atol=1e-6
    )


def test_cells_are_spread_over_the_pixels_they_cover():
    large = upsample(np.array([[0.0, 4.0], [8.0, 12.0]], np.float32), 3, (5, 6), order=1)
    assert large.shape == (5, 6)
    # Middles of the cells lie at pixels 1 and 4 of 6.
    assert (large[1, 1], large[1, 4], large[4, 1], large[4, 4]) == (0.0, 4.0, 8.0, 12.0)
