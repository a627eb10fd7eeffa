"""What every test shares: quiet TensorFlow, and the reference data where it exists."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

_REFERENCE = pathlib.Path(__file__).parents[1].parent / "shared" / "reference"


@pytest.fixture(scope="session")
def reference_dir() -> pathlib.Path:
    """The paper's published weights and golden output, which carry no licence and so never ship with the project."""
    if not (_REFERENCE / "C__00900.weights").is_file():
        pytest.skip("the reference folder (published weights, golden output) is not here")
    return _REFERENCE
