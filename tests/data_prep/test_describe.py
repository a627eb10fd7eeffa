import csv
import dataclasses
import io
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_prep.annotation import count_calcifications
from data_prep.command import DISCLAIMER
from data_prep.description import describing
from data_prep.description.describing import calcification_areas, describe_records
from data_prep.description.figures import ImageFigures, Intensities, Spread, size_histogram, size_labels
from data_prep.description.report import (
    calcifications_csv,
    description_csv,
    findings,
    images_csv,
    report_lines,
    table_1,
)
from data_prep.description.split_difference import Difference, drawn_units, split_differences
from data_prep.errors import InputError
from data_prep.manifest import render_manifest
from tests.fakes.commands import assert_one_line_error, run_module, run_modules
from tests.fakes.records import fake_record, write_fake_records

IMAGER = "ImagerPixelSpacing (0018,1164) / EstimatedRadiographicMagnificationFactor (0018,1114)"


def drawn(height=12, bits=12, calcified=(), ignored=(), tissue=0.2):
    """A breast of one intensity in columns 0 to 5 of 10, air beside it; regions are (rows, columns) slices."""
    full_scale = (1 << bits) - 1
    pixels = np.zeros((height, 10), np.uint16)
    pixels[:, :6] = round(tissue * full_scale)
    mask = np.zeros(pixels.shape, np.uint8)
    for region in ignored:
        mask[region] = 255
    for region in calcified:
        mask[region] = 1
    return {"pixels": pixels, "mask": mask, "bits_stored": bits}


def record(name, patient, view, drawing, source="PixelSpacing (0028,0030)", **options):
    made = fake_record(**drawing, name=name, patient=patient, **options)
    return dataclasses.replace(made, view=view, pixel_spacing_source=source)


def write_records(folder):
    """Small enough to be counted by hand."""
    train = [
        record(
            "t0", "p0", "CC",
            drawn(calcified=[np.s_[2:4, 2:4], np.s_[6, 1]], ignored=[np.s_[8, 0:3]]), pixel_spacing_mm=(0.1, 0.1),
        ),
        record("t1", "p0", "MLO", drawn(tissue=0.4), pixel_spacing_mm=None, source="unknown"),
        record("t2", "p1", "ML", drawn(14, calcified=[np.s_[2:12, :]]), pixel_spacing_mm=(0.05, 0.08), source=IMAGER),
    ]  # fmt: skip
    test = [record("e0", "p2", "CC", drawn(bits=16, calcified=[np.s_[0:3, 0:3]], tissue=0.6))]
    folder.mkdir(parents=True)
    return write_fake_records(folder, {"train": train, "test": test})


@pytest.fixture(scope="module")
def records_dir(tmp_path_factory):
    return write_records(tmp_path_factory.mktemp("describe") / "records").directory


@pytest.fixture(scope="module")
def description(records_dir):
    return describe_records(records_dir)


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def values_of(description):
    rows = rows_of(description_csv(description, findings(description)))
    return {(row["split"], row["figure"], row["category"], row["statistic"]): row["value"] for row in rows}


# The figures, counted by hand.


def test_table_1_counts_patients_views_and_sizes(description):
    assert table_1(description) == [
        ["Table 1", "images", "patients", "CC", "MLO", "other views", "image sizes (rows x columns)"],
        ["train", "3", "2", "1", "1", "1", "12x10, 14x10"],
        ["test", "1", "1", "1", "0", "0", "12x10"],
        ["together", "4", "3", "2", "1", "1", "12x10, 14x10"],
    ]


def test_sizes_are_8_connected_components_and_the_last_bin_is_open(description):
    train, test = description.splits
    assert [image.areas_px for image in train.images] == [(4, 1), (), (100,)]
    assert [image.areas_px for image in test.images] == [(9,)]
    histogram = dict(zip(size_labels(), size_histogram(train.areas_px).tolist(), strict=True))
    assert {label: count for label, count in histogram.items() if count} == {"1 to 4": 2, ">= 100": 1}
    assert len(histogram) == 21
    every = dict(zip(size_labels(), size_histogram([1, 4, 5, 9, 10, 95, 99, 100, 101, 5000]).tolist(), strict=True))
    assert {label: count for label, count in every.items() if count} == {
        "1 to 4": 2, "5 to 9": 2, "10 to 14": 1, "95 to 99": 2, ">= 100": 3
    }  # fmt: skip


def test_the_csv_holds_each_figure_once_with_its_value(description):
    values = values_of(description)
    expected = {
        ("train", "images", "", "count"): 3,
        ("train", "images", "with calcifications", "count"): 2,
        ("train", "images", "with ignored pixels", "count"): 1,
        ("together", "patients", "", "count"): 3,
        ("train", "view", "CC", "count"): 1,
        ("train", "view", "MLO", "count"): 1,
        ("train", "view", "ML", "count"): 1,
        ("test", "view", "MLO", "count"): 0,
        ("together", "laterality", "L", "count"): 4,
        ("together", "image_size", "12x10", "count"): 3,
        ("together", "bits_stored", "12", "count"): 3,
        ("test", "bits_stored", "16", "count"): 1,
        ("test", "full_scale", "65535", "count"): 1,
        ("train", "pixel_spacing_mm", "0.1", "count"): 1,
        ("train", "pixel_spacing_mm", "0.05 x 0.08", "count"): 1,
        ("train", "pixel_spacing_mm", "unknown", "count"): 1,
        ("train", "pixel_spacing_source", IMAGER, "count"): 1,
        ("train", "calcifications", "", "count"): 3,
        ("train", "calcifications_per_image", "", "mean"): 1,
        ("train", "calcifications_per_image", "", "standard_deviation"): 1,
        ("train", "calcifications_per_image", "", "maximum"): 2,
        ("train", "calcification_size", "", "mean"): 35,
        ("train", "calcification_size", "", "median"): 4,
        ("train", "calcification_area", "PixelSpacing (0028,0030)", "mean"): (4 + 1) / 2 * 0.01,
        ("train", "calcification_area", IMAGER, "maximum"): 100 * 0.05 * 0.08,
        ("together", "calcification_size_histogram", "5 to 9 px", "count"): 1,
        ("train", "pixels", "", "count"): 120 + 120 + 140,
        ("train", "pixels", "calcified", "count"): 105,
        ("train", "pixels", "ignored", "count"): 3,
        ("train", "pixels", "ignored", "share"): 3 / 380,
        ("train", "pixels", "background to one calcified", "ratio"): (380 - 3 - 105) / 105,
        ("train", "pixels", "breast", "count"): 72 + 72 + 84,
        ("train", "intensity", "breast", "mean"): (156 * 819 + 72 * 1638) / 228 / 4095,
        ("train", "intensity", "breast", "percentile 1"): 0.2,
        ("train", "intensity", "breast", "percentile 99"): 0.4,
        ("train", "intensity", "all pixels", "minimum"): 0,
        ("train", "intensity", "all pixels", "maximum"): 0.4,
        ("test", "intensity", "breast", "mean"): 0.6,
    }
    for key, value in expected.items():
        assert float(values[key]) == pytest.approx(value, rel=1e-6), key
    assert values["together", "disclaimer", "", "text"] == DISCLAIMER
    # One image has no deviation, and no split has a figure twice.
    assert values["test", "calcifications_per_image", "", "standard_deviation"] == ""
    rows = rows_of(description_csv(description, findings(description)))
    assert len({tuple(row.values())[:4] for row in rows}) == len(rows)


def test_listings_have_a_row_an_image_and_a_row_a_calcification(description):
    images = rows_of(images_csv(description))
    assert [row["image_id"] for row in images] == ["t0", "t1", "t2", "e0"]
    assert (images[0]["calcifications"], images[0]["calcified_px"], images[0]["ignored_px"]) == ("2", "5", "3")
    assert (images[1]["row_spacing_mm"], images[1]["spacing_source"]) == ("", "unknown")
    assert float(images[1]["breast_mean_intensity"]) == pytest.approx(0.4)
    found = [(row["image_id"], row["split"], row["area_px"]) for row in rows_of(calcifications_csv(description))]
    assert found == [("t0", "train", "4"), ("t0", "train", "1"), ("t2", "train", "100"), ("e0", "test", "9")]
    areas = [float(row["area_mm2"]) for row in rows_of(calcifications_csv(description))]
    assert areas == pytest.approx([0.04, 0.01, 0.4, 9 * 0.0049])


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_areas_are_those_of_the_components_that_conversion_counts(data):
    height, width = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    values = st.lists(st.sampled_from([0, 1, 1, 255]), min_size=height * width, max_size=height * width)
    mask = np.array(data.draw(values), np.uint8).reshape(height, width)
    areas = calcification_areas(mask)
    assert len(areas) == count_calcifications(mask)
    assert sum(areas) == np.count_nonzero(mask == 1)
    assert all(area >= 1 for area in areas)


def test_percentiles_are_values_that_occur_and_depths_are_not_mixed():
    eight, twelve = np.zeros(256, np.int64), np.zeros(4096, np.int64)
    eight[0], eight[255] = 1, 1  # intensity 0 and 1
    twelve[819] = 98  # 0.2
    both = Intensities({8: eight, 12: twelve})
    assert both.pixels == 100
    assert both.mean == pytest.approx((0 + 1 + 98 * 0.2) / 100)
    assert [both.percentile(percent) for percent in (0, 1, 1.01, 50, 99, 99.01, 100)] == pytest.approx(
        [0, 0, 0.2, 0.2, 0.2, 1, 1]
    )
    assert both.histogram(5).tolist() == [1, 98, 0, 0, 1]
    nothing = Intensities({})
    assert (nothing.pixels, nothing.mean, nothing.percentile(50)) == (0, None, None)
    assert nothing.histogram(3).tolist() == [0, 0, 0]


def test_a_spread_has_quartiles_and_the_samples_deviation():
    assert Spread.of([1, 2, 3, 4]) == Spread(4, 2.5, pytest.approx((5 / 3) ** 0.5), 1, 1.75, 2.5, 3.25, 4)
    assert Spread.of([7]) == Spread(1, 7, None, 7, 7, 7, 7, 7)
    assert Spread.of([]) is None


def test_the_screen_names_the_source_of_areas_and_says_what_is_unknown(description):
    text = "\n".join(report_lines(description, findings(description)))
    assert "area in mm2 by PixelSpacing: mean, SD" in text
    assert "area in mm2 by ImagerPixelSpacing: mean, SD" in text
    assert "images of pixel spacing unknown" in text
    assert "Too few patients to tell whether the splits differ by more than chance: 3 of 8." in text
    assert "warning" not in text


def test_a_split_without_records_or_without_calcifications_is_described_and_warned_of(tmp_path):
    manifest = write_records(tmp_path / "records")
    shards = [shard for shard in manifest.shard_infos if shard.split == "train"]
    changed = dataclasses.replace(manifest, shard_infos=tuple(shards))
    (manifest.directory / "manifest.json").write_text(render_manifest(changed))
    empty = describe_records(manifest.directory)
    assert "the test split is empty" in findings(empty).warnings
    assert table_1(empty)[2] == ["test", "0", "0", "0", "0", "0", ""]
    assert "-" in "\n".join(report_lines(empty, findings(empty)))
    bare = [record(f"t{n}", f"p{n}", "CC", drawn()) for n in range(2)]
    (tmp_path / "bare").mkdir()
    write_fake_records(tmp_path / "bare", {"train": bare[:1], "test": bare[1:]})
    assert findings(describe_records(tmp_path / "bare")).warnings == (
        "the train split has no calcification",
        "the test split has no calcification",
    )


def test_patients_in_both_splits_are_warned_of(tmp_path):
    images = [record(f"i{n}", "p0", "CC", drawn(calcified=[np.s_[0:2, 0:2]])) for n in range(2)]
    write_fake_records(tmp_path, {"train": images[:1], "test": images[1:]})
    assert findings(describe_records(tmp_path)).warnings == (
        "patients with images in both splits: 1; scores on test are optimistic",
    )


# Where the splits differ much.


def image(number, split, patient, areas=(10,), **changes):
    figures = ImageFigures(
        split=split, image_id=f"i{number}", patient_id=patient, laterality="L", view="CC", height=10, width=10,
        bits_stored=12, pixel_spacing_mm=None, pixel_spacing_source="unknown", areas_px=tuple(areas), ignored_px=0,
        tissue_px=50, tissue_intensity=0.5,
    )  # fmt: skip
    return dataclasses.replace(figures, **changes)


def large(images, by_patient=True):
    return [each.respect for each in split_differences(images, by_patient) if each.large]


def test_distances_are_those_of_the_distributions():
    images = [
        image(0, "train", "a", (1, 1, 1, 7), view="CC"),
        image(1, "train", "b", (), view="MLO"),
        image(2, "test", "c", (7, 7, 7, 200), view="MLO"),
    ]
    found = {each.respect: each.distance for each in split_differences(images, by_patient=True)}
    assert found["calcification sizes in pixels"] == pytest.approx(0.75)  # 3 of 4 below 5 px, and none
    assert found["calcifications per image"] == pytest.approx(0.5)  # one of two has none
    assert found["views"] == pytest.approx(0.5)
    assert found["bits stored"] == 0


def test_a_difference_that_no_chance_explains_is_told():
    images = [image(n, "train", f"p{n}", (3, 4)) for n in range(15)]
    images += [image(100 + n, "test", f"q{n}", (50, 60)) for n in range(5)]
    assert large(images) == ["calcification sizes in pixels"]
    images = [
        dataclasses.replace(each, areas_px=(5,), view="CC" if each.split == "train" else "MLO") for each in images
    ]
    assert large(images) == ["views"]


def test_one_patient_full_of_large_calcifications_is_no_difference_of_the_splits():
    # By single calcifications this would be 300 witnesses against 75, p < 1e-50; by patients it is one patient.
    images = [image(n, "train", f"p{n}", (3,) * 5) for n in range(15)]
    images += [image(100, "test", "q0", (80,) * 300)]
    images += [image(101 + n, "test", f"q{1 + n}", (3,) * 5) for n in range(4)]
    assert large(images) == []


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 6), st.booleans()), min_size=2, max_size=12))
def test_seven_patients_or_fewer_never_give_a_warning(drawn_images):
    images = [
        image(number, "train" if patient < 4 else "test", f"p{patient}", (size + 1,), view="CC" if cc else "MLO")
        for number, (size, patient, cc) in enumerate(drawn_images)
    ]
    assert large(images) == []


def test_random_splits_of_alike_patients_hardly_ever_give_a_warning():
    rng = np.random.default_rng(5)
    warned = 0
    for _ in range(40):
        sides = rng.permutation(["train"] * 15 + ["test"] * 5)
        images = []
        for patient, side in enumerate(sides):
            scale = rng.lognormal(2, 0.7)  # each patient has calcifications of their own size
            for view in ("CC", "MLO"):
                areas = 1 + rng.exponential(scale, rng.integers(0, 40)).astype(int)
                images.append(image(len(images), str(side), f"p{patient}", areas.tolist(), view=view))
        warned += bool(large(images))
    assert warned <= 3  # of 40, in 3 respects that vary, at 1 % each: 1.2 expected at most


def test_what_was_drawn_is_the_patient_where_it_is_known_and_on_one_side():
    apart = [image(0, "train", "a"), image(1, "train", "a"), image(2, "test", "")]
    assert drawn_units(apart, by_patient=True) == ["a", "a", "image i2"]
    assert drawn_units(apart, by_patient=False) == ["image i0", "image i1", "image i2"]
    crossing = [*apart, image(3, "test", "a")]
    assert drawn_units(crossing, by_patient=True) == [f"image i{n}" for n in range(4)]


def test_only_what_is_both_far_and_rare_is_large():
    assert Difference("views", 0.2, 0.01).large
    assert not Difference("views", 0.19, 0.001).large
    assert not Difference("views", 0.9, 0.02).large


# The pass over the records.


def test_threads_change_nothing_and_hold_no_more_records_than_there_are_threads(records_dir, description, monkeypatch):
    read, drawn_ahead, done = describing.read_tfrecord, [], []

    def counting(path):
        for serialized in read(path):
            drawn_ahead.append(1)
            assert len(drawn_ahead) - len(done) <= 2
            yield serialized

    monkeypatch.setattr(describing, "read_tfrecord", counting)
    again = describe_records(records_dir, workers=2, on_image=lambda: done.append(1))
    assert len(done) == 4
    assert images_csv(again) == images_csv(description)
    assert description_csv(again, findings(again)) == description_csv(description, findings(description))


@pytest.mark.parametrize("workers", [1, 3])
def test_records_that_are_not_what_they_say_are_one_error_with_their_place(tmp_path, workers):
    good = fake_record(name="t0", patient="p0")
    (tmp_path / "records").mkdir()
    bad = [good, dataclasses.replace(good, image_id="t1", calcification_count=5)]
    write_fake_records(tmp_path / "records", {"train": bad, "test": [good]})
    with pytest.raises(InputError, match="calcification/count must be 1, as its mask shows; found 5") as caught:
        describe_records(tmp_path / "records", workers)
    assert caught.value.where == str(tmp_path / "records" / "train-00000-of-00001.tfrecord record 1")


SHARD = "train-00000-of-00001.tfrecord"


def damage(records_dir, copy, fault):
    """Copies the records with one fault and returns the words of its error."""
    shutil.copytree(records_dir, copy)
    data = (records_dir / SHARD).read_bytes()
    if fault == "missing":
        (copy / SHARD).unlink()
        return "missing, though the manifest names it"
    if fault == "fewer":
        shutil.copy(copy / "test-00000-of-00001.tfrecord", copy / SHARD)
        return "must hold 3 records, as the manifest says; found 1"
    changed = data[:-9] if fault == "truncated" else data[:600] + bytes([data[600] ^ 1]) + data[601:]
    (copy / SHARD).write_bytes(changed)
    return "not a whole TFRecord file"


@pytest.mark.parametrize("fault", ["missing", "fewer", "truncated", "flipped"])
def test_a_damaged_shard_is_one_error_with_its_name(records_dir, tmp_path, fault):
    words = damage(records_dir, tmp_path / "copy", fault)
    with pytest.raises(InputError, match=words) as caught:
        describe_records(tmp_path / "copy", workers=2)
    assert caught.value.where == str(tmp_path / "copy" / SHARD)


# The command.

FILES = {"describe.csv", "images.csv", "calcifications.csv", "calcification_sizes.png", "overview.png"}


@pytest.fixture(scope="module")
def called(records_dir, tmp_path_factory):
    """The command run five times; its results by name, and the folder that they are in."""
    root = tmp_path_factory.mktemp("called")
    words = damage(records_dir, root / "damaged", "truncated")
    (root / "out").mkdir()
    (root / "out" / "notes.txt").write_text("mine")
    (root / "out" / "describe.csv").write_text("older")
    (root / "file").write_text("precious")
    calls = {
        "good": (records_dir, root / "out"),
        "damaged": (root / "damaged", root / "out"),
        "again": (records_dir, root / "new" / "again"),
        "no_records": (root, root / "out"),
        "no_folder": (records_dir, root / "file" / "out"),
    }
    ended = run_modules(
        "data_prep.describe",
        [
            [f"--records_dir={records}", f"--output_dir={out}", *(["--workers=1"] if name == "again" else [])]
            for name, (records, out) in calls.items()
        ],
    )
    return root, dict(zip(calls, ended, strict=True)), words


def test_the_command_writes_tables_and_pictures(called):
    root, ended, _ = called
    assert ended["good"].returncode == 0, ended["good"].stderr
    assert "Describing 4 records" in ended["good"].stdout
    assert "together  4       3         2   1    1" in ended["good"].stdout
    assert ended["good"].stdout.rstrip().endswith(DISCLAIMER)
    assert "4/4" in ended["good"].stderr
    assert {path.name for path in (root / "new" / "again").iterdir()} == FILES
    for name in ("calcification_sizes.png", "overview.png"):
        with Image.open(root / "out" / name) as picture:
            assert picture.info["Description"] == DISCLAIMER
            colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        for colour in ((0x1F, 0x5F, 0xA8), (0xE0, 0x8A, 0x1E)):  # bars of both splits
            assert (colours == colour).all(axis=1).sum() > 500


def test_an_older_description_is_replaced_whole_or_not_at_all(called):
    root, _, _ = called
    assert {path.name for path in (root / "out").iterdir()} == {*FILES, "notes.txt"}
    assert (root / "out" / "notes.txt").read_text() == "mine"
    for name in FILES:  # failed runs changed nothing after the good one, and the same records give the same bytes
        assert (root / "out" / name).read_bytes() == (root / "new" / "again" / name).read_bytes(), name


def test_users_errors_are_one_line(called, records_dir):
    root, ended, words = called
    assert_one_line_error(ended["damaged"], root / "damaged" / SHARD, words)
    assert_one_line_error(ended["no_records"], root, "no manifest.json")
    assert_one_line_error(ended["no_folder"], "--output_dir must be a folder; found a file", root / "file")
    assert (root / "file").read_text() == "precious"
    assert_one_line_error(run_module("data_prep.describe", records_dir=records_dir), "--output_dir must be given")
    assert_one_line_error(run_module("data_prep.describe", records_dir="x", output_dir="y", workers=0), "workers")
