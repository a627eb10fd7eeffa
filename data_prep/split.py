"""The split by patient: who is one patient, and which side each goes to."""

import re

__all__ = ["patient_key"]

_LATERALITY = r"LEFT|RIGHT|L|R"
_VIEW = r"CC|MLO|ML|LMO|LM|FB|SIO|ISO|XCCL|XCCM"
_SEPARATOR = r"[\s_.\-]+"

# One trailing token with what separates it from the rest; LCC and RMLO are laterality and view written together.
_TRAILING_TOKEN = re.compile(rf"{_SEPARATOR}(?:{_LATERALITY}|[LR]?(?:{_VIEW}))$", re.IGNORECASE)


def patient_key(patient_id: str) -> str:
    """Returns the part of a Patient ID (0010,0020) that names the patient, without trailing laterality and view.

    CBIS-DDSM gives each view its own Patient ID: "Mass-Test_P_00173_LEFT_CC" and "Mass-Test_P_00173_RIGHT_MLO" are both
    "Mass-Test_P_00173". Taking "12-L" and "12-R" for one patient is the safe mistake: it can only keep images together.

    Returns:
        The key; empty only where `patient_id` is blank.
    """
    key = patient_id.strip()
    while (match := _TRAILING_TOKEN.search(key)) and key[: match.start()].strip("_-. \t"):
        key = key[: match.start()]
    return key
