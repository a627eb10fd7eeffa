import numpy as np
import pytest

from calcseg_tf.prediction import find_images
from data_prep.errors import InputError
from tests.fakes.dicom import write_dicom
from tests.fakes.folder import fake_pixels, write_png


def test_a_folder_gives_its_dicom_and_png_files_by_name(tmp_path):
    write_dicom(tmp_path / "b.dcm", fake_pixels(0))
    write_dicom(tmp_path / "IM0001", fake_pixels(1))  # told by its prefix
    write_png(tmp_path / "a.PNG", np.zeros((3, 3), np.uint16))
    write_png(tmp_path / ".hidden.png", np.zeros((3, 3), np.uint16))
    write_png(tmp_path / "deeper" / "c.png", np.zeros((3, 3), np.uint16))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").write_bytes(b"")
    assert [path.name for path in find_images(tmp_path)] == ["IM0001", "a.PNG", "b.dcm"]
    assert find_images(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]


def test_two_files_of_one_stem_are_refused_since_their_results_would_be_one(tmp_path):
    write_dicom(tmp_path / "a.dcm", fake_pixels(0))
    write_png(tmp_path / "a.png", np.zeros((3, 3), np.uint16))
    with pytest.raises(InputError, match=r"named by the stem, which a\.dcm has too") as raised:
        find_images(tmp_path)
    assert raised.value.where == str(tmp_path / "a.png")


def test_nothing_to_predict_is_said(tmp_path):
    with pytest.raises(InputError, match="found nothing"):
        find_images(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match="must hold a DICOM or PNG file; found none"):
        find_images(tmp_path)
