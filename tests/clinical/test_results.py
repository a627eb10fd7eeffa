import csv
import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from calcseg_tf.clinical import Cluster, ImageStatistics, measure, write_prediction
from calcseg_tf.clinical.results import sweep_partial
from calcseg_tf.evaluation import Evaluation
from data_prep.command import DISCLAIMER
from data_prep.errors import InputError
from data_prep.mammogram import SpacingSource
from data_prep.png import decode_grey_png

_FILES = {"probability.png", "calcifications.csv", "statistics.json", "overlay.png", "report.html"}
_MODEL = {"architecture": "fcn", "epochs": 3}
_SOURCE = {"sha256": "0" * 64, "voi_lut": False}
_SPACING = (0.07, 0.08), SpacingSource.PIXEL_SPACING


def _case(seed: int = 0):
    rng = np.random.default_rng(seed)
    intensity = rng.random((90, 70)).astype(np.float32)
    probability = (rng.random((90, 70)) ** 12).astype(np.float32)
    return intensity, probability


def _write(folder, seed=0, stem="case", spacing=_SPACING, model=_MODEL):
    return write_prediction(folder, stem, *_case(seed), 0.6, *spacing, model, _SOURCE)


def test_a_prediction_is_five_files_in_a_folder_of_its_name(tmp_path):
    _write(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"case"}
    assert {path.name for path in (tmp_path / "out" / "case").iterdir()} == _FILES


def test_the_probability_map_is_rounded_to_sixteen_bits(tmp_path):
    _write(tmp_path)
    stored = decode_grey_png((tmp_path / "case" / "probability.png").read_bytes())
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, np.rint(_case()[1] * np.float32(65535)).astype(np.uint16))


def test_the_written_map_measures_to_the_written_table(tmp_path):
    written = _write(tmp_path)
    stored = decode_grey_png((tmp_path / "case" / "probability.png").read_bytes())
    assert measure(stored, _case()[0], 0.6, *_SPACING) == written
    with (tmp_path / "case" / "calcifications.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == written.count > 20
    for row, found in zip(rows, written.calcifications, strict=True):
        assert int(row["id"]) == found.id
        for name in ("row", "column", "area_mm2", "max_probability", "mean_probability", "mean_intensity"):
            assert float(row[name]) == getattr(found, name)
        assert int(row["area_px"]) == found.area_px
        assert row["cluster_id"] == ("" if found.cluster_id is None else str(found.cluster_id))


def test_finds_and_evaluation_count_alike(tmp_path):
    statistics = _write(tmp_path)
    evaluation = Evaluation(threshold=0.6)
    evaluation.add(_case()[1], np.zeros((90, 70), np.uint8), "1", "a")
    assert evaluation.result(0).figures["at_threshold.false_positives_per_image"].value == statistics.count


@pytest.mark.parametrize("found", [True, False])
def test_every_file_says_that_it_is_not_for_diagnosis(tmp_path, found):
    intensity, probability = _case()
    write_prediction(tmp_path, "case", intensity, probability * found, 0.6, *_SPACING, _MODEL, _SOURCE)
    folder = tmp_path / "case"
    with Image.open(folder / "probability.png") as image:
        assert image.info["Comment"] == DISCLAIMER
    header = (folder / "calcifications.csv").read_text().splitlines()[0]
    assert header.endswith(",research_use_only_not_for_diagnosis")
    assert json.loads((folder / "statistics.json").read_text())["disclaimer"] == DISCLAIMER
    assert DISCLAIMER in (folder / "report.html").read_text()


def test_statistics_json_holds_the_contract(tmp_path):
    written = _write(tmp_path)
    content = json.loads((tmp_path / "case" / "statistics.json").read_text())
    assert content["count"] == written.count
    assert content["mean_area_mm2"] == written.mean_area_mm2
    assert content["std_area_mm2"] == written.std_area_mm2
    assert content["pixel_spacing_mm"] == [0.07, 0.08]
    assert content["pixel_spacing_source"] == "PixelSpacing (0028,0030)"
    assert len(content["clusters"]) == len(written.clusters) == 1
    assert content["clusters"][0]["count"] == written.clusters[0].count
    assert content["threshold"] == 0.6
    assert content["model"] == _MODEL
    assert content["source"] == _SOURCE
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "case").iterdir()}
    assert content["files"] == {name: sizes[name] for name in _FILES - {"statistics.json"}}
    assert content["disclaimer"] == DISCLAIMER
    assert content["undefined"] == {}
    assert "n - 1" in content["definitions"]["std_area_mm2"]


def test_without_spacing_the_file_says_so(tmp_path):
    _write(tmp_path, spacing=(None, SpacingSource.UNKNOWN))
    content = json.loads((tmp_path / "case" / "statistics.json").read_text())
    assert content["mean_area_mm2"] is None
    assert content["mean_area_px"] > 0
    assert content["clusters"] is None
    assert content["pixel_spacing_source"] == "unknown"
    in_mm = {"mean_area_mm2", "std_area_mm2", "extent_mm", "nearest_neighbour_mm", "density_per_cm2"}
    others = {"micro_count", "macro_count", "reference_area_cm2", "pixel_spacing_mm", "clusters"}
    assert set(content["undefined"]) == in_mm | others
    with (tmp_path / "case" / "calcifications.csv").open(newline="") as file:
        assert {row["area_mm2"] for row in csv.DictReader(file)} == {""}


def test_no_find_is_a_result_too(tmp_path):
    intensity, probability = _case()
    write_prediction(tmp_path, "empty", intensity, probability * 0, 0.6, *_SPACING, _MODEL, _SOURCE)
    content = json.loads((tmp_path / "empty" / "statistics.json").read_text())
    assert (content["count"], content["mean_area_mm2"], content["clusters"]) == (0, None, [])
    assert "needs 1 calcification; there are 0" in content["undefined"]["mean_area_mm2"]
    assert len((tmp_path / "empty" / "calcifications.csv").read_text().splitlines()) == 1


def test_an_older_result_is_replaced_whole(tmp_path):
    _write(tmp_path)
    (tmp_path / "case" / "left_over.txt").write_text("from an older version")
    written = _write(tmp_path, seed=1)
    assert {path.name for path in (tmp_path / "case").iterdir()} == _FILES
    assert json.loads((tmp_path / "case" / "statistics.json").read_text())["count"] == written.count
    assert {path.name for path in tmp_path.iterdir()} == {"case"}


def test_a_failure_leaves_the_older_result_and_no_rubbish(tmp_path):
    _write(tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "case").iterdir()}
    with pytest.raises(ValueError, match="JSON"):
        _write(tmp_path, seed=1, model={"loss": float("nan")})
    assert {path.name: path.read_bytes() for path in (tmp_path / "case").iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"case"}


def test_a_folder_that_is_no_result_is_not_deleted(tmp_path):
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="only an older result is replaced"):
        _write(tmp_path)
    assert (tmp_path / "case" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a result is a folder"):
        _write(tmp_path, stem="file")


def test_what_killed_processes_left_is_swept_and_nothing_else(tmp_path):
    _write(tmp_path)
    gone = [".case.0123456789ab.partial", ".case.0123456789ab.partial.old", ".a.b.0123456789ab.partial"]
    kept = [".case.0123456789ab", ".0123456789ab.partial", "case.0123456789ab.partial", ".case.0123456789AB.partial"]
    for name in [*gone, *kept]:
        (tmp_path / name / "deeper").mkdir(parents=True)
    (tmp_path / ".file.0123456789ab.partial").touch()
    sweep_partial(tmp_path)
    sweep_partial(tmp_path / "nowhere")
    assert {path.name for path in tmp_path.iterdir()} == {"case", ".file.0123456789ab.partial", *kept}


@pytest.mark.parametrize("stem", ["", ".", "..", "a/b", "../a", ".hidden", "a\\b"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, stem):
    with pytest.raises(InputError, match="plain name"):
        _write(tmp_path, stem=stem)
    assert list(tmp_path.iterdir()) == []


def test_the_same_prediction_gives_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        _write(tmp_path / folder)
    for name in _FILES:
        assert (tmp_path / "one" / "case" / name).read_bytes() == (tmp_path / "two" / "case" / name).read_bytes()


def test_every_column_and_every_key_has_its_definition(tmp_path):
    _write(tmp_path)
    content = json.loads((tmp_path / "case" / "statistics.json").read_text())
    told = {name for key in content["definitions"] for name in key.removeprefix("calcification.").split(", ")}

    def is_told(name: str) -> bool:
        return name in told or name.rpartition("_")[0] in told  # without its unit

    header = (tmp_path / "case" / "calcifications.csv").read_text().splitlines()[0].split(",")
    cluster = {f"clusters.{key}" if f"clusters.{key}" in told else key for key in content["clusters"][0]}
    missing = {name for name in {*header, *cluster} if not is_told(name)}
    assert missing <= {"id", "cluster_id"}
    measured = set(content) & {field.name for field in dataclasses.fields(ImageStatistics)}
    assert {name for name in measured if not is_told(name)} <= {"threshold", "height", "width"}


def test_a_cluster_is_written_with_all_that_is_measured_of_it(tmp_path):
    (cluster,) = _write(tmp_path).clusters
    (content,) = json.loads((tmp_path / "case" / "statistics.json").read_text())["clusters"]
    assert set(content) == {field.name for field in dataclasses.fields(Cluster)} - {"calcification_ids"}
    assert content["distribution"] == cluster.distribution.value
    assert content["size_histogram"]["counts"] == list(cluster.size_histogram.counts)
    assert content["nearest_neighbour_mm"]["mean"] == cluster.nearest_neighbour_mm.mean
    assert [tuple(corner) for corner in content["hull"]] == list(cluster.hull)


def test_one_pixel_is_a_mammogram(tmp_path):
    written = write_prediction(tmp_path, "dot", np.ones((1, 1)), np.ones((1, 1)), 0.5, *_SPACING, _MODEL, _SOURCE)
    assert (written.count, written.calcifications[0].local_contrast) == (1, None)
