"""TensorFlow Serving by gRPC: tensors as they are, so that nothing is rounded."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2, model_pb2, model_service_pb2_grpc, prediction_service_pb2_grpc

from calcseg_tf.serving.transport import ModelTarget, Security, ServerError, Trouble, server_says
from calcseg_tf.serving.warm_up import predict_request
from data_prep.errors import InputError
from data_prep.png import MAX_PIXELS

__all__ = ["GrpcTransport", "read_tensor"]

# gRPC takes 4 MB a message unless told otherwise; -1 is no limit.
_OPTIONS = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))

_TROUBLES = {
    grpc.StatusCode.UNAVAILABLE: Trouble.ABSENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Trouble.BUSY,
    grpc.StatusCode.DEADLINE_EXCEEDED: Trouble.LATE,
    grpc.StatusCode.NOT_FOUND: Trouble.NO_MODEL,
    grpc.StatusCode.INVALID_ARGUMENT: Trouble.REFUSED,
}
# Where the code alone does not tell: what the server's sources and gRPC's say.
_BY_TEXT = (
    (re.compile(r"serving signature .*not found", re.IGNORECASE), Trouble.NO_SIGNATURE),
    (re.compile(r"message larger than max", re.IGNORECASE), Trouble.TOO_LARGE),
    (re.compile(r"unrecognized servable version label|servable not found", re.IGNORECASE), Trouble.NO_MODEL),
    (re.compile(r"different shapes and padding is turned off", re.IGNORECASE), Trouble.UNEQUAL),
)


class GrpcTransport:
    """Implements `Transport`."""

    def __init__(self, server: str, target: ModelTarget, deadline_s: float, security: Security) -> None:
        """Opens a channel, which connects when it is first used.

        Args:
            server: host:port.
            target: The model.
            deadline_s: Seconds for each request.
            security: Whether to encrypt.

        Raises:
            InputError: The certificate cannot be read.
        """
        self._target = target
        self._deadline_s = deadline_s
        if security.tls:
            self._channel = grpc.secure_channel(server, grpc.ssl_channel_credentials(_read(security)), options=_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(server, options=_OPTIONS)
        self._predict = prediction_service_pb2_grpc.PredictionServiceStub(self._channel).Predict
        # model_service_pb2 itself fails under protobuf 4.25; the stub needs only the messages.
        self._status = model_service_pb2_grpc.ModelServiceStub(self._channel).GetModelStatus

    def versions(self) -> dict[int, str]:
        """As `Transport.versions`; for a label, of all versions: servers tell no more."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self._target.name
        if self._target.version is not None:
            request.model_spec.version.value = self._target.version
        response = self._call(self._status, request)
        state = get_model_status_pb2.ModelVersionStatus.State
        return {each.version: state.Name(each.state) for each in response.model_version_status}

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """As `Transport.predict`."""
        request = predict_request(self._target.name, signature, inputs)
        self._choose_version(request.model_spec)
        response = self._call(self._predict, request)
        return {name: read_tensor(value) for name, value in response.outputs.items()}

    def close(self) -> None:
        """As `Transport.close`."""
        self._channel.close()

    def _choose_version(self, spec: model_pb2.ModelSpec) -> None:
        if self._target.version is not None:
            spec.version.value = self._target.version
        elif self._target.label:
            spec.version_label = self._target.label

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=self._deadline_s)
        except grpc.RpcError as error:
            raise _server_error(error.code(), error.details() or "") from None


def read_tensor(value: Any) -> np.ndarray:
    """Takes an array no larger than an image: a tensor of few bytes may claim any size, its last value repeated."""
    claimed = math.prod(dimension.size for dimension in value.tensor_shape.dim)
    if not 0 <= claimed <= MAX_PIXELS:
        raise ServerError(Trouble.OTHER, f"it answers with {claimed} values; an image has at most {MAX_PIXELS}")
    try:
        return np.asarray(tf.make_ndarray(value))
    except (TypeError, ValueError):
        raise ServerError(Trouble.OTHER, "it answers with a damaged tensor") from None


def _server_error(code: grpc.StatusCode, details: str) -> ServerError:
    trouble = _TROUBLES.get(code, Trouble.OTHER)
    trouble = next((by_text for pattern, by_text in _BY_TEXT if pattern.search(details)), trouble)
    return ServerError(trouble, server_says(details) or code.name)


def _read(security: Security) -> bytes | None:
    if security.ca_file is None:
        return None
    try:
        return security.ca_file.read_bytes()
    except OSError as error:
        raise InputError(f"--tls_ca_file cannot be read ({error.strerror})", security.ca_file) from None
