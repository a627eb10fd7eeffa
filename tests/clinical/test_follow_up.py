import csv
import json

import numpy as np
import pytest

from calcseg_tf.clinical import Region
from calcseg_tf.clinical.follow_up import Status, compare_exams
from calcseg_tf.clinical.follow_up_exams import measure_exam
from calcseg_tf.clinical.follow_up_figure import table_lines
from calcseg_tf.clinical.follow_up_results import comparison_content, write_comparison
from data_prep.command import DISCLAIMER
from data_prep.errors import InputError
from data_prep.mammogram import Mammogram, SpacingSource
from data_prep.only_run import only_run_in
from tests.clinical.drawing import blocks
from tests.clinical.test_shape_statistics import EXAM_2017, EXAM_2018

_PLACES = [(10, 10), (12, 60), (30, 25), (45, 70), (70, 15), (80, 50), (55, 40)]


def _exam(probability, spacing=(0.1, 0.1), region=None):
    source = SpacingSource.PIXEL_SPACING if spacing else SpacingSource.UNKNOWN
    pixels = (1000 + 2000 * probability).astype(np.uint16)
    mammogram = Mammogram(pixels, 12, pixel_spacing_mm=spacing, spacing_source=source)
    height, width = probability.shape
    return measure_exam(mammogram, probability, 0.5, region or Region.rectangle(0, 0, height - 1, width - 1))


def _dots(places, sides=None, shape=(100, 100)):
    """Squares of 3 px, or of the side told, with their upper left corner in these places."""
    drawn = np.zeros(shape, np.float32)
    for index, (row, column) in enumerate(places):
        side = (sides or {}).get(index, 3)
        drawn[row : row + side, column : column + side] = 0.9
    return drawn


def _shifted(places, by=(7, 5)):
    return [(row + by[0], column + by[1]) for row, column in places]


def test_the_table_of_the_papers_fig_7_with_differences():
    found = compare_exams(_exam(blocks(EXAM_2017)), _exam(blocks(EXAM_2018)))
    assert table_lines(found) == [
        "                      prior  current  difference",
        "calcifications            7       11          +4",
        "mean area, mm2       0.5700   0.5900     +0.0200",
        "STD of area, mm2     0.2339   0.6071     +0.3732",  # the paper: 0.23 and 0.61
    ]


def test_each_exam_is_measured_by_its_own_spacing():
    fine = np.kron(_dots(_PLACES), np.ones((2, 4), np.float32))
    found = compare_exams(_exam(_dots(_PLACES)), _exam(fine, (0.05, 0.025)))
    assert [each.difference for each in found.table[:3]] == pytest.approx([0, 0, 0])
    assert found.transform.scale == pytest.approx(1.0)
    assert found.counts() == {"persisted": 7, "grown": 0, "new": 0, "vanished": 0, "uncovered": 0}


def test_every_calcification_has_what_became_of_it():
    prior = _exam(_dots(_PLACES))
    # The second has vanished, the fourth has grown from 3 x 3 to 6 x 6, one is new.
    places = [*_shifted(_PLACES[:1]), *_shifted(_PLACES[2:]), (20, 90)]
    found = compare_exams(prior, _exam(_dots(places, {2: 6})))
    assert found.counts() == {"persisted": 5, "grown": 1, "new": 1, "vanished": 1, "uncovered": 0}
    by_status = {change.status: change for change in found.changes}
    gone, new, grown = by_status[Status.VANISHED], by_status[Status.NEW], by_status[Status.GROWN]
    assert (gone.prior.row, gone.prior.column, gone.current) == (13, 61, None)
    assert gone.place == pytest.approx((20, 66), abs=1.0)  # what has grown moves its centroid
    assert (new.prior, new.current.row, new.current.column) == (None, 21, 91)
    assert (grown.prior.area_px, grown.current.area_px, grown.area_ratio) == (9, 36, pytest.approx(4))
    assert sum(change.prior is not None for change in found.changes) == 7
    assert sum(change.current is not None for change in found.changes) == 7


def test_a_pixel_more_is_no_growth():
    # 5 px to 8 px: 1.6 times the area, 0.67 px in diameter.
    prior, current = _dots(_PLACES), _dots(_PLACES)
    prior[55:58, 40:43] = current[55:58, 40:43] = 0
    prior[55, 40:45] = 0.9
    current[55:57, 40:44] = 0.9
    found = compare_exams(_exam(prior), _exam(current))
    assert found.counts()["grown"] == 0
    assert max(change.area_ratio for change in found.changes) == pytest.approx(1.6)


def test_what_lies_outside_the_other_region_is_neither_new_nor_vanished():
    current = _exam(_dots(_shifted(_PLACES)), region=Region.rectangle(0, 0, 80, 99))
    found = compare_exams(_exam(_dots(_PLACES)), current)
    assert found.counts() == {"persisted": 6, "grown": 0, "new": 0, "vanished": 0, "uncovered": 1}


def test_what_lies_outside_the_other_image_is_uncovered_though_the_region_reaches_there():
    places = [(row, column) for row, column in _PLACES if row < 70]
    cut = _dots(_PLACES)[:70]
    found = compare_exams(_exam(_dots(_PLACES)), _exam(cut, region=Region.rectangle(0, 0, 500, 500)))
    assert found.counts()["vanished"] == 0
    assert found.counts()["uncovered"] == len(_PLACES) - len(places)


def test_without_spacing_it_is_compared_in_pixels():
    found = compare_exams(_exam(_dots(_PLACES), None), _exam(_dots(_shifted(_PLACES)), None))
    assert (found.unit, found.counts()["persisted"]) == ("px", 7)
    assert found.transform.offset == pytest.approx((7, 5), abs=1e-6)
    content = comparison_content(found)
    assert content["table"]["mean_area_px"]["prior"] == 9
    assert content["undefined"]["table.mean_area_mm2.prior"] == "the pixel spacing is unknown"


def test_nothing_in_the_region_is_null_with_its_reason():
    prior = _exam(_dots(_PLACES), region=Region.rectangle(90, 90, 99, 99))
    content = comparison_content(compare_exams(prior, _exam(_dots(_PLACES))))
    assert content["table"]["count"] == {"prior": 0, "current": 7, "difference": 7}
    assert content["table"]["mean_area_mm2"] == {"prior": None, "current": pytest.approx(0.09), "difference": None}
    assert "nothing is found in the region" in content["undefined"]["table.mean_area_mm2.prior"]
    assert (content["alignment"], content["counts"], content["calcifications"]) == (None, None, None)
    assert "needs 4 calcifications" in content["undefined"]["alignment"]


@pytest.mark.parametrize("aligned", [True, False])
def test_the_folder_holds_json_csv_and_picture(tmp_path, aligned):
    places = _shifted(_PLACES) if aligned else [(5, 5)]
    found = compare_exams(_exam(_dots(_PLACES)), _exam(_dots(places)))
    for _ in range(2):  # an older comparison is replaced
        write_comparison(tmp_path / "out", found, {"name": "fcn"}, ["the view differs"], ["a note"])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert content["disclaimer"] == DISCLAIMER
    assert (content["compared_anyway"], content["notes"]) == (["the view differs"], ["a note"])
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert content["files"] == {name: sizes[name] for name in ("comparison.csv", "comparison.html", "comparison.png")}
    with (tmp_path / "out" / "comparison.csv").open() as file:
        table = csv.DictReader(file)
        rows = list(table)
    assert table.fieldnames[-1] == "research_use_only_not_for_diagnosis"
    assert [row["status"] for row in rows] == (["persisted"] * 7 if aligned else [])


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    found = compare_exams(_exam(_dots(_PLACES)), _exam(_dots(_PLACES)))
    with pytest.raises(InputError, match=r"without comparison\.json"):
        write_comparison(tmp_path, found, {})
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_killed_runs_left_goes_and_what_another_run_holds_stays(tmp_path):
    left = [tmp_path / f".out.{number:012x}.partial{old}" for number in (1, 2, 3) for old in ("", ".old")]
    others = [tmp_path / f".other.{1:012x}.partial", tmp_path / ".out.partial"]
    for path in (*left, *others):
        path.mkdir()
        (path / "comparison.png").write_bytes(b"half")
    found = compare_exams(_exam(_dots(_PLACES)), _exam(_dots(_PLACES)))
    with only_run_in(left[2], "held"):
        write_comparison(tmp_path / "out", found, {})
    assert {path.name for path in tmp_path.iterdir()} == {"out", left[2].name, *(path.name for path in others)}
    write_comparison(tmp_path / "out", found, {})
    assert {path.name for path in tmp_path.iterdir()} == {"out", *(path.name for path in others)}
