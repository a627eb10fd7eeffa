import contextlib
import datetime
import functools
import socket
import ssl
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf

from calcseg_tf.inference.predictor import Predictor
from calcseg_tf.probability_map import to_codes
from calcseg_tf.serving.connection import ConnectionConfig, Protocol, connect
from calcseg_tf.serving.retries import Retries
from calcseg_tf.serving.transport import ServerError, Trouble
from data_prep.errors import InputError, UnfinishedError
from tests.fakes.serving import Backend, RefusedError, grpc_server, rest_server

SERVERS = {Protocol.GRPC: grpc_server, Protocol.REST: rest_server}
BOTH = pytest.mark.parametrize("protocol", list(Protocol))
WAYS = pytest.mark.parametrize(
    ("protocol", "signature"),
    [(Protocol.GRPC, name) for name in ("serving_default", "predict_png", "predict_tiles")]
    + [(Protocol.REST, "predict_png")],
)
UNAVAILABLE = RefusedError(grpc.StatusCode.UNAVAILABLE, "restarting")


@pytest.fixture
def backend(signatures):
    return Backend(signatures)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    waits = []
    monkeypatch.setattr("calcseg_tf.serving.connection.Retries", functools.partial(Retries, sleep=waits.append))
    return waits


def config(server, protocol=Protocol.GRPC, **settings):
    return ConnectionConfig(server, settings.pop("model_name", "calcseg"), protocol, **settings)


def mammogram(height, width, bits=16, seed=0):
    stored = np.random.default_rng(seed).integers(0, 1 << bits, (height, width))
    stored[:, : width // 2] = 0
    return stored.astype(np.float32) / np.float32((1 << bits) - 1)


@WAYS
@pytest.mark.parametrize(("size", "bits"), [((1, 1), 16), ((30, 41), 12), ((530, 9), 8), ((70, 1100), 14)])
def test_a_served_model_gives_what_the_model_gives_here(backend, model_dir, protocol, signature, size, bits):
    intensity = mammogram(*size, bits)
    done = []
    with SERVERS[protocol](backend) as server:
        model = connect(config(server, protocol, signature=signature))
        found = model.probability(intensity, done.append)
    expected = Predictor.load(model_dir).probability(intensity)
    assert found.shape == size
    assert found.dtype == np.float32
    rounding = 0.5 / 65535 if signature == "predict_png" else 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=rounding + 1e-5)
    assert np.abs(to_codes(found).astype(int) - to_codes(expected)).max() <= 1
    assert sum(done) == size[0]


@pytest.mark.slow
def test_tiles_that_see_every_kind_of_border_make_up_the_whole_image(backend, model_dir):
    for size in [(1030, 1600), (512, 512), (513, 517), (522, 1034)]:
        intensity = mammogram(*size, 12)
        with grpc_server(backend) as server:
            found = connect(config(server, signature="predict_tiles")).probability(intensity)
        np.testing.assert_allclose(found, Predictor.load(model_dir).probability(intensity), rtol=0, atol=1e-5)


def test_tiles_of_air_inside_the_image_are_asked_for_once(backend, model_dir):
    intensity = mammogram(40, 40)
    intensity = np.pad(intensity, ((0, 8), (0, 512 * 5)))
    intensity = np.pad(intensity, ((0, 512 * 2), (0, 0)))
    with grpc_server(backend) as server:
        found = connect(config(server, signature="predict_tiles")).probability(intensity)
    # 3 x 6 tiles; the 4 inside of the middle row, all air, have one answer.
    assert backend.called.count("predict_tiles") == 18 - 4 + 1
    np.testing.assert_allclose(found, Predictor.load(model_dir).probability(intensity), rtol=0, atol=1e-5)


def test_without_a_signature_floats_go_by_grpc_and_pngs_by_rest(backend):
    for protocol, signature in ((Protocol.GRPC, "serving_default"), (Protocol.REST, "predict_png")):
        with SERVERS[protocol](backend) as server:
            connect(config(server, protocol)).probability(mammogram(3, 4))
        assert backend.called[-2:] == [signature, "metadata"]  # whether it is the same model still


@BOTH
def test_the_client_learns_what_the_model_directory_holds(backend, model_dir, protocol):
    from calcseg_tf.model_directory import read_info

    with SERVERS[protocol](backend) as server:
        assert connect(config(server, protocol)).served.info == read_info(model_dir)


@BOTH
def test_a_server_that_is_unavailable_twice_is_asked_a_third_time(backend, short_waits, protocol):
    with SERVERS[protocol](backend) as server:
        model = connect(config(server, protocol))
        backend.failures = [UNAVAILABLE, RefusedError(grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full")]
        model.probability(mammogram(3, 4))
    assert len(short_waits) == 2
    assert 0.25 <= short_waits[0] <= 0.5 <= short_waits[1] <= 1.0


@BOTH
def test_an_absent_server_is_said_in_one_line_after_the_retries(short_waits, protocol):
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(InputError, match="no TensorFlow Serving answers") as raised:
        connect(config(server, protocol, retries=3))
    assert raised.value.where == server
    assert "\n" not in str(raised.value)
    assert len(short_waits) == 3


@BOTH
def test_once_a_server_is_gone_further_images_do_not_wait_for_it(backend, short_waits, protocol):
    with SERVERS[protocol](backend) as server:
        model = connect(config(server, protocol, retries=2))
        backend.failures = [UNAVAILABLE] * 4
        for waits in (2, 2):
            with pytest.raises(InputError, match="no TensorFlow Serving answers"):
                model.probability(mammogram(3, 4))
            assert len(short_waits) == waits
        assert backend.failures == []
        model.probability(mammogram(3, 4))  # it is back
        backend.failures = [UNAVAILABLE]
        model.probability(mammogram(3, 4))
        assert len(short_waits) == 3


@BOTH
@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"model_name": "other"}, "the server has no model other"),
        ({"version": 9}, "the server has no model calcseg, version 9"),
        ({"label": "canary"}, "the server has no model calcseg, label canary"),
        ({"version": 2}, "not ready to serve calcseg, version 2: version 2 is LOADING"),
    ],
)
def test_a_model_that_is_not_there_is_named(backend, short_waits, protocol, settings, rule):
    backend.versions[2] = "LOADING"
    with SERVERS[protocol](backend) as server, pytest.raises(InputError, match=rule):
        connect(config(server, protocol, **settings))
    assert short_waits == []


@BOTH
@pytest.mark.parametrize("choice", [{"version": 1}, {"label": "stable"}, {}])
def test_a_version_is_chosen_by_number_label_or_not_at_all(backend, protocol, choice):
    backend.labels["stable"] = 1
    backend.versions[2] = "END"
    with SERVERS[protocol](backend) as server:
        connect(config(server, protocol, **choice)).probability(mammogram(3, 4))
    assert set(backend.chosen) == {(choice.get("version"), choice.get("label"))}


@BOTH
def test_a_model_that_changes_during_the_run_ends_it(backend, signatures, protocol):
    other = {**signatures, "metadata": _metadata_of_other_weights(signatures)}
    with SERVERS[protocol](backend) as server:
        model = connect(config(server, protocol))
        model.probability(mammogram(3, 4))
        backend.signatures = other
        with pytest.raises(UnfinishedError, match=r"the served model .* changed during the run; --overwrite"):
            model.probability(mammogram(3, 4))


def _metadata_of_other_weights(signatures):
    """The signature `metadata`, telling other weights."""
    first = signatures["metadata"]

    def metadata(**inputs):
        [(name, text)] = first(**inputs).items()
        return {name: tf.strings.regex_replace(text, '("weights_sha256": ")[0-9a-f]*', r"\1other")}

    metadata.structured_input_signature = first.structured_input_signature
    return metadata


@BOTH
def test_an_older_server_is_told_from_its_missing_metadata(signatures, protocol):
    first = {name: signatures[name] for name in ("serving_default", "predict_png")}
    with (
        SERVERS[protocol](Backend(first)) as server,
        pytest.raises(InputError, match="older than this client") as raised,
    ):
        connect(config(server, protocol))
    assert "export it again" in str(raised.value)


def test_a_newer_server_without_the_signature_says_so(signatures):
    from calcseg_tf.serving import metadata

    backend = Backend(dict(signatures))
    with grpc_server(backend) as server:
        model = connect(config(server))
        del backend.signatures["serving_default"]
        with pytest.raises(InputError, match="no signature serving_default"):
            model.probability(mammogram(3, 4))
    assert metadata.CONTRACT_VERSION == 2


@BOTH
def test_a_server_too_slow_for_the_deadline_is_not_asked_again(backend, short_waits, protocol):
    with SERVERS[protocol](backend) as server:
        model = connect(config(server, protocol, deadline_s=3.0))
        backend.delay_s = 6.0
        with pytest.raises(InputError, match="no answer within --deadline_s"):
            model.probability(mammogram(3, 4))
    assert short_waits == []


def test_messages_over_the_default_of_four_megabytes_pass(backend, model_dir):
    intensity = mammogram(1000, 1100)  # 4.4 MB
    with grpc_server(backend) as server:
        found = connect(config(server)).probability(intensity)
    np.testing.assert_allclose(found, Predictor.load(model_dir).probability(intensity), rtol=0, atol=1e-5)


def test_a_server_that_takes_four_megabytes_is_sent_tiles(backend, short_waits):
    intensity = mammogram(1000, 1100)
    with grpc_server(backend, options=()) as server:
        with pytest.raises(InputError, match="no message so large; try --signature=predict_tiles"):
            connect(config(server)).probability(intensity)
        connect(config(server, signature="predict_tiles")).probability(intensity)
    assert short_waits == []


def test_several_tiles_are_in_flight_at_once(backend):
    with grpc_server(backend) as server:
        model = connect(config(server, signature="predict_tiles", in_flight=3))
        backend.delay_s = 1.0
        model.probability(mammogram(4, 512 * 3))
    assert backend.most_at_once == 3


def test_several_threads_may_ask_at_once(backend):
    with grpc_server(backend) as server:
        model = connect(config(server))
        backend.delay_s = 1.0
        threads = [threading.Thread(target=model.probability, args=(mammogram(3, 4),)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert backend.most_at_once == 3


def test_a_batching_server_that_merged_unequal_images_leads_to_tiles(backend):
    told = "Tensors with name 'image:0' from different tasks have different shapes and padding is turned off."
    with grpc_server(backend) as server:
        model = connect(config(server))
        backend.failures = [RefusedError(grpc.StatusCode.FAILED_PRECONDITION, told)]
        with pytest.raises(InputError, match="use --signature=predict_tiles"):
            model.probability(mammogram(3, 4))


@BOTH
def test_what_the_graph_refuses_reaches_the_user_as_its_sentence(backend, protocol):
    with SERVERS[protocol](backend) as server:
        model = connect(config(server, protocol))
        backend.failures = [RefusedError(grpc.StatusCode.INVALID_ARGUMENT, _GRAPH_ERROR)]
        with pytest.raises(InputError) as raised:
            model.probability(mammogram(3, 4))
    assert raised.value.rule == "the server refused the image: image must hold [0, 1]; found 2"


_GRAPH_ERROR = """Graph execution error:

Detected at node Assert_1/Assert defined at (most recent call last):
<stack traces unavailable>
assertion failed: [image must hold [0, 1]; found 2]
\t [[{{node Assert_1/Assert}}]] [Op:__inference_signature_wrapper_predict_6867]"""


def test_other_intensities_than_stored_values_fit_no_png(backend):
    with rest_server(backend) as server, pytest.raises(InputError, match="found other intensities"):
        connect(config(server, Protocol.REST)).probability(np.full((2, 2), 0.3, np.float32))


def test_a_rest_client_at_the_grpc_port_is_told(backend):
    with grpc_server(backend) as server, pytest.raises(InputError) as raised:
        connect(config(server, Protocol.REST, retries=0))
    assert "gRPC port" in str(raised.value) or "no TensorFlow Serving answers" in str(raised.value)


def make_certificate(folder):
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*encoding))
    return folder / "cert.pem", folder / "key.pem"


@BOTH
def test_tls_trusts_the_given_authority_and_no_other(backend, tmp_path, protocol):
    certificate, key = make_certificate(tmp_path)
    if protocol is Protocol.GRPC:
        security = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    else:
        security = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        security.load_cert_chain(certificate, key)
    with SERVERS[protocol](backend, security) as server:
        connect(config(server, protocol, tls_ca_file=certificate)).probability(mammogram(3, 4))
        with pytest.raises(InputError):
            connect(config(server, protocol, tls=True, retries=0))
        with pytest.raises(InputError):
            connect(config(server, protocol, retries=0))
    with pytest.raises(InputError, match="--tls_ca_file cannot be read") as raised:
        connect(config("localhost:1", protocol, tls_ca_file=tmp_path / "none.pem"))
    assert raised.value.where == str(tmp_path / "none.pem")


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"server": "http://host:8500"}, "--server: must be host:port"),
        ({"server": "host"}, "--server: must be host:port"),
        ({"model_name": ""}, "--model_name"),
        ({"version": 1, "label": "stable"}, "one of --version and --label"),
        ({"version": 0}, "--version: must be at least 1; found 0"),
        ({"protocol": Protocol.REST, "signature": "serving_default"}, "--signature: by rest must be predict_png"),
        ({"signature": "predict"}, "--signature: by grpc must be serving_default or predict_png or predict_tiles"),
        ({"in_flight": 0}, "--in_flight: must be at least 1"),
        ({"deadline_s": 0.0}, "--deadline_s: must be more than 0"),
        ({"deadline_s": float("nan")}, "--deadline_s: must be more than 0"),
        ({"retries": -1}, "--retries: must be 0 or more"),
    ],
)
def test_settings_outside_the_rules_are_refused_at_once(settings, rule):
    with pytest.raises(InputError, match=rule):
        ConnectionConfig(**{"server": "host:8500", "model_name": "calcseg", **settings})


def test_only_failures_that_may_pass_are_repeated():
    waits = []
    for trouble in Trouble:

        def fail(trouble=trouble):
            raise ServerError(trouble, "")

        waits.clear()
        with pytest.raises(ServerError):
            Retries(2, 1.0, waits.append).call(fail)
        assert len(waits) == (2 if trouble in (Trouble.ABSENT, Trouble.BUSY) else 0), trouble
