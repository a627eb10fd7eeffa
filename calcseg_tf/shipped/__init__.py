"""The weights that come with the package: a model directory, made by `make weights` and described in MODEL_CARD.md."""

import pathlib

__all__ = ["MODEL_DIR", "SHIPPED", "model_directory"]

MODEL_DIR = pathlib.Path(__file__).parent
SHIPPED = "shipped"  # what stands for them on a command line


def model_directory(name: str) -> pathlib.Path:
    """Returns the folder that a user means by a name: "shipped", or a path."""
    return MODEL_DIR if name == SHIPPED else pathlib.Path(name)
