import numpy as np
import pytest

from data_prep.synthesis.curves import add_curve, wander


def test_a_tube_is_as_thick_as_its_cross_section():
    canvas = np.zeros((21, 60), np.float32)
    add_curve(canvas, np.array([[10.0, 5.0], [10.0, 25.0], [10.0, 50.0]]), np.full(3, 4.0), 1.0)
    # 2 sqrt(16 - d^2) at d = 0, 2, 4.
    assert canvas[[10, 12, 14], 30] == pytest.approx([8.0, 2.0 * 12.0**0.5, 0.0], abs=1e-5)
    # No thicker where two segments meet.
    assert canvas.max() == pytest.approx(8.0)


def test_two_tubes_that_cross_add_up():
    canvas = np.zeros((41, 41), np.float32)
    for points in ([[20.0, 0.0], [20.0, 40.0]], [[0.0, 20.0], [40.0, 20.0]]):
        add_curve(canvas, np.array(points), np.full(2, 2.0), 0.5)
    assert canvas[20, 20] == pytest.approx(4.0)
    assert canvas[20, 5] == pytest.approx(2.0)


def test_a_thread_thinner_than_a_pixel_keeps_its_mass():
    canvas = np.zeros((41, 101), np.float32)
    add_curve(canvas, np.array([[20.3, 0.0], [20.3, 100.0]]), np.full(2, 0.3), 1.0)
    assert canvas[:, 50].sum() == pytest.approx(np.pi * 0.09, rel=0.35)


def test_what_lies_outside_is_left_out():
    canvas = np.zeros((8, 8), np.float32)
    add_curve(canvas, np.array([[-30.0, -30.0], [-20.0, -25.0]]), np.full(2, 2.0), 1.0)
    assert not canvas.any()
    add_curve(canvas, np.array([[-5.0, 4.0], [20.0, 4.0]]), np.full(2, 1.5), 1.0)
    assert (canvas[:, 4] == 3.0).all()


def test_a_path_has_its_length_and_starts_where_asked():
    points = wander((3.0, 4.0), 0.0, 100.0, 0.5, np.random.default_rng(0))
    assert tuple(points[0]) == (3.0, 4.0)
    assert np.hypot(*np.diff(points, axis=0).T).sum() == pytest.approx(100.0)
    straight = wander((0.0, 0.0), np.pi / 2, 50.0, 0.0, np.random.default_rng(0))
    assert straight[-1] == pytest.approx([50.0, 0.0], abs=1e-9)
