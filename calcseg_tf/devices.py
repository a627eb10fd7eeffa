"""Which devices a run uses, and the strategy that spreads a batch over them and over the workers of a cluster."""

import contextlib
import dataclasses
import gc
import json
import os
import zlib
from collections.abc import Iterator
from multiprocessing.pool import ThreadPool
from typing import Any

import tensorflow as tf
from tensorflow.python.client import device_lib
from tensorflow.python.distribute import collective_all_reduce_strategy

from calcseg_tf.cluster import Cluster
from data_prep.errors import InputError, UnfinishedError

__all__ = [
    "DEVICES",
    "DeviceConfig",
    "check_workers_agree",
    "count_replicas",
    "describe_strategy",
    "gpu_name",
    "make_deterministic",
    "make_strategy",
    "needing_workers",
]

DEVICES = ("auto", "cpu", "gpu")


@dataclasses.dataclass(frozen=True)
class DeviceConfig:
    """The devices of one process; the defaults take every GPU, or one CPU where there is none.

    Attributes:
        device: "cpu", "gpu", or "auto": GPUs where TensorFlow finds any.
        replicas: Data-parallel replicas of each worker: GPUs, or logical CPU devices. 0: every GPU, or one CPU.
        memory_growth: GPU memory is taken as it is needed; otherwise nearly all of it at the start.
    """

    device: str = "auto"
    replicas: int = 0
    memory_growth: bool = True

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise InputError(f"--device must be one of {', '.join(DEVICES)}; found {self.device!r}")
        if self.replicas < 0:
            raise InputError(f"--replicas must be 0 or more; found {self.replicas}")


def count_replicas(config: DeviceConfig, cluster: Cluster | None = None) -> int:
    """Returns the number of replicas over all workers, each of which is taken to have as many as this one.

    Raises:
        InputError: A GPU is asked for that TensorFlow does not find.
    """
    return _local_replicas(config) * (1 if cluster is None else cluster.workers)


def make_strategy(config: DeviceConfig, cluster: Cluster | None = None) -> tf.distribute.Strategy:
    """Returns the strategy of a run: one device, several of this machine, or those of every worker.

    Call before TensorFlow has run anything: devices are fixed from then on. With a cluster, waits for its other
    workers.

    Raises:
        InputError: A GPU is asked for that TensorFlow does not find, or devices were already fixed otherwise.
    """
    gpus, replicas = _gpus(config), _local_replicas(config)
    try:
        if not gpus:
            tf.config.set_visible_devices([], "GPU")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, config.memory_growth)
        if not gpus and replicas > 1:
            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    except RuntimeError:
        raise InputError(f"--replicas={replicas} must be asked for before TensorFlow starts its devices") from None
    kind = "GPU" if gpus else "CPU"
    if cluster is not None:
        try:
            return _MultiWorkerStrategy(cluster, kind, replicas)
        except tf.errors.UnknownError as error:
            address = cluster.addresses[cluster.task_type][cluster.task_index]
            raise InputError(f"{cluster.name} cannot listen at {address} of TF_CONFIG ({error.message})") from None
    if kind == "CPU" and replicas == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([f"/{kind.lower()}:{index}" for index in range(replicas)])


def describe_strategy(strategy: tf.distribute.Strategy, cluster: Cluster | None = None) -> str:
    """Returns one line: how many replicas on which devices of how many workers."""
    count = strategy.num_replicas_in_sync
    kind = "GPU" if tf.config.get_visible_devices("GPU") else "CPU"
    local = count // (1 if cluster is None else cluster.workers)
    text = f"{count} replica{'s' if count > 1 else ''} on {kind} ({_hardware(kind, local)})"
    if cluster is None:
        return text
    role = "which writes the model directory" if cluster.is_chief else "which writes nothing"
    return f"{text}, {local} on each of {cluster.workers} workers; this is {cluster.name}, {role}"


def make_deterministic() -> None:
    """Makes all that is computed after it repeatable bit for bit; call it before anything is.

    Raises:
        InputError: TensorFlow has computed something already, on several threads.
    """
    tf.config.experimental.enable_op_determinism()
    try:
        # For all that op determinism does, oneDNN's convolutions round differently from run to run where two run at
        # once, in TensorFlow 2.15; not with one of these threads (BUILD_NOTES.md, "Repeatable").
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        raise InputError("--deterministic must be asked for before TensorFlow computes anything") from None


def check_workers_agree(strategy: tf.distribute.Strategy, cluster: Cluster | None, run: Any) -> None:
    """Checks that every worker was started for the same run; else they would wait for each other or average two runs.

    Args:
        strategy: What `make_strategy` returned.
        cluster: Its cluster.
        run: Whatever must be the same on every worker, as JSON can hold it.

    Raises:
        InputError: Another worker has something else; raised on every worker.
    """
    if cluster is None:
        return
    text = json.dumps([run, tf.__version__], sort_keys=True)
    print_of_run = tf.constant(zlib.crc32(text.encode()) & 0x3FFFFFFF, tf.float64)
    # All are the same exactly where the mean of the squares is the square of the mean, whatever the order of sums.
    mean = strategy.reduce(tf.distribute.ReduceOp.SUM, print_of_run, axis=None) / cluster.workers
    deviation = strategy.reduce(tf.distribute.ReduceOp.SUM, abs(print_of_run - mean), axis=None)
    if float(deviation) != 0:
        raise InputError(
            "the workers of TF_CONFIG must be started with the same flags, records, --model_dir (which every worker "
            "must be able to read) and TensorFlow; they differ"
        )


@contextlib.contextmanager
def needing_workers(cluster: Cluster | None) -> Iterator[None]:
    """Turns what TensorFlow raises when a worker of the cluster is lost into one line.

    Raises:
        UnfinishedError: Another worker ended or cannot be reached; within seconds of a death, later when a line breaks.
    """
    errors = tf.errors
    try:
        yield
    except (errors.UnavailableError, errors.AbortedError, errors.CancelledError, errors.DeadlineExceededError) as error:
        if cluster is None:
            raise
        _end_thread_pools()
        raise UnfinishedError(
            f"another worker of TF_CONFIG ended or cannot be reached ({type(error).__name__}); its own output says "
            "why. Start all workers again to go on"
        ) from None


def _end_thread_pools() -> None:
    """Ends the thread pool that a failed reduction of TensorFlow's leaves open.

    The error's frames hold it, in cycles, until exit, where it may find its pipe closed before it and Python prints a
    traceback below the user's line. Nothing but the collector knows it.
    """
    for pool in [found for found in gc.get_objects() if type(found) is ThreadPool]:
        pool.terminate()


def _gpus(config: DeviceConfig) -> list[Any]:
    gpus = [] if config.device == "cpu" else tf.config.list_physical_devices("GPU")
    if config.device == "gpu" and not gpus:
        raise InputError("--device=gpu needs a GPU that TensorFlow can use; it finds none (docs/training.md, Devices)")
    return gpus


def _local_replicas(config: DeviceConfig) -> int:
    gpus = _gpus(config)
    if gpus and config.replicas > len(gpus):
        raise InputError(f"--replicas must be at most the number of GPUs, {len(gpus)}; found {config.replicas}")
    return config.replicas or max(1, len(gpus))


def _hardware(kind: str, count: int) -> str:
    """Names the GPUs in use with the memory that TensorFlow may take of each, or counts cores and logical devices."""
    if kind == "CPU":
        cores = len(os.sched_getaffinity(0))
        return f"{cores} core{'s' if cores > 1 else ''}, {count} logical device{'s' if count > 1 else ''}"
    growth = tf.compat.v1.ConfigProto(gpu_options=tf.compat.v1.GPUOptions(allow_growth=True))
    found = [device for device in device_lib.list_local_devices(growth) if device.device_type == "GPU"][:count]
    return ", ".join(gpu_name(device.physical_device_desc, device.memory_limit) for device in found)


def gpu_name(description: str, memory_bytes: int) -> str:
    """Shortens TensorFlow's description of a GPU: "device: 0, name: NVIDIA A100, pci bus id: ..., ..."."""
    parts = dict(part.split(": ", 1) for part in description.split(", ") if ": " in part)
    return f"{parts.get('name', 'GPU')} with {memory_bytes / 2**30:.1f} GiB"


class _MultiWorkerExtended(collective_all_reduce_strategy.CollectiveAllReduceExtended):
    """Takes as many devices of a worker as asked for.

    TensorFlow's own takes every GPU, or a single CPU device however many logical ones there are; its collectives, over
    gRPC, are the same for any number of devices.
    """

    def __init__(self, strategy: tf.distribute.Strategy, cluster: Cluster, kind: str, replicas: int) -> None:
        self._kind, self._replicas = kind, replicas
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({name: list(tasks) for name, tasks in cluster.addresses.items()}),
            task_type=cluster.task_type,
            task_id=cluster.task_index,
            rpc_layer="grpc",
        )
        options = tf.distribute.experimental.CommunicationOptions()
        super().__init__(strategy, cluster_resolver=resolver, communication_options=options)

    def _initialize_local_devices(self, resolver: Any, worker_device: str) -> tuple[tuple[str, ...], str]:
        del resolver
        return tuple(f"{worker_device}/device:{self._kind}:{n}" for n in range(self._replicas)), self._kind


class _MultiWorkerStrategy(tf.distribute.MultiWorkerMirroredStrategy):
    """`tf.distribute.MultiWorkerMirroredStrategy` with `replicas` replicas a worker, on GPUs or logical CPU devices."""

    def __init__(self, cluster: Cluster, kind: str, replicas: int) -> None:
        tf.distribute.Strategy.__init__(self, _MultiWorkerExtended(self, cluster, kind, replicas))
