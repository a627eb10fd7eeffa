"""The values of a mask, uint8 [height, width], for writer, loss and scores; free of TensorFlow, unlike `schema`."""

__all__ = ["BACKGROUND", "CALCIFICATION", "IGNORE"]

BACKGROUND = 0
CALCIFICATION = 1
IGNORE = 255  # enters no loss and no score
