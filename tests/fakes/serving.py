"""A stand-in for TensorFlow Serving: gRPC on its real protos and REST, both in front of a real SavedModel.

What it answers, codes and texts of errors included, follows the server's sources of version 2.15: predict_util.cc,
get_model_status_impl.cc, server_core.cc, http_rest_api_handler.cc, http_server.cc and json_tensor.cc.
"""

import base64
import concurrent.futures
import contextlib
import dataclasses
import http.server
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

__all__ = ["Backend", "RefusedError", "grpc_server", "rest_server"]


class RefusedError(Exception):
    """An answer with an error."""

    def __init__(self, code: grpc.StatusCode, told: str) -> None:
        self.code = code
        super().__init__(told)


@dataclasses.dataclass
class Backend:
    """What the server knows, and what shall go wrong.

    Attributes:
        signatures: Of the loaded SavedModel.
        model: Its name.
        versions: State of each version; requests for any of them go to `signatures`.
        labels: Version by label.
        failures: What the next requests are answered with, first to last.
        delay_s: Before each answer.
        called: Signatures, in order.
        chosen: Version and label that each request names, likewise.
        most_at_once: Requests that were being answered.
    """

    signatures: dict
    model: str = "calcseg"
    versions: dict[int, str] = dataclasses.field(default_factory=lambda: {1: "AVAILABLE"})
    labels: dict[str, int] = dataclasses.field(default_factory=dict)
    failures: list[RefusedError] = dataclasses.field(default_factory=list)
    delay_s: float = 0.0
    called: list[str] = dataclasses.field(default_factory=list)
    chosen: list[tuple[int | None, str | None]] = dataclasses.field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def status(self, name: str, version: int | None) -> dict[int, str]:
        if name != self.model:
            raise RefusedError(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {name}")
        if version is not None and version not in self.versions:
            raise RefusedError(grpc.StatusCode.NOT_FOUND, f"Could not find version {version} of model {name}")
        return self.versions if version is None else {version: self.versions[version]}

    def predict(
        self, name: str, version: int | None, label: str | None, signature: str, inputs: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        with self.lock:
            self.called.append(signature)
            self.chosen.append((version, label))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            failure = self.failures.pop(0) if self.failures else None
        try:
            time.sleep(self.delay_s)
            if failure:
                raise failure
            return self._predict(name, version, label, signature, inputs)
        finally:
            with self.lock:
                self.at_once -= 1

    def _predict(self, name, version, label, signature, inputs):
        if label is not None and label not in self.labels:
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
        version = self.labels[label] if label is not None else version
        if name != self.model or (version is not None and self.versions.get(version) != "AVAILABLE"):
            told = f"Servable not found for request: Specific({name}, {version})"
            raise RefusedError(grpc.StatusCode.NOT_FOUND, told)
        if signature not in self.signatures:
            raise RefusedError(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.')
        call = self.signatures[signature]
        if set(inputs) != set(call.structured_input_signature[1]):
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, "input size does not match signature")
        try:
            outputs = call(**{name: tf.constant(value) for name, value in inputs.items()})
        except tf.errors.InvalidArgumentError as error:
            raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, error.message) from None
        return {name: value.numpy() for name, value in outputs.items()}


class _Services(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def Predict(self, request, context):  # noqa: N802
        spec = request.model_spec
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        version = spec.version.value if spec.HasField("version") else None
        try:
            outputs = self._backend.predict(
                spec.name, version, spec.version_label or None, spec.signature_name or "serving_default", inputs
            )
        except RefusedError as refused:
            context.abort(refused.code, str(refused))
        response = predict_pb2.PredictResponse()
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(_as_fields(value))
        return response

    def GetModelStatus(self, request, context):  # noqa: N802
        spec = request.model_spec
        try:
            states = self._backend.status(spec.name, spec.version.value if spec.HasField("version") else None)
        except RefusedError as refused:
            context.abort(refused.code, str(refused))
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, state in states.items():
            response.model_version_status.add(version=version, state=state)
        return response


def _as_fields(value: np.ndarray):
    """As a server writes tensors unless told otherwise: a field a number, not the bytes of all."""
    proto = tf.make_tensor_proto(value)
    if value.dtype == np.float32:
        proto.tensor_content = b""
        proto.float_val[:] = value.ravel().tolist()
    return proto


@contextlib.contextmanager
def grpc_server(
    backend: Backend, credentials=None, options=(("grpc.max_receive_message_length", -1),)
) -> Iterator[str]:
    """Serves by gRPC, with as large messages as TensorFlow Serving takes unless `options` say otherwise.

    Yields:
        host:port.
    """
    options = (*options, ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0))
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=options)
    services = _Services(backend)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(services, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(services, server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("localhost:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}" if credentials is None else f"localhost:{port}"
    finally:
        server.stop(None)


_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.DEADLINE_EXCEEDED: 408,
    grpc.StatusCode.FAILED_PRECONDITION: 412,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 503,
    grpc.StatusCode.UNAVAILABLE: 503,
}
_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?(:predict)?")


class _Handler(http.server.BaseHTTPRequestHandler):
    backend: Backend

    def do_GET(self) -> None:
        name, version, _, _ = _PATH.fullmatch(self.path).groups()
        try:
            states = self.backend.status(name, version and int(version))
        except RefusedError as refused:
            return self._answer(_HTTP[refused.code], {"error": str(refused)})
        told = [
            {"version": str(version), "state": state, "status": {"error_code": "OK", "error_message": ""}}
            for version, state in states.items()
        ]
        return self._answer(200, {"model_version_status": told})

    def do_POST(self) -> None:
        name, version, label, _ = _PATH.fullmatch(self.path).groups()
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        inputs = {
            key: np.array([base64.b64decode(each["b64"]) for each in value], object)
            for key, value in request["inputs"].items()
        }
        signature = request["signature_name"]
        try:
            outputs = self.backend.predict(name, version and int(version), label, signature, inputs)
        except RefusedError as refused:
            code, told = _HTTP[refused.code], str(refused)
            if told.startswith("Serving signature key"):  # REST looks it up by another way
                code, told = 400, f'Serving signature name: "{signature}" not found in signature def'
            return self._answer(code, {"error": told})
        ((key, value),) = outputs.items()
        encode = (lambda each: {"b64": base64.b64encode(each).decode()}) if key.endswith("_bytes") else bytes.decode
        return self._answer(200, {"outputs": [encode(each) for each in value]})

    def _answer(self, status: int, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def rest_server(backend: Backend, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serves by REST.

    Yields:
        host:port.
    """
    handler = type("Handler", (_Handler,), {"backend": backend})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"{'localhost' if context else '127.0.0.1'}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
