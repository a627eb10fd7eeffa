import math

import numpy as np
import pytest
from scipy import ndimage

from data_prep.implants.site import allowed_cells, local_noise
from tests.data_prep.implants.test_placement import breast


@pytest.mark.parametrize("radius_px", [2.0, 4.0, 10.0])
def test_white_noise_is_measured_as_theory_says(radius_px):
    # White noise of deviation s, averaged by a Gaussian of g less one of 4 g, has the deviation
    # s / (2 g sqrt(pi)) sqrt(1 + 1/16 - 4/17), from the overlap integrals of Gaussians.
    intensity = np.random.default_rng(0).normal(0.5, 0.01, (600, 600)).astype(np.float32)
    g = radius_px / 2.0
    expected = 0.01 / (2.0 * g * math.sqrt(math.pi)) * math.sqrt(1.0 + 1.0 / 16.0 - 4.0 / 17.0)
    sites = [(row, column) for row in (200, 300, 400) for column in (200, 300, 400)]
    measured = np.mean([local_noise(intensity, site, radius_px) for site in sites])
    assert measured == pytest.approx(expected, rel=0.1)


def test_slow_shading_is_no_noise():
    ramp = np.tile(np.linspace(0.2, 0.8, 600, dtype=np.float32), (600, 1))
    assert local_noise(ramp, (300, 300), 3.0) < 1e-5


def test_a_speck_of_dust_fifty_deviations_bright_adds_less_than_half():
    intensity = np.random.default_rng(0).normal(0.5, 0.01, (200, 200)).astype(np.float32)
    clean = local_noise(intensity, (100, 100), 2.0)
    intensity[108:110, 108:110] = 1.0
    assert clean <= local_noise(intensity, (100, 100), 2.0) < 1.5 * clean


@pytest.mark.parametrize("site", [(0.0, 0.0), (199.9, 199.9)])
def test_a_site_at_the_corner_is_measured_on_what_there_is(site):
    intensity = np.random.default_rng(0).normal(0.5, 0.01, (200, 200)).astype(np.float32)
    assert 0.001 < local_noise(intensity, site, 2.0) < 0.01


def test_cells_lie_in_the_breast_away_from_skin_and_border():
    background, inside = breast()
    cells, step = allowed_cells(background.intensity(), 0.07)
    assert step == 8
    assert cells.shape == (80, 70)
    allowed = np.kron(cells, np.ones((8, 8), bool))
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    assert allowed.any()
    assert depth[allowed].min() >= 1.5 / 0.07 - 8.0
    assert not allowed[:25].any()
    assert not allowed[:, :25].any()
    assert not allowed[-25:].any()
    assert not allowed[:, -25:].any()


def test_a_film_border_that_clings_to_the_breast_gets_nothing():
    background, inside = breast()
    intensity = background.intensity()
    intensity[:, :70] = np.maximum(intensity[:, :70], 0.4)  # 4.9 mm wide, all along the edge
    cells, step = allowed_cells(intensity, 0.07)
    rows = np.flatnonzero(inside.any(axis=1))
    assert cells.any()
    assert not cells[: (rows[0] - 16) // step].any()


def test_small_pictures_are_measured_pixel_by_pixel():
    background, _ = breast(height=400, width=300)
    cells, step = allowed_cells(background.intensity(), 0.07)
    assert step == 1
    assert cells.shape == (400, 300)
    assert cells.any()
