"""Version folders as TF Serving wants them: <output_dir>/<number>/saved_model.pb."""

import hashlib
import json
import pathlib
import re
import shutil

import keras

from calcseg_tf.checkpointing import disk_errors_told
from calcseg_tf.model_directory import CONFIG_FILE, ModelInfo, load_network, weights_sha256
from calcseg_tf.serving.contract import CHECKSUMS_FILE, EXTRA_DIR, METADATA_FILE
from calcseg_tf.serving.metadata import metadata_text
from calcseg_tf.serving.signatures import ServedModel, save_model
from calcseg_tf.serving.warm_up import write_warm_up
from calcseg_tf.termination import ended_by_sigterm
from data_prep.errors import InputError
from data_prep.flushing import flush_folder
from data_prep.only_run import only_run_in

__all__ = ["export_version"]

# A server takes folders with whole numbers as names for versions, and leaves these alone.
_PARTIAL = re.compile(r"\.\d+\.partial")


def export_version(model_dir: pathlib.Path, output_dir: pathlib.Path, version: int = 0) -> pathlib.Path:
    """Exports a model directory as a new version, whole or not at all.

    In `assets.extra/` go along the model's `config.json`, `metadata.json` with all that a client must know, and the
    requests by which a server warms up, and `SHA256SUMS` of all the files: TensorFlow loads some damaged models without
    a word, `sha256sum --check assets.extra/SHA256SUMS` in the version's folder tells.

    Args:
        model_dir: A trained or imported model.
        output_dir: The model's folder for the server.
        version: Positive number, or 0 for one more than the highest there is.

    Returns:
        The version's folder.

    Raises:
        InputError: The version exists, another run exports into the folder, or the model cannot be loaded.
        UnfinishedError: The disk is full, or SIGTERM came; nothing is left of the version.
    """
    if version < 0:
        raise InputError(f"--version must be 0 or more; found {version}")
    network, info = load_network(model_dir)
    with (
        ended_by_sigterm(),
        only_run_in(output_dir, "another run is exporting into this --output_dir: wait for it"),
        disk_errors_told(output_dir),
    ):
        _sweep(output_dir)
        taken = [int(path.name) for path in output_dir.iterdir() if path.name.isdecimal()]
        version = version or max(taken, default=0) + 1
        final = output_dir / str(version)
        if final.exists():
            raise InputError("this version exists; choose another --version", final)
        try:
            partial = output_dir / f".{version}.partial"
            _fill(partial, model_dir, network, info, output_dir.name)
            flush_folder(partial)
            partial.rename(final)
        finally:
            _sweep(output_dir)
    return final


def _sweep(output_dir: pathlib.Path) -> None:
    """Removes what killed processes, or this one, left of versions."""
    for path in output_dir.iterdir():
        if _PARTIAL.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _fill(partial: pathlib.Path, model_dir: pathlib.Path, network: keras.Model, info: ModelInfo, name: str) -> None:
    config = (model_dir / CONFIG_FILE).read_text(encoding="utf-8")
    metadata = metadata_text(json.loads(config), network, info, weights_sha256(model_dir))
    served = ServedModel(network, info.model, metadata)
    partial.mkdir()
    save_model(served, partial)
    extra = partial / EXTRA_DIR
    extra.mkdir()
    (extra / CONFIG_FILE).write_text(config, encoding="utf-8")
    (extra / METADATA_FILE).write_text(metadata, encoding="utf-8")
    write_warm_up(extra, served.tiles, name)
    (extra / CHECKSUMS_FILE).write_text(_checksums(partial), encoding="utf-8")


def _checksums(folder: pathlib.Path) -> str:
    """Returns a line a file, as `sha256sum` writes and reads it."""
    lines = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.relative_to(folder).as_posix()}\n")
    return "".join(lines)
