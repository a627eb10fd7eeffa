"""What tells one model from another in the results that it made."""

import dataclasses
from typing import Any

from calcseg_tf.model_directory import ModelInfo
from calcseg_tf.models import model_name

__all__ = ["describe_model"]


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
