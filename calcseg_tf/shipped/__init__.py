"""The weights that come with the package: a model directory, made by `make weights` and described in MODEL_CARD.md."""

import pathlib

__all__ = ["MODEL_DIR"]

MODEL_DIR = pathlib.Path(__file__).parent
