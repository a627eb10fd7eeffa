import csv
import io
import json
import re

import numpy as np
import pytest

from calcseg_tf.evaluation.comparison import (
    build_comparison,
    compare,
    comparison_csv,
    comparison_tables,
    errors_by_image,
    unique_names,
)
from data_prep.errors import InputError
from tests.fakes.evaluations import drawn_map, score_maps
from tests.fakes.mammograms import speckled_record


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    records = [speckled_record(number, 64) for number in range(4)]
    smeared = [drawn_map(record, 3.0, 0.1, number) for number, record in enumerate(records)]
    sharp = [drawn_map(record, 0.7, 0.1, number) for number, record in enumerate(records)]
    return [
        score_maps("smeared", records, smeared, folder / "0"),
        score_maps("sharp", records, sharp, folder / "1", 0.3),
    ]


def test_names_are_the_ends_of_the_paths_as_far_as_it_takes(tmp_path):
    assert unique_names([]) == []
    assert unique_names([tmp_path / "ours", tmp_path / "base"]) == ["ours", "base"]
    assert unique_names([tmp_path / "ours" / "model", tmp_path / "base" / "model"]) == ["ours-model", "base-model"]
    assert unique_names([tmp_path / "model" / "."]) == ["model"]


def test_a_model_is_not_compared_with_itself(tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    with pytest.raises(InputError, match="found it twice"):
        unique_names([tmp_path / "ours", tmp_path / "link"])


def test_every_two_models_are_compared_in_the_order_given(scored):
    [pair] = compare(scored)
    assert (pair.first, pair.second) == ("smeared", "sharp")
    for path, difference in pair.figures.items():
        one, two = (each.result.figures[path].value for each in scored)
        assert difference.difference == (None if one is None or two is None else one - two)
    assert compare(scored[:1]) == []


def test_the_json_holds_every_figure_of_every_model_with_a_definition(scored):
    document = build_comparison(scored, compare(scored), {"data_set": "fake"})
    again = json.loads(json.dumps(document, allow_nan=False))
    assert list(again["models"]) == ["smeared", "sharp"]
    for each in scored:
        told = again["models"][each.name]
        assert told["operating_threshold"] == each.result.threshold
        assert told["operating_threshold_rule"] == f"the rule of {each.name}"
        assert told["figures"].keys() == each.result.figures.keys()
        for path, figure in told["figures"].items():
            assert figure["value"] == each.result.figures[path].value
            assert (figure["value"] is None) <= bool(figure["reason"])
            assert again["definitions"][path].endswith("."), path
    assert [(pair["first"], pair["second"]) for pair in again["differences"]] == [("smeared", "sharp")]


def test_the_csv_can_be_read_back_to_the_same_numbers(scored):
    rows = list(csv.DictReader(io.StringIO(comparison_csv(scored, compare(scored)))))
    [auc] = [row for row in rows if row["figure"] == "pixel.roc_auc" and row["model"] == "sharp"]
    assert float(auc["value"]) == scored[1].result.roc_auc.value
    assert auc["compared_with"] == ""
    pairs = {(row["model"], row["compared_with"]) for row in rows if row["compared_with"]}
    assert pairs == {("smeared", "sharp")}
    figures = scored[0].result.figures
    assert len(rows) == 3 * len(figures)
    assert all(row["value"] or row["reason"] for row in rows)


def test_the_paper_s_table_is_printed_with_intervals_thresholds_and_rules(scored):
    text = comparison_tables("fake", scored, compare(scored))
    for each in scored:
        auc, precision = each.result.roc_auc.value, each.result.average_precision.value
        row = rf"fake +{each.name} +{auc:.4f} \[[\d., ]+\] +{precision:.4f} \[[\d., ]+\] +{each.result.threshold:.4f}"
        assert re.search(row, text), text
        assert f"{each.name}: threshold {each.result.threshold:.4f}, the rule of {each.name}" in text
    assert "zamir: 1 / mammogram" in text
    assert re.search(r"smeared less sharp +\[95%\] +p\n", text)
    assert max(map(len, text.splitlines())) < 160


def test_errors_are_misses_and_false_alarms_at_the_threshold(scored):
    result = scored[0].result
    errors = errors_by_image(result)
    for image in result.images:
        missed = np.count_nonzero(image.calcifications.detection_code < result.code)
        alarms = np.count_nonzero(image.candidates.kind == 1)
        assert errors[image.case.image_id] == missed + alarms
