import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from data_prep.annotation import MaskImages, count_calcifications
from data_prep.errors import InputError
from tests.fakes.folder import write_png


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16])
def test_every_value_but_zero_is_a_calcification(tmp_path, dtype):
    drawn = np.array([[0, 1, 2], [255, 0, 17]]).astype(dtype)
    annotation = MaskImages(write_png(tmp_path / "mask.png", drawn))
    mask = annotation.mask((2, 3))
    assert mask.dtype == np.uint8
    assert mask.tolist() == [[0, 1, 1], [1, 0, 1]]


def test_ignore_wins_only_where_there_is_no_calcification(tmp_path):
    calcifications = write_png(tmp_path / "mask.png", np.array([[0, 9, 0]], np.uint8))
    ignore = write_png(tmp_path / "ignore.png", np.array([[3, 3, 0]], np.uint8))
    assert MaskImages(calcifications, ignore).mask((1, 3)).tolist() == [[255, 1, 0]]


def test_a_mask_of_another_size_names_itself_and_both_sizes(tmp_path):
    good = write_png(tmp_path / "mask.png", np.zeros((2, 3), np.uint8))
    bad = write_png(tmp_path / "ignore.png", np.zeros((3, 2), np.uint8))
    for call in (MaskImages(good, bad).check, MaskImages(good, bad).mask):
        with pytest.raises(InputError, match=r"2 x 3 .* found 3 x 2") as caught:
            call((2, 3))
        assert caught.value.where == str(bad)


def test_a_colour_mask_a_missing_mask_and_a_truncated_mask_are_refused(tmp_path):
    colour = write_png(tmp_path / "colour.png", np.zeros((2, 3, 3), np.uint8))
    cut = tmp_path / "cut.png"
    cut.write_bytes(write_png(tmp_path / "whole.png", np.eye(64, dtype=np.uint8)).read_bytes()[:-30])
    MaskImages(cut).check((64, 64))  # the header is whole
    for path, rule in ((colour, "mode RGB"), (tmp_path / "none.png", "cannot be read"), (cut, "not a readable PNG")):
        with pytest.raises(InputError, match=rule) as caught:
            MaskImages(path).mask((64, 64))
        assert caught.value.where == str(path)


def test_calcifications_are_8_connected_components_and_ignored_pixels_join_nothing():
    mask = np.array(
        [
            [1, 0, 0, 0, 1],
            [0, 1, 0, 0, 255],
            [0, 0, 0, 0, 1],
            [1, 1, 0, 0, 0],
        ],
        np.uint8,
    )
    assert count_calcifications(mask) == 4
    assert count_calcifications(np.zeros((3, 3), np.uint8)) == 0


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 255])))
def test_the_count_agrees_with_another_library(mask):
    assert count_calcifications(mask) == ndimage.label(mask == 1, np.ones((3, 3)))[1]
