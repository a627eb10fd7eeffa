import json

import pytest

from calcseg_tf.cluster import TF_CONFIG, read_cluster
from data_prep.errors import InputError
from tests.fakes.commands import assert_one_line_error, run_module

TWO = {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}


def cluster_of(content):
    return read_cluster({TF_CONFIG: content if isinstance(content, str) else json.dumps(content)})


def of(cluster, task_type="worker", index=0):
    return {"cluster": cluster, "task": {"type": task_type, "index": index}}


@pytest.mark.parametrize(("index", "is_chief"), [(0, True), (1, False), ("1", False)])
def test_worker_0_is_the_chief_where_none_is_named(index, is_chief):
    cluster = cluster_of(of(TWO, index=index))
    assert (cluster.workers, cluster.task_index, cluster.is_chief) == (2, int(index), is_chief)
    assert cluster.name == f"worker {index}"


@pytest.mark.parametrize(("task_type", "is_chief"), [("chief", True), ("worker", False)])
def test_a_chief_that_is_named_is_one_of_the_workers(task_type, is_chief):
    cluster = cluster_of(of({"chief": ["a:1"], **TWO}, task_type))
    assert (cluster.workers, cluster.is_chief) == (3, is_chief)


def test_a_process_alone_needs_no_cluster():
    assert read_cluster({}) is None
    assert cluster_of(" ") is None
    assert cluster_of(of({"chief": ["a:1"]}, "chief")) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{'cluster'", "must be JSON"),
        ([1], "must be a JSON object; found [1]"),
        ({}, 'needs a "cluster" of one worker or more; found null'),
        (of({}), 'needs a "cluster" of one worker or more; found {}'),
        (of({"worker": []}), 'needs a list of addresses for each worker in its "cluster"; found []'),
        (of({"worker": "a:1"}), 'needs a list of addresses for each worker in its "cluster"; found "a:1"'),
        (of({**TWO, "ps": ["a:1"]}), 'knows the task types chief and worker in its "cluster"; found "ps"'),
        (of({"worker": ["a"]}), 'needs addresses of the form host:port; found "a"'),
        (of({"worker": ["a:70000"]}), 'needs addresses of the form host:port; found "a:70000"'),
        (of({"worker": ["a:1", 2]}), "needs addresses of the form host:port; found 2"),
        (of({"worker": ["a:1", "a:1"]}), 'may name each address once; found ["a:1", "a:1"]'),
        (of({"chief": ["a:1", "b:1"]}, "chief"), 'may name one chief; found ["a:1", "b:1"]'),
        ({"cluster": TWO}, 'needs a "task" with the type and index of this process; found null'),
        (of(TWO, "wroker"), 'must give this process a task type of its "cluster", worker; found "wroker"'),
        (of(TWO, "chief"), 'must give this process a task type of its "cluster", worker; found "chief"'),
        (of(TWO, index=2), 'must give this process a task index of 0 to 1, for its "cluster" has 2; found 2'),
        (of(TWO, index=-1), "task index of 0 to 1"),
        (of(TWO, index=None), "task index of 0 to 1"),
        (of(TWO, index=True), "task index of 0 to 1"),
    ],
)
def test_what_contradicts_itself_is_named(content, message):
    with pytest.raises(InputError) as caught:
        cluster_of(content)
    assert str(caught.value).startswith("TF_CONFIG ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_refuses_it_in_one_line_before_tensorflow_connects(monkeypatch, tmp_path):
    monkeypatch.setenv(TF_CONFIG, json.dumps(of(TWO, index=2)))
    ended = run_module("calcseg_tf.train", records_dir=tmp_path, model_dir=tmp_path / "model")
    assert_one_line_error(ended, "TF_CONFIG must give this process a task index of 0 to 1")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("content", ["[" * 100_000, of(TWO, index="9" * 5000)])
def test_what_python_cannot_take_in_is_one_line(content):
    with pytest.raises(InputError, match="TF_CONFIG"):
        cluster_of(content)
