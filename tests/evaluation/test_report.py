import base64
import dataclasses
import io
import itertools
import json
import re

import numpy as np
import pytest
from PIL import Image

from calcseg_tf.evaluation.crops import CROP_PX
from calcseg_tf.evaluation.evaluation_result import PRIMARY
from calcseg_tf.evaluation.report import COMPARISON_FILE, DATA_SETS_TABLE, PAGE_FILE, write_report
from data_prep.command import DISCLAIMER
from tests.fakes.evaluations import drawn_map, score_maps
from tests.fakes.mammograms import speckled_record
from tests.fakes.pages import elements, parse_page, text_of

HOSTILE_ID = '<script>alert("1")</script>$\\frac{/../\x85'
STALE = (
    "example_9.png", "example_9.pdf", COMPARISON_FILE, "comparison.csv", DATA_SETS_TABLE,
)  # fmt: skip
CONTEXT = {"data_set": "fake", "split": "test", "records": {"versions": {"<b>": "1"}}, "nothing": None}


def some_records(count=4):
    records = [speckled_record(number, 72) for number in range(count)]
    records[0] = dataclasses.replace(records[0], image_id=HOSTILE_ID, view="MLO")
    return records


def scored_models(records, folder, names=("smeared", "sharp"), numbers=range(9)):
    blurs = {"smeared": 3.0, "sharp": 0.7}
    return [
        score_maps(
            name,
            records,
            [drawn_map(each, blurs[name], 1.0, number) for number, each in zip(numbers, records, strict=False)],
            folder / name,
        )
        for name in names
    ]


def write(records, scored, output_dir, title="Evaluation of <both>"):
    return write_report(
        scored, lambda wanted: [each for each in records if each.image_id in wanted], output_dir, title, CONTEXT
    )


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclasses.dataclass
class Written:
    folder: object
    scored: list
    records: list

    def __post_init__(self):
        self.page = (self.folder / PAGE_FILE).read_text(encoding="utf-8")
        self.root = parse_page(self.page)

    def section(self, name):
        [found] = [each for each in elements(self.root, "section") if each.get("aria-labelledby") == name]
        return found


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    records = some_records()
    scored = scored_models(records, folder / "maps")
    (folder / "out").mkdir()
    for name in (PAGE_FILE, "images.csv", "roc.ipynb"):  # of one model before, and somebody's
        (folder / "out" / name).write_text("old")
    write(records, scored, folder / "out")
    return Written(folder / "out", scored, records)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    records = some_records()
    scored = scored_models(records, folder / "maps", ["smeared"])
    (folder / "out").mkdir()
    for name in ("notes.txt", *STALE):  # an earlier evaluation's, and somebody's
        (folder / "out" / name).write_text("old")
    write(records, scored, folder / "out")
    return Written(folder / "out", scored, records)


def test_one_model_s_files_lie_in_the_folder_itself(one):
    names = set(files_of(one.folder))
    assert {PAGE_FILE, "metrics.json", "images.csv", "roc.png", "froc_zamir.pdf", "strata.png", "worst_misses.png",
            "strongest_false_alarms.png", "example_1.png", "example_1.pdf"} <= names  # fmt: skip
    assert not set(STALE) & names  # nothing of an earlier one is left
    assert (one.folder / "notes.txt").read_text() == "old"
    assert not any("/" in name or name.startswith(".") for name in names)


def test_several_models_have_folders_of_their_names_under_the_comparison(two):
    names = set(files_of(two.folder))
    assert {PAGE_FILE, COMPARISON_FILE, "comparison.csv", "roc.png", "roc.pdf", "strata.pdf", "example_1.png"} <= names
    assert "images.csv" not in names
    assert (two.folder / "roc.ipynb").read_text() == "old"
    for model in ("smeared", "sharp"):
        assert {f"{model}/{name}" for name in ("metrics.json", "calcifications.csv", "worst_misses.png")} <= names
        metrics = json.loads((two.folder / model / "metrics.json").read_text())
        assert metrics["context"]["operating_threshold_rule"] == f"the rule of {model}"
        assert metrics["context"]["model"] == {"name": "drawn"}
    assert {name.split("/")[0] for name in names if "/" in name} == {"smeared", "sharp"}
    assert json.loads((two.folder / COMPARISON_FILE).read_text())["context"]["data_set"] == "fake"


def test_the_order_of_the_records_changes_no_byte_of_any_file(one, tmp_path):
    records = one.records[::-1]
    write(records, scored_models(records, tmp_path / "maps", ["smeared"], numbers=[3, 2, 1, 0]), tmp_path / "out")
    ours, theirs = files_of(one.folder), files_of(tmp_path / "out")
    del ours["notes.txt"]
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.mark.parametrize("written", ["one", "two"])
def test_the_page_is_whole_valid_and_needs_nothing_else(written, request):
    root = request.getfixturevalue(written).root
    assert not [tag for tag in ("script", "link", "iframe", "object", "form") for _ in elements(root, tag)]
    for each in root.iter():
        assert not [name for name in each.attrib if name.startswith("on")]
    for image in elements(root, "img"):
        source = image.get("src")
        assert source.startswith("data:image/png;base64,")
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as picture:
            assert picture.size == (int(image.get("width")), int(image.get("height")))
            assert np.asarray(picture.convert("L")).std() > 1
    [style] = elements(root, "style")
    assert not re.search(r"url\(|@import|https?:", style.text)
    assert "prefers-color-scheme: dark" in style.text
    assert "@media print" in style.text


@pytest.mark.parametrize("written", ["one", "two"])
def test_the_page_can_be_read_without_eyes_and_without_a_mouse(written, request):
    root = request.getfixturevalue(written).root
    levels = [int(each.tag[1]) for each in root.iter() if re.fullmatch("h[1-6]", str(each.tag))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    for image in elements(root, "img"):
        assert len(image.get("alt")) > 10
    for table in elements(root, "table"):
        assert len(text_of(next(elements(table, "caption")))) > 10
        assert {head.get("scope") for head in elements(table, "th")} <= {"col", "row"}
    ids = [each.get("id") for each in root.iter() if each.get("id")]
    assert len(ids) == len(set(ids))
    assert {link.get("href") for link in elements(root, "a")} == {f"#{name}" for name in ids}
    for region in (each for each in root.iter() if each.get("role") == "region"):
        assert region.get("tabindex") == "0"
        assert region.get("aria-label")


@pytest.mark.parametrize("written", ["one", "two"])
def test_what_it_is_not_for_is_said_at_both_ends(written, request):
    root = request.getfixturevalue(written).root
    assert text_of(next(elements(root, "header"))).startswith(DISCLAIMER)
    assert text_of(next(elements(root, "footer"))) == DISCLAIMER


def test_ids_of_the_records_are_text_wherever_they_stand(two):
    shown = HOSTILE_ID.replace("\x85", "�")
    assert HOSTILE_ID not in two.page
    assert "<script" not in two.page
    rows = [text_of(row[0]) for row in elements(two.section("images"), "tr")]
    assert rows.count(shown) == 1
    assert "Evaluation of <both>" in text_of(next(elements(two.root, "h1")))


def test_the_figures_are_those_of_the_results_with_their_definitions(two):
    section = two.section("figures")
    [auc] = [row for row in elements(section, "tr") if text_of(row).startswith("Pixel ROC AUC")]
    for cell, each in zip(list(auc)[1:], two.scored, strict=True):
        interval = each.result.intervals["pixel.roc_auc"]
        assert text_of(cell) == f"{each.result.roc_auc.value:.4f} [{interval.low:.4f}, {interval.high:.4f}]"
    terms, meanings = ([text_of(each) for each in elements(section, tag)] for tag in ("dt", "dd"))
    assert len(terms) == len(meanings)
    assert all(meaning.endswith(".") for meaning in meanings)
    assert {text_of(row[0]) for row in elements(section, "tr")} - {"Figure"} <= set(terms)


def test_images_stand_worst_first_with_their_errors(two):
    rows = [[text_of(cell) for cell in row] for row in elements(two.section("images"), "tr")][1:]
    worst = [max(int(row[3]) + int(row[4]), int(row[5]) + int(row[6])) for row in rows]
    assert worst == sorted(worst, reverse=True)
    assert len(rows) == 4
    assert sum(int(row[2]) for row in rows) == two.scored[0].result.calcifications


@pytest.mark.parametrize("kind", ["worst_misses", "strongest_false_alarms"])
def test_crops_are_shown_in_order_with_id_place_and_probability(two, kind):
    section = two.section(kind)
    assert [text_of(heading) for heading in elements(section, "h3")] == ["smeared", "sharp"]
    for each, gallery in zip(two.scored, elements(section, "ol"), strict=True):
        told = [text_of(caption) for caption in elements(gallery, "figcaption")]
        assert 0 < len(told) <= 12
        probabilities = [float(re.search(r"probability ([\d.]+)$", text)[1]) for text in told]
        below = [probability < each.result.threshold for probability in probabilities]
        if kind == "worst_misses":
            assert probabilities == sorted(probabilities)
            assert all(below)
        else:
            assert probabilities == sorted(probabilities, reverse=True)
            assert not any(below)
        assert all(re.search(r"row \d+, column \d+; \d+ px;", text) for text in told)
        assert {image.get("width") for image in elements(gallery, "img")} == {str(3 * CROP_PX)}


def test_the_mammograms_in_dispute_are_drawn_and_their_errors_said(two):
    section = two.section("examples")
    captions = [text_of(each) for each in elements(section, "figcaption")]
    assert len(captions) == 4
    for caption, (first, second) in zip(
        captions, [re.findall(r"misses (\d+) of", text) for text in captions], strict=True
    ):
        counts = [
            next(
                image.protocols[PRIMARY]
                for image in each.result.images
                if caption.startswith(" ".join(image.case.image_id.split()))
            )
            for each in two.scored
        ]
        assert "smeared misses" in caption
        assert [int(first), int(second)] == [each.objects - each.detected for each in counts]
        assert [int(text) for text in re.findall(r"(\d+) false alarms", caption)] == [
            each.false_positives for each in counts
        ]


def test_provenance_tells_model_records_and_settings(two):
    section = two.section("provenance")
    assert [text_of(each) for each in elements(section, "h3")] == ["smeared", "sharp", "This evaluation"]
    told = dict(zip(*([text_of(each) for each in elements(section, tag)] for tag in ("dt", "dd")), strict=True))
    assert told["data_set"] == "fake"
    assert told["nothing"] == told["training"] == "none"
    assert '"name": "drawn"' in told["model"]
    assert '"<b>"' in told["records"]


def test_few_patients_are_not_shown_without_a_caution(two):
    few = f"over {len(two.scored[0].result.patients)} patients, fewer than 10, intervals are too narrow"
    assert f"Caution: {few}" in text_of(two.root)
    assert f"Not here: {few}" in text_of(two.section("differences"))
    for name in ("comparison.json", "smeared/metrics.json"):
        assert json.loads((two.folder / name).read_text())["bootstrap"]["caution"].startswith(few)


def test_a_model_that_predicts_much_is_not_shown_without_a_caution(two):
    # At 20 false alarms a mammogram both predict 5 % of the pixels or more, at their own thresholds less.
    cautions = [text_of(each) for each in elements(two.section("figures"), "p") if each.get("class") == "notice"]
    assert [each.partition(":")[0] for each in cautions] == ["Caution, smeared", "Caution, sharp"]
    for caution, each in zip(cautions, two.scored, strict=True):
        metrics = json.loads((two.folder / each.name / "metrics.json").read_text())
        shares = [point["predicted_share"] for point in metrics["operating_points"].values()]
        assert f"up to {max(filter(None, shares)):.0%} of all pixels are predicted" in caution


def test_healthy_mammograms_of_one_patient_make_a_page_that_says_what_is_undefined(tmp_path):
    records = [
        dataclasses.replace(
            each, mask=np.where(each.mask == 1, 0, each.mask).astype(np.uint8), pixel_spacing_mm=None, laterality="",
            patient_id="one",
        )
        for each in (speckled_record(number, 72) for number in range(2))
    ]  # fmt: skip
    nothing = [np.zeros(each.mask.shape, np.uint16) for each in records]
    scored = [score_maps("a", records, nothing, tmp_path / "maps")]
    write(records, scored, tmp_path / "out")
    written = Written(tmp_path / "out", scored, records)
    page = text_of(written.root)
    assert "a: n/a, no calcification pixel in the images" in page
    assert "No intervals: one patient alone cannot be resampled." in page
    assert "False alarms a mammogram there0.0000" in page  # a figure without an interval
    assert not re.search(r"\d \[\d", page)
    drawn = {path.stem for path in (tmp_path / "out").glob("*.pdf")}  # nothing per cm2 of breast, whose area is unknown
    assert drawn == {"froc_zamir", "froc_hdogreg", "froc_picai", "roc", "precision_recall", "strata"}
    assert "No mammogram has an error." in page
    assert text_of(written.section("worst_misses")).count("None.") == 1
    assert "NaN" not in page
    assert "nan" not in re.findall(r"\bnan\b", page)
