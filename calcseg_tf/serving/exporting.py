"""Version folders as TF Serving wants them: <output_dir>/<number>/saved_model.pb."""

import json
import pathlib
import shutil

from calcseg_tf.bulk.description import weights_sha256
from calcseg_tf.model_directory import CONFIG_FILE, load_network
from calcseg_tf.serving.contract import EXTRA_DIR, METADATA_FILE
from calcseg_tf.serving.metadata import metadata_text
from calcseg_tf.serving.signatures import ServedModel, save_model
from calcseg_tf.serving.warm_up import write_warm_up
from data_prep.errors import InputError

__all__ = ["export_version"]


def export_version(model_dir: pathlib.Path, output_dir: pathlib.Path, version: int = 0) -> pathlib.Path:
    """Exports a model directory as a new version, whole or not at all.

    In `assets.extra/` go along the model's `config.json`, `metadata.json` with all that a client must know, and the
    requests by which a server warms up.

    Args:
        model_dir: A trained or imported model.
        output_dir: The model's folder for the server.
        version: Positive number, or 0 for one more than the highest there is.

    Returns:
        The version's folder.

    Raises:
        InputError: The version exists, or the model cannot be loaded.
    """
    if version < 0:
        raise InputError(f"--version must be 0 or more; found {version}")
    network, info = load_network(model_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    taken = [int(path.name) for path in output_dir.iterdir() if path.name.isdecimal()]
    version = version or max(taken, default=0) + 1
    final = output_dir / str(version)
    if final.exists():
        raise InputError("this version exists; choose another --version", final)
    # A server takes folders with whole numbers as names for versions, and leaves this one alone.
    partial = output_dir / f".{version}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        config = (model_dir / CONFIG_FILE).read_text(encoding="utf-8")
        metadata = metadata_text(json.loads(config), network, info, weights_sha256(model_dir))
        served = ServedModel(network, info.model, metadata)
        save_model(served, partial)
        extra = partial / EXTRA_DIR
        extra.mkdir()
        (extra / CONFIG_FILE).write_text(config, encoding="utf-8")
        (extra / METADATA_FILE).write_text(metadata, encoding="utf-8")
        write_warm_up(extra, served.tiles, output_dir.name)
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final
