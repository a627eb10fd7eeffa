import csv
import json

import pytest

from data_prep.errors import InputError
from tests.fakes.records import fake_record, write_fake_records
from tools.ablation import ROWS, Budget, Row, run_row, training_seconds, write_recipe
from tools.ablation_report import LOSSES, NETWORKS, draw, froc_points, markdown_table, write_csv

BUDGET = Budget(steps=20, minutes_each=1.0)


def result(group, name, **changes):
    return {
        "group": group, "name": name, "label": f"row {name}", "steps": 1500, "megapixels": 221.2,
        "training_minutes": 3.25, "images": 4, "calcifications": 647, "average_precision": 0.5, "roc_auc": None,
        "sensitivity": {"0.5": None, "1": 0.1, "2": 0.25, "5": 0.5, "10": 0.75, "20": 1.0},
        "pixels_called_positive": 12e-6, "pixels_positive": 340e-6, "calcified_pixels_called_positive": 0.02, **changes,
    }  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.group}-{row.name}")
def test_a_recipe_is_the_demos_but_for_what_the_row_changes(row, tmp_path):
    lines = [line for line in write_recipe(row, tmp_path).read_text().splitlines() if line.startswith("--")]
    names = [line[2:].partition("=")[0] for line in lines]
    assert len(set(names)) == len(names)
    assert set(row.flags) <= set(lines)
    for common in ("--optimizer=adam", "--learning_rate_schedule=cosine", "--max_rotation_degrees=35"):
        assert common in lines
    assert ("--kernel_sizes=3" in lines) == ("--kernel_sizes=3" in row.flags)


def test_the_rows_are_every_loss_and_every_network():
    from calcseg_tf.losses import LOSSES as ALL_LOSSES
    from calcseg_tf.models import model_names

    assert [row.name for row in ROWS if row.group == LOSSES] == list(ALL_LOSSES)
    found = {
        flag.partition("=")[2] for row in ROWS if row.group == NETWORKS for flag in row.flags if "--model=" in flag
    }
    assert found == set(model_names())


def test_the_table_holds_every_row_once_and_shows_what_is_undefined():
    table = markdown_table([result(LOSSES, "a"), result(NETWORKS, "b", average_precision=0.125)])
    lines = [line for line in table.splitlines() if line.startswith("| row")]
    assert lines == [
        "| row a | 0.500 | - | 0.25 / 0.50 / 0.75 / 1.00 | 12 per million | 0.02 | 1,500 | 221 | 3.2 |",
        "| row b | 0.125 | - | 0.25 / 0.50 / 0.75 / 1.00 | 12 per million | 0.02 | 1,500 | 221 | 3.2 |",
    ]
    assert "340 per million are calcified" in table


def test_table_and_figure_are_written(tmp_path):
    rows = [result(LOSSES, "a"), result(NETWORKS, "b")]
    for row in rows:
        folder = tmp_path / f"{row['group']}-{row['name']}" / "evaluation"
        folder.mkdir(parents=True)
        (folder / "froc_zamir.csv").write_text(
            "threshold,sensitivity,false_positives_per_image,false_positives_per_cm2\n"
            "0.1,1.0,3.0,\n0.2,0.9,50.0,\n0.3,0.5,2.0,\n0.4,0.0,0.0,\n"
        )
        (folder / "precision_recall.csv").write_text("threshold,recall,precision\ninf,0.0,1.0\n0.2,0.9,0.5\n")
    # From the threshold with the most false alarms on: below, predictions merge.
    assert froc_points(folder / "froc_zamir.csv") == ([50.0, 2.0, 0.0], [0.9, 0.5, 0.0])
    write_csv(rows, tmp_path / "ablation.csv")
    first, second = csv.DictReader((tmp_path / "ablation.csv").open())
    assert (first["name"], second["name"]) == ("a", "b")
    assert (first["sensitivity_at_0.5"], first["sensitivity_at_2"], first["roc_auc"]) == ("", "0.25", "")
    draw(rows, tmp_path, tmp_path / "ablation.png")
    assert (tmp_path / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_a_finished_row_is_read_and_one_of_another_budget_is_refused(tmp_path):
    write_fake_records(
        tmp_path / "records", {"train": [fake_record()], "test": [fake_record(name="image-1", patient="patient-1")]}
    )
    row, folder = Row(LOSSES, "x", "row x", ("--loss=focal",)), tmp_path / "losses-x"
    folder.mkdir()
    shards = json.loads((tmp_path / "records" / "manifest.json").read_text())["shards"]
    made_with = {
        "flags": ["--loss=focal"],
        "budget": {"steps": 20, "minutes_each": 1.0, "epochs": 10, "test_images": None, "most_probe_steps": 200},
        "records": [shard["sha256"] for shard in shards],
    }
    (folder / "plan.json").write_text(json.dumps({"made_with": made_with, "steps_per_epoch": 2}))
    (folder / "row.json").write_text(json.dumps(result(LOSSES, "x")))
    assert run_row(row, BUDGET, tmp_path / "records", tmp_path) == result(LOSSES, "x")
    with pytest.raises(InputError, match="another budget, recipe or data; choose another --output_dir"):
        run_row(row, Budget(steps=30, minutes_each=1.0), tmp_path / "records", tmp_path)


def test_the_seconds_of_epochs_follow_from_history_and_recipe(tmp_path):
    inputs = {"training": {"inputs": {"global_batch_size": 2, "crop_size": 10}}}
    (tmp_path / "config.json").write_text(json.dumps(inputs))
    (tmp_path / "history.json").write_text(json.dumps([{"pixels_per_second": 500.0}, {"pixels_per_second": 1000.0}]))
    assert training_seconds(tmp_path, steps=5) == [2.0, 1.0]
