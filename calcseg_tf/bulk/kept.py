"""Results that are there: which of them the same run would make again, and which were made otherwise."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from calcseg_tf.clinical.results import (
    CALCIFICATIONS_FILE,
    OVERLAY_FILE,
    PROBABILITY_FILE,
    REPORT_FILE,
    STATISTICS_FILE,
)
from calcseg_tf.prediction import ImageJob, Outcome, Settings, Status, source_record

__all__ = ["MadeOtherwise", "look_up"]

_FILES = {PROBABILITY_FILE, OVERLAY_FILE, REPORT_FILE, CALCIFICATIONS_FILE}
_MOST_CHARACTERS = 60


@dataclasses.dataclass(frozen=True)
class MadeOtherwise:
    """A whole result that another run made.

    Attributes:
        job: Whose place it takes.
        differences: How the two runs differ, each a short text.
    """

    job: ImageJob
    differences: tuple[str, ...]


def look_up(job: ImageJob, settings: Settings) -> Outcome | MadeOtherwise | None:
    """Looks for the result of an image; reads every byte of the image, by whose digest results are told apart.

    Returns:
        The outcome KEPT where the result is whole and of the same image and settings; `MadeOtherwise` where it is
        whole, but of others; None where it is absent or damaged.
    """
    found = _read(job.result)
    if found is None:
        return None
    differences = _differences("", found, {"threshold": settings.threshold, "model": dict(settings.model)})
    try:
        with job.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None  # predicting it says what is wrong with the file
    source, now = found.get("source"), source_record(digest, settings)
    if not isinstance(source, dict) or source.get("sha256") != digest:
        differences.append("it was made from another file")
    else:
        differences += _differences("", source, now)
    if differences:
        return MadeOtherwise(job, tuple(differences))
    notes = (source or {}).get("notes", ())  # none in a result of an earlier version
    megapixels = found["height"] * found["width"] / 1e6
    return Outcome(job, Status.KEPT, "", found["count"], megapixels, notes=tuple(map(str, notes)))


def _read(result: pathlib.Path) -> dict[str, Any] | None:
    """Returns the statistics of a result that is whole: every file there, with the size that it was written with."""
    try:
        found = json.loads((result / STATISTICS_FILE).read_text(encoding="utf-8"))
        if "files" not in found:
            return {**found, "source": None}  # of an earlier version, which wrote no sizes
        whole = found["files"].keys() >= _FILES and all(
            (result / name).stat().st_size == size for name, size in found["files"].items()
        )
        [found[name] / 1 for name in ("count", "height", "width")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    return found if whole else None


def _differences(prefix: str, found: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Tells what is not as it was; keys that only the older result has say nothing of this run."""
    told = []
    for name, value in json.loads(json.dumps(now)).items():
        was = found.get(name)
        if isinstance(value, dict) and isinstance(was, dict):
            told += _differences(f"{prefix}{name}.", was, value)
        elif was != value:
            told.append(f"{prefix}{name} was {_short(was)}, now {_short(value)}")
    return told


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
