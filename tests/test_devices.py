import multiprocessing.pool
import weakref

import pytest
import tensorflow as tf

from calcseg_tf.cluster import Cluster
from calcseg_tf.devices import (
    DeviceConfig,
    count_replicas,
    describe_strategy,
    gpu_name,
    make_deterministic,
    make_strategy,
    needing_workers,
)
from data_prep.errors import InputError, UnfinishedError

TWO = Cluster({"worker": ("a:1", "b:1")}, "worker", 1)


def test_replicas_count_over_all_workers():
    assert count_replicas(DeviceConfig(device="cpu")) == 1
    assert count_replicas(DeviceConfig(device="cpu", replicas=3)) == 3
    assert count_replicas(DeviceConfig(device="cpu", replicas=3), TWO) == 6


def test_a_gpu_asked_for_must_be_there(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(InputError, match="--device=gpu needs a GPU"):
        count_replicas(DeviceConfig(device="gpu"))


def test_more_replicas_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one", "two"])
    assert count_replicas(DeviceConfig()) == 2
    with pytest.raises(InputError, match="at most the number of GPUs, 2; found 3"):
        count_replicas(DeviceConfig(replicas=3))
    assert count_replicas(DeviceConfig(device="cpu", replicas=3)) == 3


def test_the_line_names_what_is_used():
    strategy = make_strategy(DeviceConfig(device="cpu"))
    assert describe_strategy(strategy).startswith("1 replica on CPU (")
    assert "1 logical device)" in describe_strategy(strategy)
    described = "device: 0, name: NVIDIA A100-SXM4-40GB, pci bus id: 0000:00:04.0, compute capability: 8.0"
    assert gpu_name(described, 38 * 2**30) == "NVIDIA A100-SXM4-40GB with 38.0 GiB"


@pytest.mark.parametrize(
    ("values", "message"),
    [({"device": "tpu"}, "one of auto, cpu, gpu; found 'tpu'"), ({"replicas": -1}, "0 or more; found -1")],
)
def test_a_wrong_device_says_what_is_wrong(values, message):
    with pytest.raises(InputError, match=message):
        DeviceConfig(**values)


def test_what_is_repeatable_is_asked_for_before_anything_is_computed(monkeypatch):
    # For the rest of this process neither must change: it is TensorFlow's own refusal that is seen.
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
    tf.constant(1.0) + 1.0
    with pytest.raises(InputError, match=r"^--deterministic must be asked for before TensorFlow computes anything$"):
        make_deterministic()


def test_a_lost_worker_leaves_no_open_pool_of_the_failed_reduction_behind():
    left = []

    def reduce():  # as TensorFlow's collectives do
        pool = multiprocessing.pool.ThreadPool(1)
        left.append(weakref.ref(pool))
        pool.map(fail, [None])
        pool.close()

    def fail(_):
        raise tf.errors.UnavailableError(None, None, "the line is dead")

    with pytest.raises(UnfinishedError, match="another worker") as told, needing_workers(TWO):
        reduce()
    assert told.value is not None  # the error lives on, as it does until the process ends
    pool = left[0]()
    if pool is not None:  # held by the error's frames: then it has ended
        with pytest.raises(ValueError, match="not running"):
            pool.map(fail, [None])
