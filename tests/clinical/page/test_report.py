import base64
import hashlib
import io
import json

import numpy as np
import pytest
from PIL import Image

from calcseg_tf.clinical.content import statistics_content
from calcseg_tf.clinical.page.steps import THRESHOLDS, measure_steps
from data_prep.command import DISCLAIMER
from tests.clinical.page.making import OPERATING, case, measured, written
from tests.fakes.pages import elements, parse_page, text_of

_EVIL = "<script>alert(1)</script>\"'&<!--</title>"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return parse_page(written(tmp_path_factory.mktemp("page") / "report.html", *case(), title=_EVIL).read_text())


def _block(page, name):
    (found,) = [each.text for each in elements(page, "script") if each.get("class") == name]
    return found


def _pixels(page, name):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(_block(page, name)))))


def test_the_steps_are_the_thresholds_and_the_operating_one_each_measured_by_measure():
    intensity, codes = case()
    operating = measured(intensity, codes)
    steps = measure_steps(codes, intensity, operating)
    assert [step.threshold for step in steps] == sorted([*THRESHOLDS, OPERATING])
    assert steps == [measured(intensity, codes, threshold=step.threshold) for step in steps]
    assert len({step.count for step in steps}) > 3


def test_an_operating_threshold_that_is_offered_anyway_is_there_once():
    intensity, codes = case()
    steps = measure_steps(codes, intensity, measured(intensity, codes, threshold=0.7))
    assert [step.threshold for step in steps] == list(THRESHOLDS)


def test_thresholds_in_the_noise_are_left_out():
    codes = np.zeros((300, 300), np.uint16)
    codes[::2, ::2] = int(0.25 * 65535)  # 22,500 specks
    codes[10, 10] = 65535
    intensity = np.zeros(codes.shape, np.float32)
    steps = measure_steps(codes, intensity, measured(intensity, codes))
    assert [step.threshold for step in steps] == sorted([OPERATING, *(each for each in THRESHOLDS if each > 0.2)])
    noisy = measured(intensity, codes, threshold=0.2)
    assert [step.threshold for step in measure_steps(codes, intensity, noisy)] == [
        0.2, *(each for each in THRESHOLDS if each > 0.2)
    ]  # fmt: skip


def test_the_page_holds_the_figures_of_every_step_as_statistics_json_does(page):
    intensity, codes = case()
    data = json.loads(_block(page, "data"))
    steps = measure_steps(codes, intensity, measured(intensity, codes))
    for held, step in zip(data["steps"], steps, strict=True):
        assert held["statistics"] == json.loads(json.dumps(statistics_content(step)))
        assert held["area_px"] == [each.area_px for each in step.calcifications]
        assert held["row"] == [each.row for each in step.calcifications]
    assert data["steps"][data["operating"]]["statistics"]["threshold"] == OPERATING


def test_the_page_holds_image_and_map_at_full_resolution(page):
    intensity, codes = case()
    np.testing.assert_array_equal(_pixels(page, "image"), np.rint(intensity * np.float32(4095)))
    np.testing.assert_array_equal(_pixels(page, "map"), np.where(codes >= 6554, codes, 0))


def test_twelve_bits_stay_as_they_are(tmp_path):
    stored = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    held = parse_page(
        written(tmp_path / "p.html", stored / np.float32(4095), np.zeros((64, 64), np.uint16)).read_text()
    )
    np.testing.assert_array_equal(_pixels(held, "image"), stored)


def test_a_title_that_is_html_is_text(page):
    assert text_of(next(elements(page, "h1"))) == _EVIL
    assert next(elements(page, "title")).text == f"{_EVIL}: calcifications"
    assert [each.get("class") for each in elements(page, "script")] == ["data", "image", "map", None]
    assert text_of(next(elements(page, "body"))).count(DISCLAIMER) == 2


def test_the_policy_allows_this_script_and_style_alone(page):
    (policy,) = [each.get("content") for each in elements(page, "meta") if each.get("http-equiv")]
    digest = {
        tag: base64.b64encode(hashlib.sha256(list(elements(page, tag))[-1].text.encode()).digest()).decode()
        for tag in ("script", "style")
    }
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{digest['script']}'; style-src 'sha256-{digest['style']}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not [each for tag in ("img", "link", "iframe", "a") for each in elements(page, tag)]


def test_the_same_image_gives_the_same_page(tmp_path):
    assert written(tmp_path / "a", *case()).read_bytes() == written(tmp_path / "b", *case()).read_bytes()
