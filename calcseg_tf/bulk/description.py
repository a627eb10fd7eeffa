"""What tells one model from another in the results that it made."""

import dataclasses
import hashlib
import pathlib
from typing import Any

from calcseg_tf.model_directory import WEIGHTS_FILE, ModelInfo
from calcseg_tf.models import model_name
from data_prep.errors import InputError

__all__ = ["describe_model", "weights_sha256"]


def describe_model(info: ModelInfo, **identity: object) -> dict[str, Any]:
    """Returns the "model" of statistics.json, ready for JSON.

    Args:
        info: What the model directory's `config.json` holds.
        identity: What tells these weights from others, such as their digest, or name and version on a server.
    """
    return {
        "name": model_name(info.model),
        "architecture": dataclasses.asdict(info.model),  # type: ignore[call-overload]
        **identity,
        "operating_threshold_rule": info.operating_threshold_rule,
        "training_data": dict(info.data),
    }


def weights_sha256(model_dir: pathlib.Path) -> str:
    """Returns the hex digest of a model directory's weights.

    Raises:
        InputError: They cannot be read.
    """
    path = model_dir / WEIGHTS_FILE
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path) from None
