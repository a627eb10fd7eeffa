"""Predicts by TensorFlow Serving: python -m calcseg_tf.serving.client --server=host:8500 --input=... --output_dir=...

Writes what `calcseg_tf.predict` writes. Pixels alone leave this machine, no name and no header of a file.
"""

import pathlib
from typing import TYPE_CHECKING

from absl import flags

from calcseg_tf.result_flags import ResultFlags
from data_prep.command import DISCLAIMER, run, say

if TYPE_CHECKING:
    from calcseg_tf.serving.connection import ConnectionConfig

_RESULTS = ResultFlags()
_SERVER = flags.DEFINE_string("server", None, "host:port, usually 8500 for gRPC and 8501 for REST.", required=True)
_PROTOCOL = flags.DEFINE_enum("protocol", "grpc", ["grpc", "rest"], "How the server is asked.")
_MODEL_NAME = flags.DEFINE_string("model_name", "calcseg", "Name of the model in the server's config.")
_VERSION = flags.DEFINE_integer("version", None, "Number of the model's version; by default the newest one served.")
_LABEL = flags.DEFINE_string("label", None, "Label of the model's version, such as stable, instead of --version.")
_SIGNATURE = flags.DEFINE_enum(
    "signature",
    None,
    ["serving_default", "predict_png", "predict_tiles"],
    "What is asked: float32 images (the default by gRPC), 16-bit PNGs (by REST), or float32 tiles, for servers that "
    "batch, or that take no large messages. The results are the same.",
)
_IN_FLIGHT = flags.DEFINE_integer("in_flight", 2, "Images asked for at once, and tiles of all images together.")
_DEADLINE_S = flags.DEFINE_float("deadline_s", 600.0, "Seconds that a request may take.")
_RETRIES = flags.DEFINE_integer(
    "retries", 4, "Repetitions of a request while the server is unavailable or busy, at growing distances."
)
_TLS = flags.DEFINE_bool("tls", False, "Encrypt, and check the server's certificate.")
_TLS_CA_FILE = flags.DEFINE_string(
    "tls_ca_file", None, "PEM file of the authority that signed the server's certificate; sets --tls."
)


def main() -> None:
    """Predicts every input on the server; those that fail are named at the end."""
    connection = _connection()
    from calcseg_tf.bulk import InThreads, predict_bulk
    from calcseg_tf.bulk.description import describe_model
    from calcseg_tf.serving.connection import connect

    print(DISCLAIMER)
    with connect(connection) as model:
        info = model.served.info.at_threshold(_RESULTS.threshold)
        description = describe_model(info, weights_sha256=model.served.weights_sha256)
        runner = InThreads(model, info.operating_threshold, description, connection.in_flight)
        predict_bulk(_RESULTS.config, runner, say).tell(say)


def _connection() -> "ConnectionConfig":
    from calcseg_tf.serving.connection import ConnectionConfig, Protocol

    return ConnectionConfig(
        server=_SERVER.value,
        model_name=_MODEL_NAME.value,
        protocol=Protocol(_PROTOCOL.value),
        version=_VERSION.value,
        label=_LABEL.value,
        signature=_SIGNATURE.value,
        in_flight=_IN_FLIGHT.value,
        deadline_s=_DEADLINE_S.value,
        retries=_RETRIES.value,
        tls=_TLS.value,
        tls_ca_file=None if _TLS_CA_FILE.value is None else pathlib.Path(_TLS_CA_FILE.value),
    )


if __name__ == "__main__":
    run(main)
