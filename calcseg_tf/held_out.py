"""The patients of the train split that training never sees: the test split is for the last word alone."""

import dataclasses
import hashlib

from data_prep.errors import InputError
from data_prep.manifest import Manifest

__all__ = ["KEPT_WEIGHTS", "ValidationConfig", "held_out_images"]

KEPT_WEIGHTS = ("best", "last")


@dataclasses.dataclass(frozen=True)
class ValidationConfig:
    """How a run is watched on patients that it does not learn from.

    Attributes:
        validation_fraction: Share of the train split's patients held out; 0: none, nothing is validated.
        validate_every_epochs: Epochs from one validation to the next.
        keep: Which weights become the model: "best" by validation, or "last". Without validation the last.
    """

    validation_fraction: float = 0.0
    validate_every_epochs: int = 1
    keep: str = "best"

    def __post_init__(self) -> None:
        if not 0 <= self.validation_fraction < 1:
            raise InputError(f"--validation_fraction must be 0 to below 1; found {self.validation_fraction}")
        if self.validate_every_epochs < 1:
            raise InputError(f"--validate_every_epochs must be at least 1; found {self.validate_every_epochs}")
        if self.keep not in KEPT_WEIGHTS:
            raise InputError(f"--keep must be one of {', '.join(KEPT_WEIGHTS)}; found {self.keep!r}")


def held_out_images(manifest: Manifest, fraction: float, seed: int) -> frozenset[str]:
    """Chooses whole patients of the train split: those of the lowest hash, so that each keeps its side as others come.

    An image whose patient is unknown counts as a patient of its own.

    Args:
        manifest: The records.
        fraction: Share of the patients, [0, 1); rounded, but at least one where it is not 0.
        seed: Another seed holds out others.

    Returns:
        The ids of their images.

    Raises:
        InputError: No patient would be left on one side.
    """
    if fraction == 0:
        return frozenset()
    patient_of = {
        image: f"patient {placement.patient}" if placement.patient else f"image {image}"
        for image, placement in manifest.split.items()
        if placement.split == "train"
    }
    patients = sorted(set(patient_of.values()), key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    count = max(1, round(fraction * len(patients)))
    if count >= len(patients):
        raise InputError(
            f"--validation_fraction must leave a patient to train on; {fraction:g} of {len(patients)} "
            f"in the train split would be {count}",
            manifest.directory,
        )
    chosen = set(patients[:count])
    return frozenset(image for image, patient in patient_of.items() if patient in chosen)
