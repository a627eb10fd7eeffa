import csv
import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from calcseg_tf import shipped
from calcseg_tf.evaluating import EvaluatingConfig, evaluate, named_folders, read_data_sets, scores
from calcseg_tf.evaluation.froc import LOWEST_CODE
from calcseg_tf.inference.predictor import Predictor
from calcseg_tf.model_directory import read_info, write_info
from calcseg_tf.probability_map import to_codes
from data_prep.command import DISCLAIMER
from data_prep.errors import InputError
from data_prep.manifest import read_manifest
from data_prep.only_run import only_run_in
from data_prep.png import encode_png
from tests.fakes.commands import assert_one_line_error, run_modules
from tests.fakes.pages import elements, parse_page, text_of
from tests.fakes.records import fake_record, write_fake_records
from tests.test_commands import bright_spots, write_model

IDS = ["image-0", "image-1", "image-2"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Records, two models of the same weights and different thresholds, and one's predictions as maps."""
    folder = tmp_path_factory.mktemp("world")
    pixels = bright_spots()
    mask = (pixels == 4095).astype(np.uint8)
    distractors = []
    for number, image_id in enumerate(IDS):
        changed = pixels.copy()
        changed[50:53, 40 - number : 43] = 1800 + 100 * number  # bright enough for a threshold of 0.2, not of 0.5
        distractors.append(fake_record(changed, mask, name=image_id, patient=f"patient-{number}"))
    write_fake_records(folder / "records", {"train": [fake_record(name="t", patient="t")], "test": distractors})
    strict = write_model(folder / "strict")
    shutil.copytree(strict, folder / "loose")
    rule = "the lowest of a test"
    write_info(
        folder / "loose",
        dataclasses.replace(read_info(strict), operating_threshold=0.2, operating_threshold_rule=rule),
    )
    shutil.copytree(strict, folder / "broken")
    (folder / "broken" / "model.weights.h5").write_bytes(b"no weights")
    predictor = Predictor.load(strict)
    (folder / "maps").mkdir()
    for number, record in enumerate(distractors):
        codes = to_codes(predictor.probability(record.intensity()))
        path = folder / "maps" / record.image_id
        if number:
            path.with_suffix(".png").write_bytes(encode_png(codes))
        else:
            np.save(path.with_suffix(".npy"), codes / 65535)
    for name, content in {"nan": np.nan, "small": None, "above": 2.0}.items():
        shutil.copytree(folder / "maps", folder / name)
        values = np.zeros((60, 50) if content is not None else (50, 60), np.float32)
        values[3, 4] = content or 0.0
        np.save(folder / name / "image-0.npy", values)
    # Another data set with images of the same ids, of which one map is wrong.
    others = [dataclasses.replace(record, patient_id=f"other-{record.patient_id}") for record in distractors[:2]]
    write_fake_records(folder / "other", {"train": [fake_record(name="t", patient="t")], "test": others})
    shutil.copytree(folder / "maps", folder / "both" / "fake")
    shutil.copytree(folder / "maps", folder / "both" / "other")
    wrong = to_codes(np.linspace(0, 1, pixels.size).reshape(pixels.shape))
    (folder / "both" / "other" / "image-1.png").write_bytes(encode_png(wrong))
    shutil.copytree(folder / "maps", folder / "missing")
    (folder / "missing" / "image-2.png").unlink()
    return folder


@pytest.fixture(scope="module")
def ended(world):
    """The command run in every way, by name."""
    calls = {
        "models": [f"--model_dir={world / 'strict'},{world / 'loose'}", "--bootstrap_samples=50", "--seed=7"],
        "shipped": ["--bootstrap_samples=2"],
        "no threshold": [f"--probability_dir=theirs={world / 'maps'}"],
    }
    arguments = [
        ["--workers=1", f"--records_dir={world / 'records'}", f"--output_dir={world / 'out' / name}", *call]
        for name, call in calls.items()
    ]
    return dict(zip(calls, run_modules("calcseg_tf.evaluate", arguments), strict=True))


def test_two_models_are_compared_each_at_its_own_threshold(ended, world):
    assert ended["models"].returncode == 0, ended["models"].stderr
    said = ended["models"].stdout
    assert "Scoring 3 test mammograms of fake" in said
    assert re.search(r"fake +strict +1\.0000 \[1\.0000, 1\.0000\] +1\.0000 \[.*\] +0\.5000\n", said)
    assert "loose: threshold 0.2000, the lowest of a test" in said
    assert "strict: threshold 0.5000, default, not chosen on data" in said
    assert said.rstrip().endswith(DISCLAIMER)
    out = world / "out" / "models"
    assert f"Page: {out / 'evaluation.html'}" in said
    alarms = {}
    for name in ("strict", "loose"):
        metrics = json.loads((out / name / "metrics.json").read_text())
        alarms[name] = metrics["at_threshold"]["false_positives_per_image"]
        assert metrics["context"]["operating_threshold_rule"] == read_info(world / name).operating_threshold_rule
        assert metrics["context"]["model"]["name"] == "fcn"
        caution = metrics["bootstrap"].pop("caution")
        assert metrics["bootstrap"] == {"unit": "patient", "samples": 50, "seed": 7, "level": 0.95}
        assert f"over {metrics['patients']} patients, fewer than 10, intervals are too narrow" in caution
        assert f"caution: {caution}" in said
    assert alarms == {"strict": 0.0, "loose": 1.0}
    comparison = json.loads((out / "comparison.json").read_text())
    [pair] = comparison["differences"]
    assert (pair["first"], pair["second"]) == ("strict", "loose")
    assert pair["figures"]["at_threshold.false_positives_per_image"]["difference"] == -1.0
    assert pair["figures"]["pixel.roc_auc"]["difference"] == 0.0


def test_the_page_of_the_command_shows_both_and_holds_no_path(ended, world):
    assert ended["models"].returncode == 0
    page = (world / "out" / "models" / "evaluation.html").read_text(encoding="utf-8")
    root = parse_page(page)
    assert text_of(next(elements(root, "h1"))) == "Evaluation of strict, loose on fake, test split"
    assert len(list(elements(root, "img"))) > 10
    assert str(world) not in page
    for written in (world / "out" / "models").rglob("*.json"):
        assert str(world) not in written.read_text()


def config_of(world, models=(), maps=(), **settings):
    folders = named_folders([f"{name}={world / folder}" for name, folder in maps])
    return EvaluatingConfig(tuple(world / name for name in models), folders, **settings)


def test_maps_from_disk_give_exactly_the_figures_of_the_model_that_wrote_them(world):
    config = config_of(world, ["strict"], [("theirs", "maps")], threshold=0.3, connectivity=4)
    with scores(config, read_manifest(world / "records"), world) as [ours, theirs]:
        assert (ours.name, theirs.name) == ("strict", "theirs")
        assert ours.threshold_rule == theirs.threshold_rule == "--threshold"
        assert ours.result.figures == theirs.result.figures
        assert ours.result.connectivity == 4
        for image_id in IDS:  # for pictures alone the model's are kept, without what is never counted
            kept, whole = (each.maps.codes(image_id, (60, 50)) for each in (ours, theirs))
            np.testing.assert_array_equal(kept, np.where(whole < LOWEST_CODE, 0, whole))


def test_an_error_of_the_command_is_one_line_and_leaves_nothing(ended, world):
    assert_one_line_error(ended["no threshold"], "probability maps have no operating threshold", "--threshold")
    assert not (world / "out" / "no threshold").exists()


def test_without_a_model_the_weights_that_come_with_the_package_are_evaluated(ended, world):
    assert ended["shipped"].returncode == 0, ended["shipped"].stderr
    metrics = json.loads((world / "out" / "shipped" / "metrics.json").read_text())
    assert metrics["context"]["operating_threshold_rule"] == read_info(shipped.MODEL_DIR).operating_threshold_rule


def test_several_data_sets_have_a_folder_each_and_a_row_for_each_pair_with_a_model(world, tmp_path):
    config = config_of(world, [], [("theirs", "both")], threshold=0.5, bootstrap_samples=20)
    data_sets = read_data_sets([str(world / "records"), f"other={world / 'other'}"])
    out = tmp_path / "out"
    for stale in ("metrics.json", "comparison.json", "example_1.png"):  # of one data set, in the same folder
        out.mkdir(exist_ok=True)
        (out / stale).write_text("old")
    said = evaluate(config, data_sets, out)
    assert {path.name for path in out.iterdir()} == {"evaluation.html", "data_sets.csv", "fake", "other"}
    metrics = {name: json.loads((out / name / "metrics.json").read_text()) for name in data_sets}
    assert [each["images"] for each in metrics.values()] == [3, 2]
    assert metrics["fake"]["pixel"]["roc_auc"] == 1.0 > metrics["other"]["pixel"]["roc_auc"]
    root = parse_page((out / "evaluation.html").read_text(encoding="utf-8"))
    rows = [[text_of(cell) for cell in row] for row in elements(next(elements(root, "table")), "tr")]
    table = said.partition("\n\n\ndata set ")[2]  # the last one printed
    for (name, each), row in zip(metrics.items(), rows[1:], strict=True):
        auc, precision = (f"{each['pixel'][figure]:.4f}" for figure in ("roc_auc", "average_precision"))
        assert row[:2] == [name, "theirs"]
        assert row[2].startswith(f"{auc} [")
        assert row[3].startswith(f"{precision} [")
        assert re.search(rf"^{name} +theirs +{auc} \[.*\] +{precision} \[.*\] +0\.5000$", table, re.MULTILINE)
    with (out / "data_sets.csv").open(newline="") as file:
        figures = {(row["figure"], row["data_set"]): row for row in csv.DictReader(file)}
    for name, each in metrics.items():
        row, interval = figures["pixel.roc_auc", name], each["confidence_intervals"]["pixel.roc_auc"]
        assert (float(row["value"]), row["model"]) == (each["pixel"]["roc_auc"], "theirs")
        assert (float(row["low"]), float(row["high"])) == (interval["low"], interval["high"])
    # The curves of each, beside each other, and the way to its own page.
    assert len(list(elements(root, "img"))) == 2 * 6
    assert {link.get("href") for link in elements(root, "a")} == {
        "#figures", "#set-1", "#set-2", "fake/evaluation.html", "other/evaluation.html",
    }  # fmt: skip
    assert text_of(next(elements(root, "h1"))) == "Evaluation of theirs on fake, other, test split"
    assert str(world) not in text_of(root)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([], "--records_dir must name a folder of records; found none"),
        (["{}/records", "{}/other"], "every data set needs a name of its own; found fake twice: name them"),
        (["{}/records", "x={}/records/."], "a folder of records is evaluated once; --records_dir names it twice"),
        (["{}/records", "other={}/nowhere"], "nowhere: no such folder of records"),
        (["{}/records", ".x={}/other"], "the name in --records_dir=name=folder is a folder's name; found '.x'"),
    ],
)
def test_bad_data_sets_are_one_clear_line(world, entries, words):
    with pytest.raises(InputError, match=re.escape(words)):
        read_data_sets([entry.format(world) for entry in entries])


def test_a_data_set_is_called_as_asked_or_by_its_own_name_and_a_path_may_hold_an_equals_sign(world, tmp_path):
    shutil.copytree(world / "other", tmp_path / "run=1")
    assert list(read_data_sets([str(tmp_path / "run=1")])) == ["fake"]
    assert list(read_data_sets([f"b={tmp_path / 'run=1'}", str(world / "records")])) == ["b", "fake"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "nothing to evaluate"),
        ({"models": ["strict"], "bootstrap_samples": 0}, "--bootstrap_samples must be 1 or more; found 0"),
        ({"models": ["strict"], "seed": -1}, "--seed must be 0 or more; found -1"),
        ({"models": ["strict", "strict/."]}, "not with itself"),
        (
            {"models": ["strict"], "maps": [("strict", "maps")], "threshold": 0.5},
            "a name of its own; found strict twice",
        ),
        ({"maps": [("x", "maps"), ("x", "maps")], "threshold": 0.5}, "a name of its own; found x twice"),
        ({"maps": [("", "maps")], "threshold": 0.5}, "the name in --probability_dir=name=folder"),
        ({"maps": [("../x", "maps")], "threshold": 0.5}, "the name in --probability_dir=name=folder"),
        ({"maps": [("x", "nowhere")], "threshold": 0.5}, "no such folder of probability maps"),
        ({"maps": [("x", "maps")], "threshold": 0.001}, "at least 0.0025"),
        ({"maps": [("x", "maps")], "threshold": 0.5, "connectivity": 6}, "connectivity must be 4 or 8; found 6"),
        ({"maps": [("x", "maps")], "threshold": 0.5, "workers": 0}, "workers must be 1 or more; found 0"),
        ({"maps": [("x", "nan")], "threshold": 0.5}, "image-0.npy: probabilities lie in [0, 1]; found nan"),
        ({"maps": [("x", "above")], "threshold": 0.5}, "found 0 to 2"),
        ({"maps": [("x", "small")], "threshold": 0.5}, "60 x 50; found 50 x 60"),
        # These two are found before the first model's work is done.
        ({"maps": [("y", "above"), ("x", "missing")], "threshold": 0.5}, "image-2.png or image-2.npy; found neither"),
        ({"models": ["strict", "broken"]}, "not weights of this network"),
    ],
)
def test_bad_input_is_one_clear_line_and_leaves_nothing(world, arguments, words):
    with pytest.raises(InputError, match=re.escape(words)) as raised:
        evaluate(config_of(world, **arguments), read_data_sets([str(world / "records")]), world / "unwritten")
    assert "\n" not in str(raised.value)
    assert not (world / "unwritten").exists()


@pytest.mark.parametrize(
    ("maps", "out", "words"),
    [
        ("maps", "unwritten", "no such folder of probability maps"),
        ("both", "maps/image-1.png/x", "--output_dir must be a folder in which files can be"),
    ],
)
def test_what_is_wrong_with_the_last_data_set_or_the_folder_is_said_before_the_work(
    world, monkeypatch, maps, out, words
):
    monkeypatch.setattr("calcseg_tf.evaluating.scores", None)
    data_sets = read_data_sets([str(world / "records"), f"z={world / 'other'}"])
    with pytest.raises(InputError, match=re.escape(words)):
        evaluate(config_of(world, maps=[("x", maps)], threshold=0.5), data_sets, world / out)
    assert not (world / "unwritten").exists()


@pytest.mark.parametrize("entry", ["maps", "=", "name="])
def test_maps_are_named(entry):
    with pytest.raises(InputError, match="NAME=FOLDER"):
        named_folders([entry])


def test_a_second_evaluation_into_the_folder_is_refused(world, tmp_path):
    config = config_of(world, ["strict"])
    refused = pytest.raises(InputError, match="another run is evaluating into this folder")
    with only_run_in(tmp_path / "out", ""), refused:
        evaluate(config, {"fake": read_manifest(world / "records")}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    data_sets = {name: read_manifest(world / "records") for name in ("one", "two")}
    with only_run_in(tmp_path / "out" / "two", ""), refused:
        evaluate(config, data_sets, tmp_path / "out")


@pytest.mark.slow
def test_what_a_killed_evaluation_left_goes(world, tmp_path):
    config = config_of(world, maps=[("theirs", "maps"), ("others", "maps")], threshold=0.3, bootstrap_samples=1)
    left = [tmp_path, tmp_path / "theirs"]
    for folder in left:
        (folder / ".partial-abcd").mkdir(parents=True)
        (folder / ".partial-abcd" / "map.png").write_bytes(b"map")
        (folder / f".metrics.json.{16 * 'a'}.partial").write_bytes(b"half of")
    (tmp_path / "notes.txt").write_text("mine")
    evaluate(config, {"fake": read_manifest(world / "records")}, tmp_path)
    assert [path for path in tmp_path.rglob("*") if "partial" in path.name] == []
    assert (tmp_path / "notes.txt").read_text() == "mine"
