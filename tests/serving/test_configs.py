"""configs/serving, parsed as the server parses it.

Two protos are not in tensorflow-serving-api: those of batching and monitoring are built here, field by field, after
session_bundle_config.proto (servables/tensorflow) and monitoring_config.proto (config) of tensorflow_serving 2.15.
"""

import re
import subprocess

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

from tests.fakes.commands import ROOT
from tests.fakes.serving import Backend, rest_server

FOLDER = ROOT / "configs" / "serving"
FIELD = descriptor_pb2.FieldDescriptorProto


def message(name, fields, dependencies=()):
    """Makes a message class from (name, number, type, repeated); a type is a number or another message's name."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="tensorflow.serving", syntax="proto3")
    file.dependency.extend(dependencies)
    proto = file.message_type.add(name=name)
    for field_name, number, kind, repeated in fields:
        field = proto.field.add(name=field_name, number=number, label=3 if repeated else 1)
        if isinstance(kind, str):
            field.type, field.type_name = FIELD.TYPE_MESSAGE, kind
        else:
            field.type = kind
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.serving.{name}"))


@pytest.fixture(scope="module")
def batching():
    int64 = f".{wrappers_pb2.Int64Value.DESCRIPTOR.full_name}"
    names = ["max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"]
    fields = [(name, number, int64, False) for number, name in enumerate(names, 1)]
    fields.append(("allowed_batch_sizes", 6, FIELD.TYPE_INT64, True))
    fields.append(("pad_variable_length_inputs", 7, FIELD.TYPE_BOOL, False))
    return message("BatchingParameters", fields, ["google/protobuf/wrappers.proto"])


def parse(name, kind):
    return text_format.Parse((FOLDER / name).read_text(), kind())


def test_models_name_the_client_s_model_and_label_only_versions_that_are_served():
    (config,) = parse("models.config", model_server_config_pb2.ModelServerConfig).model_config_list.config
    client = (ROOT / "calcseg_tf" / "serving" / "client.py").read_text()
    assert f'"model_name", "{config.name}"' in client
    assert config.model_platform == "tensorflow"
    assert config.base_path == f"/models/{config.name}"
    assert set(config.version_labels.values()) <= set(config.model_version_policy.specific.versions)
    assert set(config.version_labels) == {"stable"}


def test_batches_are_of_allowed_sizes_and_never_padded(batching):
    found = parse("batching.config", batching)
    sizes = list(found.allowed_batch_sizes)
    assert sizes == sorted(set(sizes))  # the server's rules: increasing, and the last one is the largest batch
    assert sizes[-1] == found.max_batch_size.value == 8
    assert not found.pad_variable_length_inputs
    assert found.num_batch_threads.value >= 1
    assert found.max_enqueued_batches.value == 64
    assert found.batch_timeout_micros.value == 2000


def test_metrics_have_the_usual_path():
    prometheus = message("PrometheusConfig", [("enable", 1, FIELD.TYPE_BOOL, False), ("path", 2, 9, False)])
    name = f".{prometheus.DESCRIPTOR.full_name}"
    monitoring = message("MonitoringConfig", [("prometheus_config", 1, name, False)], ["PrometheusConfig.proto"])
    found = parse("monitoring.config", monitoring).prometheus_config
    assert found.enable
    assert found.path == "/monitoring/prometheus/metrics"


def test_a_wrong_field_would_be_found(batching):
    with pytest.raises(text_format.ParseError):
        text_format.Parse("max_batchsize { value: 8 }", batching())


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())


def test_the_compose_file_starts_the_pinned_server_with_these_files(compose):
    (pin,) = re.findall(r"tensorflow-serving-api==(.*)", (ROOT / "requirements.txt").read_text())
    images = {name: service["image"] for name, service in compose["services"].items()}
    assert images == {"cpu": f"tensorflow/serving:{pin}", "gpu": f"tensorflow/serving:{pin}-gpu"}
    named = set()
    for name, service in compose["services"].items():
        assert service["profiles"] == [name]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert "--rest_api_timeout_in_ms=600000" in service["command"]
        named |= {
            value.removeprefix("/config/")
            for value in (argument.split("=")[1] for argument in service["command"])
            if value.startswith("/config/")
        }
        assert ("--enable_batching=true" in service["command"]) == (name == "gpu")
        assert (service.get("environment") == {"NVIDIA_TF32_OVERRIDE": "0"}) == (name == "gpu")
    assert named == {path.name for path in FOLDER.glob("*.config")}


def test_the_health_check_tells_an_available_version(compose):
    *_, script = compose["services"]["cpu"]["healthcheck"]["test"]
    for state, healthy in (("AVAILABLE", True), ("LOADING", False)):
        with rest_server(Backend({}, versions={1: state})) as server:
            command = script.replace("/8501", f"/{server.split(':')[1]}")
            ended = subprocess.run(["bash", "-c", command], timeout=30, check=False)
        assert (ended.returncode == 0) == healthy
