import numpy as np

from benchmarks.agreement import Finds, border, crops


def map_of(*boxes, strength=0.9):
    probability = np.zeros((60, 80), np.float32)
    for row, column, size in boxes:
        probability[row : row + size, column : column + size] = strength
    return probability


def test_a_find_is_shared_where_one_pixel_meets():
    ours = Finds.of(map_of((5, 5, 3), (30, 30, 2), (50, 70, 4)), 0.5)
    theirs = Finds.of(map_of((7, 7, 3), (32, 32, 2)), 0.5)  # a corner of the first; the second is a pixel away
    assert ours.touching(theirs).tolist() == [True, False, False]
    assert theirs.touching(ours).tolist() == [True, False]
    np.testing.assert_array_equal(ours.centroid, [(6, 6), (30.5, 30.5), (51.5, 71.5)])


def test_a_threshold_takes_what_reaches_it_and_corners_join():
    probability = map_of((10, 10, 2), (12, 12, 2), strength=0.5) + map_of((30, 30, 2), strength=0.4)
    found = Finds.of(probability, 0.5)
    assert found.strength.tolist() == [0.5]
    assert len(Finds.of(probability, 0.6).strength) == 0


def test_a_find_in_the_air_or_at_an_edge_is_near_a_border():
    intensity = np.zeros((400, 300), np.float32)
    intensity[50:350, :200] = 0.5
    edge, breast = border(intensity, (0.1, 0.1))  # 2 mm are 20 px
    assert breast[200, 100]
    assert not breast[200, 280]
    assert not edge[200, 100]
    assert edge[200, 280]
    assert edge[200, 5]  # the image ends there
    assert edge[200, 190]  # so does the breast


def test_crops_show_the_strongest_first_and_a_picture_without_any_is_black():
    found = Finds.of(map_of((5, 5, 3)) + map_of((30, 30, 2), strength=0.7), 0.5)
    kept = crops(map_of((5, 5, 3)), found, np.array([True, True]))
    assert kept.size == (8 * 128 * 2, 64 * 2)
    assert np.asarray(crops(map_of((5, 5, 3)), found, np.array([False, False]))).max() == 0
