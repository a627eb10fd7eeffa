"""The signs of what became of a calcification, told apart by shape and letter as well as by colour."""

import dataclasses

from calcseg_tf.clinical.follow_up import Status

__all__ = ["MARKS", "Mark"]


@dataclasses.dataclass(frozen=True)
class Mark:
    """How pictures show a status.

    Attributes:
        shape: As the page's script knows it.
        marker: The same for matplotlib.
        colour: Of the set of Okabe and Ito, which keeps apart without full colour vision.
        letter: Beside it in the page.
    """

    shape: str
    marker: str
    colour: str
    letter: str


MARKS = {
    Status.PERSISTED: Mark("circle", "o", "#56B4E9", "P"),
    Status.GROWN: Mark("triangle", "^", "#F0E442", "G"),
    Status.NEW: Mark("diamond", "D", "#D55E00", "N"),
    Status.VANISHED: Mark("cross", "X", "#CC79A7", "V"),
    Status.UNCOVERED: Mark("square", "s", "#BBBBBB", "U"),
}
