"""What a person sees of evaluation.html in a real browser: on a desk, on a phone, in the dark."""

import dataclasses
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from data_prep.command import DISCLAIMER
from tests.evaluation.test_report import scored_models, some_records, write

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome is installed to look with"),
]

# Measures the page in a frame of a phone's width: a window of Chromium's is never narrower than 500 px.
MEASURE = """<!DOCTYPE html><title>m</title><iframe src="page.html" style="border:0;width:{width}px;height:{height}px">
</iframe><script>
addEventListener("load", () => {{
  const inside = document.querySelector("iframe").contentDocument;
  const found = [...inside.images].filter(image => image.complete && image.naturalWidth > 0).length;
  document.title = [inside.documentElement.scrollWidth, found, inside.images.length].join(" ");
}});
</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    records = [dataclasses.replace(each, image_id=f"{each.image_id}-{'long' * 20}") for each in some_records()]
    write(records, scored_models(records, folder / "maps"), folder / "out", "Evaluation of two models")
    shutil.copyfile(folder / "out" / "evaluation.html", folder / "page.html")
    return folder


def browse(folder, page, *arguments, size="1200,2400"):
    return subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr",
            "--allow-file-access-from-files", "--virtual-time-budget=5000", f"--user-data-dir={folder / 'browser'}",
            f"--window-size={size}", *arguments, (folder / page).as_uri(),
        ],
        capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip


@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_fits_a_phone_and_a_desk_and_every_picture_is_there(folder, width):
    (folder / "frame.html").write_text(MEASURE.format(width=width, height=2000))
    ended = browse(folder, "frame.html", "--dump-dom")
    scroll_width, loaded, images = map(int, re.search(r"<title>([\d ]+)</title>", ended.stdout)[1].split())
    assert scroll_width <= width
    assert loaded == images > 10


def test_the_browser_has_nothing_to_complain_of(folder):
    ended = browse(folder, "page.html", "--dump-dom")
    assert ended.stdout.count(DISCLAIMER) >= 2
    assert [line for line in ended.stderr.splitlines() if re.search(r"CONSOLE|Refused|Uncaught", line)] == []


def test_the_page_is_light_or_dark_as_the_reader_likes(folder):
    brightness = {}
    for name, arguments in {"light": [], "dark": ["--blink-settings=preferredColorScheme=0"]}.items():
        screenshot = folder / f"{name}.png"
        browse(folder, "page.html", f"--screenshot={screenshot}", *arguments, size="1200,900")
        painted = np.asarray(Image.open(screenshot).convert("L"))
        brightness[name] = np.median(painted)
        assert painted.std() > 10  # text and tables are on it
    assert brightness["light"] > 240
    assert brightness["dark"] < 40
