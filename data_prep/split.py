"""The split: who is one patient, and which side each goes to."""

import enum
import hashlib
import math
import re
from collections.abc import Iterable, Mapping

from data_prep.errors import InputError
from data_prep.schema import SPLITS

__all__ = ["SplitBy", "assign_splits", "group_patients", "patient_key", "rank"]

_TRAIN, _TEST = SPLITS

_LATERALITY = r"LEFT|RIGHT|L|R"
_VIEW = r"CC|MLO|ML|LMO|LM|FB|SIO|ISO|XCCL|XCCM"
_SEPARATORS = r"\s_.\-"

# One trailing token with what separates it from the rest; LCC and RMLO are laterality and view written together.
_TRAILING_TOKEN = re.compile(rf"[{_SEPARATORS}]+(?:{_LATERALITY}|[LR]?(?:{_VIEW}))$", re.IGNORECASE)
# Of CBIS-DDSM: a woman may be in several of its four parts.
_PART = re.compile(r"^(?:Calc|Mass)-(?:Training|Test)_(?=P_\d+)", re.IGNORECASE)
_NOT_SEPARATOR = re.compile(rf"[^{_SEPARATORS}]")


class SplitBy(enum.Enum):
    """What stays whole when the data set is split; the value is what `--split_by` takes."""

    PATIENT = "patient"
    IMAGE = "image"

    @property
    def rule(self) -> str:
        """One sentence for the manifest."""
        if self is SplitBy.PATIENT:
            return "All images of a patient are on one side; patients are drawn at random from the seed."
        return (
            "Images are drawn at random from the seed, as in the paper: a patient may have images on both sides, so "
            "scores on the test split are optimistic."
        )


def patient_key(patient_id: str) -> str:
    """Returns the part of a Patient ID (0010,0020) that names the patient, without trailing laterality and view.

    CBIS-DDSM gives each view and each of its parts an own Patient ID: "Mass-Test_P_00173_LEFT_CC" and
    "Calc-Test_P_00173_RIGHT_MLO" are both "P_00173". Taking "12-L" and "12-R" for one patient is the safe mistake: it
    can only keep images together.

    Returns:
        The key; empty only where `patient_id` is blank.
    """
    key = _PART.sub("", patient_id.strip())
    while (match := _TRAILING_TOKEN.search(key)) and _NOT_SEPARATOR.search(key[: match.start()]):
        key = key[: match.start()]
    return key


def group_patients(names: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Joins images that share any name of a patient or of a study, directly or through others.

    Args:
        names: Image key -> every name that its patient goes by; at least one each.

    Returns:
        Image key -> the least name of its group, which no image of another group has.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for shared in names.values():
        first, *others = sorted(root(name) for name in shared)
        for other in others:
            # The lesser root stays one, so that a root is the least name of its group whatever the order.
            lesser, greater = sorted((root(first), root(other)))
            parent[greater] = lesser
    return {image: root(next(iter(shared))) for image, shared in names.items()}


def rank(key: str, seed: int) -> str:
    """Returns where a key stands in the random order of a seed: independent of the other keys and of their order."""
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()


def assign_splits(
    keys: Iterable[str], train_fraction: float, seed: int, named: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Assigns patients or images to "train" and "test".

    Those with a named side go there; of the others, the nearest whole number to `train_fraction` goes to train. Each
    side gets at least one. The result depends on the set of keys, and of the named, alone.

    Args:
        keys: The patients or images.
        train_fraction: Between 0 and 1.
        seed: Of the draw.
        named: Key -> side, for those whose side is not drawn.

    Raises:
        InputError: Fewer than two keys, or all named to one side.
    """
    named = named or {}
    ordered = sorted(set(keys), key=lambda key: (rank(key, seed), key))
    if len(ordered) < 2:
        raise InputError(f"a split needs at least 2 to choose from; found {len(ordered)}")
    drawn = [key for key in ordered if key not in named]
    sides = {named[key] for key in ordered if key in named}
    if not drawn and len(sides) < 2:
        raise InputError(f"a split needs both sides; every side is named, and all are {sides.pop()}")
    least, most = int(_TRAIN not in sides), len(drawn) - int(_TEST not in sides)
    train = min(max(math.floor(train_fraction * len(drawn) + 0.5), least), most)
    chosen = {key: _TRAIN if index < train else _TEST for index, key in enumerate(drawn)}
    return {key: named.get(key) or chosen[key] for key in ordered}
