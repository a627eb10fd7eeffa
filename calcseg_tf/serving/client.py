"""Predicts by TensorFlow Serving: python -m calcseg_tf.serving.client --server=host:8500 --input=... --output_dir=...

Writes what `calcseg_tf.predict` writes. Pixels alone leave this machine, no name and no header of a file.
"""

import pathlib
from typing import TYPE_CHECKING

from absl import flags

from data_prep.command import DISCLAIMER, run

if TYPE_CHECKING:
    from calcseg_tf.serving.connection import ConnectionConfig

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
_INPUT = flags.DEFINE_string(
    "input",
    None,
    "DICOM file, 16-bit PNG file, a folder of them, or @FILE: a text file of paths, one a line, relative to it.",
    required=True,
)
_RECURSIVE = flags.DEFINE_bool("recursive", False, "Search the folders in the --input folder too.")
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Receives one folder an image, at the image's place below --input.", required=True
)
_THRESHOLD = flags.DEFINE_float("threshold", None, "Overrides the model's operating threshold, in (0, 1).")
_IN_FLIGHT = flags.DEFINE_integer("in_flight", 2, "Images asked for at once, and tiles of all images together.")
_DEADLINE_S = flags.DEFINE_float("deadline_s", 600.0, "Seconds that a request may take.")
_RETRIES = flags.DEFINE_integer(
    "retries", 4, "Repetitions of a request while the server is unavailable or busy, at growing distances."
)
_TLS = flags.DEFINE_bool("tls", False, "Encrypt, and check the server's certificate.")
_TLS_CA_FILE = flags.DEFINE_string(
    "tls_ca_file", None, "PEM file of the authority that signed the server's certificate; sets --tls."
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite",
    False,
    "Replace results of another image, model or setting, which are refused otherwise. Those of the same are kept.",
)
_VERBOSE = flags.DEFINE_bool("verbose", False, "Tell of each image; without, only where there are at most 20.")

_FOR_PROCESSING = flags.DEFINE_bool(
    "for_processing", False, "Take DICOM mammograms for processing too; their values are not those of presentation."
)
_VOI_LUT = flags.DEFINE_bool(
    "voi_lut", False, "Apply the first VOI LUT or window of a DICOM file, as `data_prep.convert --voi_lut` does."
)


def main() -> None:
    """Predicts every input on the server; those that fail are named at the end."""
    connection = _connection()
    from calcseg_tf.bulk import BulkConfig, InThreads, predict_bulk
    from calcseg_tf.bulk.description import describe_model
    from calcseg_tf.serving.connection import connect
    from data_prep.dicom.header import ReadOptions

    config = BulkConfig(
        input=_INPUT.value,
        output_dir=pathlib.Path(_OUTPUT_DIR.value),
        recursive=_RECURSIVE.value,
        overwrite=_OVERWRITE.value,
        verbose=_VERBOSE.value,
        read_options=ReadOptions(_FOR_PROCESSING.value, _VOI_LUT.value),
    )
    print(DISCLAIMER)
    with connect(connection) as model:
        info = model.served.info.at_threshold(_THRESHOLD.value)
        description = describe_model(info, weights_sha256=model.served.weights_sha256)
        runner = InThreads(model, info.operating_threshold, description, connection.in_flight)
        predict_bulk(config, runner, lambda line: print(line, flush=True)).tell(print)


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
