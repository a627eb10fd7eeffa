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


# The longest first: a file that began last would keep one process at work while the others had ended.
_LONG = (
    "test_training", "test_evaluating", "test_initial_weights", "test_commands", "test_checkpointing", "test_engine",
    "test_tiling", "test_client", "test_report", "test_stops", "test_in_browser", "test_fuzz", "test_shipped",
    "test_resume", "test_remote_model", "test_export", "test_banded", "test_privacy", "test_faults", "test_compare",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders files by how long they take."""
    rank = {name: number for number, name in enumerate(_LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))
