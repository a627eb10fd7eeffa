"""Work shared among processes: in order, and one clear line where one of them is ended."""

import os

import pytest

from data_prep.errors import UnfinishedError
from data_prep.worker_process import in_workers


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks(workers):
    assert list(in_workers(abs, [-3, 1, -2], workers, "measured")) == [3, 1, 2]


def test_a_worker_that_is_ended_is_told():
    with pytest.raises(UnfinishedError, match=r"measured: a worker process was ended.*--workers"):
        list(in_workers(os._exit, [9, 9], 2, "measured"))
