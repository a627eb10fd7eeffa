import numpy as np
import pytest

from calcseg_tf.evaluation import component_tree
from calcseg_tf.evaluation.component_tree import Basins, at_or_above, find_basins, merge, spanning_forest, trace_nodes
from calcseg_tf.evaluation.froc import LOWEST_CODE
from data_prep.errors import InputError
from tests.evaluation import reference
from tests.evaluation.drawing import codes_of


def _basins(codes: np.ndarray, lowest: int, connectivity: int = 8) -> Basins:
    pixels = np.flatnonzero(codes >= lowest)
    return find_basins(pixels, codes.ravel()[pixels], codes.shape, connectivity)


def test_two_hills_and_their_saddle():
    basins = _basins(codes_of("1342.24."), lowest=1000)
    assert basins.pixels.tolist() == [0, 1, 2, 3, 5, 6]
    assert basins.basin.tolist() == [0, 0, 0, 0, 1, 1]
    assert basins.peaks.tolist() == [4000, 4000]
    assert len(basins.first) == 0
    basins = _basins(codes_of("4124"), lowest=1)
    assert (basins.first.tolist(), basins.second.tolist(), basins.saddles.tolist()) == ([0], [1], [1000])


def test_a_row_does_not_neighbour_the_next_rows_beginning():
    assert len(_basins(codes_of("..4", "...", "4..", "..4"), lowest=1).peaks) == 3
    assert len(_basins(codes_of("...4", "4..."), lowest=1).first) == 0


def test_nodes_of_a_case_drawn_by_hand():
    # From code 4000 down: one pixel, two of them from 3000 on, which meet at 2000, and all of the row at 1000.
    basins = _basins(codes_of("42311"), lowest=1000)
    nodes = trace_nodes(basins, merge(basins), lowest=1000)
    columns = (nodes.high, nodes.low, nodes.area, nodes.columns, nodes.top)
    found = sorted(zip(*(column.tolist() for column in columns), strict=True))
    assert found == [(1000, 1000, 5, 10, 0), (2000, 1001, 3, 3, 0), (3000, 2001, 1, 2, 2), (4000, 2001, 1, 0, 0)]


def test_counts_at_or_above():
    assert at_or_above(np.array([65533, 65535, 65535, 7]), 65532).tolist() == [3, 3, 2, 2]
    assert at_or_above(np.zeros(0, np.int64), 65534).tolist() == [0, 0]


def test_the_forest_keeps_the_highest_saddles():
    edges = spanning_forest(4, np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([5, 65535, 0]))
    assert sorted(map(tuple, edges.tolist())) == [(0, 1, 5), (0, 2, 65535)]


@pytest.mark.parametrize("connectivity", [4, 8])
def test_every_component_at_every_code_is_measured(connectivity):
    for codes, _ in reference.random_cases(seed=10 + connectivity, count=300, most=12):
        basins = _basins(codes, LOWEST_CODE, connectivity)
        nodes = trace_nodes(basins, merge(basins), LOWEST_CODE)
        for code in np.unique(codes[codes >= LOWEST_CODE]).tolist():
            labels, count = reference.label_scipy(codes >= code, connectivity)
            expected = []
            for label in range(1, count + 1):
                rows, columns = np.nonzero(labels == label)
                expected.append((len(rows), rows.sum(), columns.sum(), rows[0] * codes.shape[1] + columns[0]))
            alive = (nodes.low <= code) & (code <= nodes.high)
            assert len(np.unique(nodes.name[alive])) == count
            measured = np.stack([nodes.area, nodes.rows, nodes.columns, nodes.top], axis=1)[alive]
            assert sorted(map(tuple, measured.tolist())) == sorted(expected)


def test_more_local_maxima_than_can_be_numbered_are_refused(monkeypatch):
    monkeypatch.setattr(component_tree, "_MOST_BASINS", 3)
    assert len(_basins(codes_of("4.4...."), lowest=1000).peaks) == 2
    with pytest.raises(InputError, match="may have 3 local maxima; found 3"):
        _basins(codes_of("4.4.4.."), lowest=1000)
