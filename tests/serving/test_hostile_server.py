"""A server that answers with something else than it should: one line, and no result."""

import http.server
import json
import threading

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from calcseg_tf.serving.connection import Protocol, connect
from calcseg_tf.serving.grpc_transport import read_tensor
from calcseg_tf.serving.transport import ServerError
from data_prep.errors import InputError
from tests.fakes.serving import Backend, grpc_server
from tests.serving.test_remote_model import BOTH, SERVERS, config, mammogram


def _metadata_with(signatures, pattern, replacement):
    first = signatures["metadata"]

    def metadata(**inputs):
        [(name, text)] = first(**inputs).items()
        return {name: tf.strings.regex_replace(text, pattern, replacement)}

    metadata.structured_input_signature = first.structured_input_signature
    return {**signatures, "metadata": metadata}


@BOTH
@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r'"tile_px": \d+', '"tile_px": -512'),
        (r'"tile_px": \d+', '"tile_px": 1000000'),
        (r'"halo_px": \d+', '"halo_px": -1'),
        (r'"origin_multiple_px": \d+', '"origin_multiple_px": 0'),
        (r'"contract_version": \d+', '"contract_version": 1e999'),
        (r'"operating_threshold": [0-9.]+', f'"operating_threshold": {"9" * 400}'),
        (r"(?s).*", "[" * 100_000),
    ],
)
def test_metadata_that_make_no_sense_are_one_line_before_any_image_is_sent(signatures, protocol, pattern, replacement):
    backend = Backend(_metadata_with(signatures, pattern, replacement))
    told = r"metadata cannot be read|model is unknown here"
    with SERVERS[protocol](backend) as server, pytest.raises(InputError, match=told) as raised:
        connect(config(server, protocol))
    assert "\n" not in str(raised.value)
    assert set(backend.called) == {"metadata"}


@pytest.mark.parametrize(
    ("signature", "shape", "rule"),
    [
        ("predict_tiles", (1, 1, 1, 1), r"the answer must be a tile of 512 px; found \[1, 1\]"),
        ("predict_tiles", (1, 512, 1, 1), r"found \[512, 1\]"),
        ("predict_tiles", (0, 512, 512, 1), "the answer must be"),
        ("serving_default", (1, 4, 1, 1), "the answer must be of the image's size"),
        ("serving_default", (1, 3, 4), "the answer must be float32"),
    ],
)
def test_an_answer_of_another_size_is_no_result(signatures, signature, shape, rule):
    class Hostile(Backend):
        def predict(self, name, version, label, asked, inputs):
            if asked == "metadata":
                return super().predict(name, version, label, asked, inputs)
            return {"probability": np.zeros(shape, np.float32)}

    with grpc_server(Hostile(signatures)) as server:
        model = connect(config(server, signature=signature))
        with pytest.raises(InputError, match=rule):
            model.probability(mammogram(3, 4))


def test_an_answer_that_claims_more_than_any_image_takes_no_memory():
    claimed = tensor_pb2.TensorProto(dtype=1, float_val=[0.5])
    for size in (1, 100_000, 100_000, 1):
        claimed.tensor_shape.dim.add(size=size)
    with pytest.raises(ServerError, match="it answers with 10000000000 values"):
        read_tensor(claimed)


class _Answering(http.server.BaseHTTPRequestHandler):
    status, body = 200, b""

    def do_GET(self):
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (400, b'{"error": null}', "HTTP status 400"),
        (400, b'{"error": {"code": 1}}', "HTTP status 400"),
        (500, b'{"error": "\\u001b[2Jgone"}', "gone"),
        (200, b'{"model_version_status": [{"version": 1e999, "state": "AVAILABLE"}]}', "model_version_status"),
        (200, b"[" * 100_000, "HTTP status 200"),
        (301, b"", "HTTP status 301"),
    ],
)
def test_what_no_server_says_is_one_line(status, body, told):
    handler = type("Handler", (_Answering,), {"status": status, "body": body})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(InputError, match=told) as raised:
            connect(config(f"127.0.0.1:{server.server_port}", Protocol.REST, retries=0))
        assert str(raised.value).isprintable()
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("outputs", [[], [{"b64": "/w=="}], [[]], {"a": []}])
def test_metadata_that_are_no_text_are_one_line(signatures, outputs):
    class Handler(_Answering):
        def do_GET(self):
            self.body = b'{"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}'
            super().do_GET()

        def do_POST(self):
            self.body = json.dumps({"outputs": outputs}).encode()
            super().do_GET()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(InputError) as raised:
            connect(config(f"127.0.0.1:{server.server_port}", Protocol.REST, retries=0))
        assert str(raised.value).isprintable()
    finally:
        server.shutdown()
        server.server_close()
