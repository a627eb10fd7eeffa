"""How a client speaks with TensorFlow Serving, whatever the protocol: what it asks, and what can go wrong."""

import dataclasses
import enum
import pathlib
import re
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from data_prep.printable import printable

__all__ = ["AVAILABLE", "ModelTarget", "Security", "ServerError", "Transport", "Trouble", "server_says"]

AVAILABLE = "AVAILABLE"  # state of a version (tensorflow_serving/apis/get_model_status.proto)


class Trouble(enum.Enum):
    """Kinds of failure, as a user can act on them."""

    ABSENT = enum.auto()  # nothing answers
    BUSY = enum.auto()
    LATE = enum.auto()  # past the deadline
    NO_MODEL = enum.auto()  # nor version, nor label
    NO_SIGNATURE = enum.auto()
    TOO_LARGE = enum.auto()  # a message
    UNEQUAL = enum.auto()  # a batching server merged images of different sizes
    REFUSED = enum.auto()  # the input
    OTHER = enum.auto()


class ServerError(Exception):
    """A request that failed.

    Attributes:
        trouble: What kind.
        told: What the server, or the system, says; one line.
    """

    def __init__(self, trouble: Trouble, told: str) -> None:
        self.trouble = trouble
        self.told = told
        super().__init__(f"{trouble.name}: {told}")

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.trouble in (Trouble.ABSENT, Trouble.BUSY)


@dataclasses.dataclass(frozen=True)
class ModelTarget:
    """A model on a server; without version and label, its newest version.

    Attributes:
        name: As the server's config calls it.
        version: Number of a version.
        label: Label of a version, instead of its number.
    """

    name: str
    version: int | None = None
    label: str | None = None

    def __str__(self) -> str:
        """As messages call it."""
        if self.version is not None:
            return f"{self.name}, version {self.version}"
        return f"{self.name}, label {self.label}" if self.label else self.name


@dataclasses.dataclass(frozen=True)
class Security:
    """Encryption of the connection.

    Attributes:
        tls: Whether there is any.
        ca_file: PEM file of the authority that signed the server's certificate; None for the system's authorities.
    """

    tls: bool = False
    ca_file: pathlib.Path | None = None


class Transport(Protocol):
    """A connection to one model; its methods may be called by several threads at once."""

    def versions(self) -> dict[int, str]:
        """Returns the state of each version that was asked for, by number.

        Raises:
            ServerError: The request failed.
        """
        ...

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Calls a signature.

        Args:
            signature: Its name.
            inputs: By name, [batch, ...] as its signature has them (`contract`); strings as object arrays of bytes.

        Returns:
            Outputs by name, likewise.

        Raises:
            ServerError: The request failed.
        """
        ...

    def close(self) -> None:
        """Ends what is still being asked, where the protocol can."""
        ...


_ASSERTION = re.compile(r"assertion failed: \[(.*)\]", re.DOTALL)
_NODE = re.compile(r"\s*\[\[\{\{node .*", re.DOTALL)
_DETECTED = re.compile(r"^Graph execution error:.*<stack traces unavailable>", re.DOTALL)
_MOST_CHARACTERS = 300


def server_says(text: str) -> str:
    """Takes the sentence out of TensorFlow's report of a failed operation; one line, not too long."""
    text = _NODE.sub("", _DETECTED.sub("", text))
    if found := _ASSERTION.search(text):
        text = found[1]
    return printable(" ".join(text.split()))[:_MOST_CHARACTERS]
