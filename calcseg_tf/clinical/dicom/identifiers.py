"""UIDs of DICOM results: derived from what decides a result, so that the same input gives the same objects."""

import hashlib
import json
import uuid
from collections.abc import Mapping

import numpy as np

from calcseg_tf import __version__
from calcseg_tf.clinical.statistics import ImageStatistics

__all__ = ["derive_uid", "digest_result"]

_NAMESPACE = uuid.UUID("6f1d0c52-6c5e-4d0a-9a53-3a9f6f3b7c11")


def derive_uid(*names: str) -> str:
    """Returns the UID of a UUID (PS3.5 B.2, "2.25.") made from names by SHA-1 (RFC 9562, version 5)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, json.dumps(names)).int}"


def digest_result(
    sha256: str, codes: np.ndarray, statistics: ImageStatistics, model: Mapping[str, object], show_patient: bool
) -> str:
    """Digests all that decides a result; two results that differ never share a UID.

    Args:
        sha256: Of the source file.
        codes: uint16 [height, width], the probability map.
        statistics: Measured on the map.
        model: What made the prediction, ready for JSON.
        show_patient: Whether the identity of the patient is written.

    Returns:
        Hex.
    """
    settings = [
        sha256, list(codes.shape), statistics.threshold, statistics.pixel_spacing_mm, statistics.spacing_source.value,
        dict(model), show_patient, __version__,
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(codes.astype("<u2").tobytes())
    return digest.hexdigest()
