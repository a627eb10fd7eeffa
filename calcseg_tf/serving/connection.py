"""From a user's settings to a served model that is ready to be asked."""

import dataclasses
import enum
import pathlib

from calcseg_tf.serving.contract import PREDICT_PNG, PREDICT_TILES, SERVING_DEFAULT
from calcseg_tf.serving.grpc_transport import GrpcTransport
from calcseg_tf.serving.remote_model import RemoteModel
from calcseg_tf.serving.rest_transport import RestTransport
from calcseg_tf.serving.retries import Retries
from calcseg_tf.serving.transport import ModelTarget, Security
from data_prep.errors import InputError

__all__ = ["ConnectionConfig", "Protocol", "connect"]


class Protocol(enum.Enum):
    """How a server is asked."""

    GRPC = "grpc"
    REST = "rest"


# gRPC carries float32 as it is: exact, and nothing is encoded or decoded. JSON has no floats to speak of: 16-bit PNGs,
# from which the server takes the same float32, and which bring home the 16 bits that results are written with.
_SIGNATURES = {
    Protocol.GRPC: (SERVING_DEFAULT, PREDICT_PNG, PREDICT_TILES),
    Protocol.REST: (PREDICT_PNG,),
}


@dataclasses.dataclass(frozen=True)
class ConnectionConfig:
    """Which model of which server, and how it is asked; named as the client's flags, which say what they mean."""

    server: str
    model_name: str
    protocol: Protocol = Protocol.GRPC
    version: int | None = None
    label: str | None = None
    signature: str | None = None
    in_flight: int = 2
    deadline_s: float = 600.0
    retries: int = 4
    tls: bool = False
    tls_ca_file: pathlib.Path | None = None

    def __post_init__(self) -> None:
        host, _, port = self.server.rpartition(":")
        if not host or "/" in host or not port.isdecimal():
            raise InputError(f"must be host:port, without http://; found {self.server!r}", "--server")
        if not self.model_name:
            raise InputError("must be the name of a model on the server; found nothing", "--model_name")
        if self.version is not None and self.label:
            raise InputError(f"give one of --version and --label; found {self.version} and {self.label!r}")
        if self.version is not None and self.version < 1:
            raise InputError(f"must be at least 1; found {self.version}", "--version")
        if self.signature is not None and self.signature not in _SIGNATURES[self.protocol]:
            allowed = " or ".join(_SIGNATURES[self.protocol])
            raise InputError(f"by {self.protocol.value} must be {allowed}; found {self.signature}", "--signature")
        if self.in_flight < 1:
            raise InputError(f"must be at least 1; found {self.in_flight}", "--in_flight")
        if not 0 < self.deadline_s < float("inf"):
            raise InputError(f"must be more than 0; found {self.deadline_s}", "--deadline_s")
        if self.retries < 0:
            raise InputError(f"must be 0 or more; found {self.retries}", "--retries")


def connect(config: ConnectionConfig) -> RemoteModel:
    """Connects to a served model.

    Raises:
        InputError: See `RemoteModel`; the certificate cannot be read.
    """
    target = ModelTarget(config.model_name, config.version, config.label)
    security = Security(config.tls or config.tls_ca_file is not None, config.tls_ca_file)
    make = GrpcTransport if config.protocol is Protocol.GRPC else RestTransport
    transport = make(config.server, target, config.deadline_s, security)
    signature = config.signature or _SIGNATURES[config.protocol][0]
    return RemoteModel(transport, config.server, target, signature, Retries(config.retries), config.in_flight)
