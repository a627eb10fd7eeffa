"""The second look at the records: pictures of the chosen mammograms and of single finds, with their pixels."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from calcseg_tf.drawing import figure_bytes, plain_text
from calcseg_tf.evaluation.crops import CROP_PX, breast_window, draw_crop
from calcseg_tf.evaluation.examples import Prediction, draw_example
from calcseg_tf.evaluation.finds import Find
from calcseg_tf.evaluation.maps import Maps
from data_prep.command import DISCLAIMER
from data_prep.schema import Record

__all__ = ["Example", "Look", "Pictures", "draw_pictures", "draw_sheet", "wanted_images"]

_SHEET_COLUMNS = 4
_CELL_IN, _TITLE_IN = 2.1, 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
    """What of one model is looked at.

    Attributes:
        name: Of the model.
        maps: Its probability maps.
        threshold: Lowest code that it counts as calcification.
        finds: Kinds of finds by name, each in the order in which they are shown.
    """

    name: str
    maps: Maps
    threshold: int
    finds: Mapping[str, Sequence[Find]]


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """One mammogram with every model's map.

    Attributes:
        image_id: Of the mammogram.
        png: The figure.
        pdf: The same.
    """

    image_id: str
    png: bytes
    pdf: bytes


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
    """What was drawn.

    Attributes:
        examples: In the order in which they were asked for.
        crops: RGB, uint8 [size, size, 3], for each model and kind one for each find.
    """

    examples: tuple[Example, ...]
    crops: Mapping[tuple[str, str], tuple[np.ndarray, ...]]


def wanted_images(looks: Sequence[Look], examples: Mapping[str, str]) -> frozenset[str]:
    """Returns the ids of the mammograms whose pixels `draw_pictures` needs."""
    found = (find.image_id for look in looks for finds in look.finds.values() for find in finds)
    return frozenset((*examples, *found))


def draw_pictures(records: Iterable[Record], looks: Sequence[Look], examples: Mapping[str, str]) -> Pictures:
    """Draws the chosen mammograms, one in memory at a time.

    Args:
        records: Those of `wanted_images`, in any order.
        looks: One a model.
        examples: The mammograms to draw whole, by id, in order, with the title of each.
    """
    crops: dict[tuple[str, str, int], np.ndarray] = {}
    drawn: dict[str, Example] = {}
    for record in records:
        intensity = record.intensity()
        window = breast_window(intensity)
        predictions = []
        for look in looks:
            prediction = Prediction(look.name, look.maps.codes(record.image_id, record.mask.shape), look.threshold)
            predictions.append(prediction)
            for kind, finds in look.finds.items():
                for number, find in enumerate(finds):
                    if find.image_id == record.image_id:
                        crops[look.name, kind, number] = draw_crop(
                            intensity, record.mask, prediction.predicted, (find.row, find.column), window
                        )
        if record.image_id in examples:
            drawn[record.image_id] = Example(
                record.image_id, *draw_example(record, predictions, examples[record.image_id])
            )
    return Pictures(
        examples=tuple(drawn[image_id] for image_id in examples),
        crops={
            (look.name, kind): tuple(crops[look.name, kind, number] for number in range(len(finds)))
            for look in looks
            for kind, finds in look.finds.items()
        },
    )


def draw_sheet(finds: Sequence[Find], crops: Sequence[np.ndarray], title: str) -> bytes:
    """Draws crops side by side, each with its image, place and probability.

    Args:
        finds: What they show; may be empty.
        crops: RGB, one a find.
        title: Above all.

    Returns:
        The PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = max(1, -(-len(finds) // _SHEET_COLUMNS))
    size = (_SHEET_COLUMNS * _CELL_IN, rows * (_CELL_IN + _TITLE_IN) + 1.0)
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(plain_text(title, 90), fontsize=11, weight="bold")
    figure.supxlabel(
        f"{CROP_PX} x {CROP_PX} px each. Blue: annotation, orange: prediction.   {DISCLAIMER}", fontsize=7, color="0.4"
    )
    for number, cell in enumerate(figure.subplots(rows, _SHEET_COLUMNS, squeeze=False).flat):
        cell.set_axis_off()
        if number < len(finds):
            find = finds[number]
            cell.imshow(crops[number], interpolation="nearest")
            place = f"row {find.row:.0f}, column {find.column:.0f}\np {find.probability:.4f}, {find.area_px} px"
            cell.set_title(f"{plain_text(find.image_id, 28)}\n{place}", fontsize=7.5)
    if not finds:
        figure.text(0.5, 0.5, "none", ha="center", color="0.3")
    return figure_bytes(figure, "png", 150)
