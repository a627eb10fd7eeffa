"""The workers of a run as the environment variable TF_CONFIG names them, checked before anything connects."""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from data_prep.errors import InputError

__all__ = ["TF_CONFIG", "Cluster", "read_cluster"]

TF_CONFIG = "TF_CONFIG"

_TASK_TYPES = ("chief", "worker")
_ADDRESS = re.compile(r"\S+:(\d{1,5})")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The processes that train together, and which of them this one is.

    Attributes:
        addresses: "host:port" of every task of each type, "chief" or "worker".
        task_type: This process's type.
        task_index: Its index among the tasks of that type, from 0.
    """

    addresses: Mapping[str, tuple[str, ...]]
    task_type: str
    task_index: int

    @property
    def workers(self) -> int:
        """How many processes train; a chief is one of them."""
        return sum(map(len, self.addresses.values()))

    @property
    def name(self) -> str:
        """This process, for people: "worker 0"."""
        return f"{self.task_type} {self.task_index}"

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the model directory: the chief, or worker 0 where there is none."""
        return self.task_type == "chief" or ("chief" not in self.addresses and self.task_index == 0)


def read_cluster(environment: Mapping[str, str]) -> Cluster | None:
    """Reads TF_CONFIG, as `tf.distribute.MultiWorkerMirroredStrategy` takes it.

    Args:
        environment: The process's, or a part of it.

    Returns:
        None where the variable is not set, or names this process alone: then nothing is to be connected.

    Raises:
        InputError: The variable breaks a rule or contradicts itself.
    """
    text = environment.get(TF_CONFIG, "").strip()
    if not text:
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _error(f"must be JSON ({error})", text) from None
    if not isinstance(content, dict):
        raise _error("must be a JSON object", content)
    addresses = _addresses(content.get("cluster"))
    task_type, task_index = _task(content.get("task"), addresses)
    cluster = Cluster(addresses, task_type, task_index)
    return cluster if cluster.workers > 1 else None


def _addresses(found: Any) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(found, dict) or not found:
        raise _error('needs a "cluster" of one worker or more', found)
    for task_type, tasks in found.items():
        if task_type not in _TASK_TYPES:
            raise _error(f'knows the task types {" and ".join(_TASK_TYPES)} in its "cluster"', task_type)
        if not isinstance(tasks, list) or not tasks:
            raise _error(f'needs a list of addresses for each {task_type} in its "cluster"', tasks)
        for address in tasks:
            match = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
            if match is None or not 0 < int(match[1]) < 65536:
                raise _error("needs addresses of the form host:port", address)
    if len(found.get("chief", [])) > 1:
        raise _error("may name one chief", found["chief"])
    every = [address for tasks in found.values() for address in tasks]
    if len(set(every)) < len(every):
        raise _error("may name each address once", every)
    return {task_type: tuple(tasks) for task_type, tasks in found.items()}


def _task(found: Any, addresses: Mapping[str, tuple[str, ...]]) -> tuple[str, int]:
    if not isinstance(found, dict):
        raise _error('needs a "task" with the type and index of this process', found)
    task_type, index = found.get("type"), found.get("index")
    if not isinstance(task_type, str) or task_type not in addresses:
        raise _error(f'must give this process a task type of its "cluster", {" or ".join(addresses)}', task_type)
    if isinstance(index, str) and index.isdecimal() and len(index) < 10:  # as some schedulers write it
        index = int(index)
    count = len(addresses[task_type])
    if type(index) is not int or not 0 <= index < count:
        raise _error(f'must give this process a task index of 0 to {count - 1}, for its "cluster" has {count}', index)
    return task_type, index


def _error(rule: str, found: Any) -> InputError:
    shown = json.dumps(found)
    return InputError(f"{TF_CONFIG} {rule}; found {shown if len(shown) <= 120 else shown[:117] + '...'}")
