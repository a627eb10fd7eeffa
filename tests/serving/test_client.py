"""The client's command against servers that are a real SavedModel behind the real protocols."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time

import numpy as np
import pytest

from calcseg_tf.serving.contract import CONTRACT_VERSION
from calcseg_tf.serving.metadata import read_metadata
from data_prep.command import DISCLAIMER
from data_prep.errors import InputError
from data_prep.png import decode_grey_png
from tests.fakes.commands import ROOT, assert_one_line_error, command, environment, run_modules
from tests.fakes.dicom import write_dicom
from tests.fakes.folder import fake_pixels, write_png
from tests.fakes.serving import Backend, grpc_server, rest_server
from tests.leaks import find_leaks

CLIENT = "calcseg_tf.serving.client"
EXACT = ("count", "threshold", "model", "source", "height", "width", "pixel_spacing_mm", "pixel_spacing_source")


class Recording(Backend):
    """Keeps what it is sent."""

    def predict(self, *arguments):
        *named, inputs = arguments
        values = [value.tobytes() if value.dtype != object else b"".join(value) for value in inputs.values()]
        self.sent = [*getattr(self, "sent", []), repr(named).encode() + b"".join(values)]
        return super().predict(*arguments)


@pytest.fixture
def backend(signatures):
    return Recording(signatures)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two DICOM files of 12 bits, a PNG of 16, and one file that is broken."""
    folder = tmp_path_factory.mktemp("images")
    write_dicom(folder / "a.dcm", fake_pixels(0), PatientName="Doe^Jane", PatientID="SECRET-17")
    write_dicom(folder / "b.dcm", fake_pixels(1))
    write_png(folder / "c.png", np.random.default_rng(0).integers(0, 65536, (70, 300)).astype(np.uint16))
    (folder / "d.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


@pytest.fixture(scope="module")
def predicted(images, model_dir, tmp_path_factory):
    """What `calcseg_tf.predict` makes of them."""
    folder = tmp_path_factory.mktemp("predicted")
    flags = [f"--model_dir={model_dir}", f"--input={images}", f"--output_dir={folder}", "--workers=1"]
    run_modules("calcseg_tf.predict", [flags])
    return folder


def assert_same_results(found, expected):
    """The same, but for a code of 65,535 where a value lies between two: tiles and threads round otherwise."""
    places = sorted(path.relative_to(expected).as_posix() for path in expected.rglob("*"))
    assert sorted(path.relative_to(found).as_posix() for path in found.rglob("*")) == places
    assert {place.split("/")[0] for place in places} == {"a", "b", "c", "predictions.csv"}
    for place in ("a", "b", "c"):
        one, other = (
            decode_grey_png((folder / place / "probability.png").read_bytes(), bits=16).astype(int)
            for folder in (found, expected)
        )
        assert np.abs(one - other).max() <= 1
        one, other = (json.loads((folder / place / "statistics.json").read_text()) for folder in (found, expected))
        assert {key: one[key] for key in EXACT} == {key: other[key] for key in EXACT}
        one, other = ((folder / place / "calcifications.csv").read_text().splitlines() for folder in (found, expected))
        assert len(one) == len(other)
        assert one[0] == other[0]


@pytest.mark.slow
def test_a_served_model_writes_what_predict_writes_and_is_sent_nothing_of_the_patient(
    backend, images, predicted, tmp_path
):
    backend.labels["stable"] = 1
    with grpc_server(backend) as by_grpc, rest_server(backend) as by_rest:
        calls = [
            [
                f"--server={server}",
                f"--protocol={protocol}",
                f"--input={images}",
                f"--output_dir={tmp_path / name}",
                *more,
            ]
            for name, server, protocol, *more in [
                ("grpc", by_grpc, "grpc", "--in_flight=3"),
                ("rest", by_rest, "rest", "--label=stable"),
                ("tiles", by_grpc, "grpc", "--signature=predict_tiles", "--version=1"),
                ("grpc", by_grpc, "grpc"),
            ]
        ]
        *first, again = run_modules(CLIENT, calls)
    for ended, name in zip(first, ("grpc", "rest", "tiles"), strict=True):
        assert_one_line_error(ended, "1 of 4 images gave no result")
        assert DISCLAIMER in ended.stdout
        assert "no result: " + str(images / "d.png") in ended.stdout
        assert_same_results(tmp_path / name, predicted)
    assert "3 of 4 images have their result already" in again.stdout
    assert {"serving_default", "predict_png", "predict_tiles"} < set(backend.called)
    for index, data in enumerate(backend.sent):
        (tmp_path / "sent" / str(index)).parent.mkdir(exist_ok=True)
        (tmp_path / "sent" / str(index)).write_bytes(data)
    assert find_leaks([tmp_path / "sent"], ["Doe", "Jane", "SECRET-17", "a.dcm", str(images)]) == []


@pytest.mark.slow
def test_users_errors_are_one_line(backend, images, tmp_path):
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{free.getsockname()[1]}"
    common = [f"--input={images}", f"--output_dir={tmp_path / 'out'}"]
    with grpc_server(backend) as server:
        absent, no_model, no_port, no_signature, bad_threshold = run_modules(CLIENT, [
            [f"--server={dead}", "--retries=1", *common],
            [f"--server={server}", "--model_name=other", *common],
            ["--server=localhost", *common],
            [f"--server={server}", "--protocol=rest", "--signature=predict_tiles", *common],
            [f"--server={server}", "--threshold=2", *common],
        ])  # fmt: skip
    assert_one_line_error(absent, dead, "no TensorFlow Serving answers")
    assert_one_line_error(no_model, server, "the server has no model other")
    assert_one_line_error(no_port, "--server: must be host:port", "'localhost'")
    assert_one_line_error(no_signature, "--signature: by rest must be predict_png; found predict_tiles")
    assert_one_line_error(bad_threshold, "an operating threshold lies between 0 and 1; found 2")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_client_that_is_stopped_ends_at_once_and_leaves_whole_results(backend, images, tmp_path):
    with grpc_server(backend) as server:
        flags = command(
            CLIENT, server=server, input=images, output_dir=tmp_path, signature="predict_tiles", in_flight=1
        )
        client = subprocess.Popen(flags, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while "predict_tiles" not in backend.called:
            assert client.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        backend.delay_s = 2.0
        time.sleep(0.2)
        client.send_signal(signal.SIGTERM)
        _, told = client.communicate(timeout=30)
    assert client.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in told
    assert all(len(list(each.iterdir())) >= 4 for each in tmp_path.iterdir() if each.is_dir())
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def metadata(exported, **changes):
    content = json.loads((exported / "assets.extra" / "metadata.json").read_text())
    return json.dumps({**content, **changes})


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"contract_version": 1}, "older than this client, which needs contract version 2; found contract version 1"),
        ({"model": {"name": "vit"}}, "the server's model is unknown here: is this client older"),
        ({"tiles": {}}, "the server's metadata cannot be read"),
    ],
)
def test_what_a_server_tells_is_checked(exported, changes, rule):
    with pytest.raises(InputError, match=rule) as raised:
        read_metadata(metadata(exported, **changes), "host:8500")
    assert raised.value.where == "host:8500"


def test_a_newer_server_is_understood(exported):
    text = metadata(exported, contract_version=CONTRACT_VERSION + 1, something_new=3)
    assert read_metadata(text, "host:8500").tiles.window_px == 522
