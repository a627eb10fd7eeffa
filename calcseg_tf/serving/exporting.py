"""Version folders as TF Serving wants them: <output_dir>/<number>/saved_model.pb."""

import pathlib
import shutil

from calcseg_tf.model_directory import CONFIG_FILE, load_network
from calcseg_tf.serving.signatures import save_model
from data_prep.errors import InputError

__all__ = ["export_version"]


def export_version(model_dir: pathlib.Path, output_dir: pathlib.Path, version: int = 0) -> pathlib.Path:
    """Exports a model directory as a new version, whole or not at all.

    The model's `config.json` (threshold, normalisation, provenance) goes along in `assets.extra/`.

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
        save_model(network, info, partial)
        (partial / "assets.extra").mkdir()
        shutil.copyfile(model_dir / CONFIG_FILE, partial / "assets.extra" / CONFIG_FILE)
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final
