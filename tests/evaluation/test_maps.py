import re
import struct

import numpy as np
import pytest
from PIL import Image

from calcseg_tf.evaluation.maps import KeptMaps, MapFolder
from data_prep.errors import InputError
from data_prep.png import encode_png

CODES = np.array([[0, 1, 32768], [65535, 163, 164]], np.uint16)


def test_png_and_npy_give_the_same_codes(tmp_path):
    (tmp_path / "one.png").write_bytes(encode_png(CODES))
    for number, kind in enumerate(("<f4", ">f8", "<f8")):
        np.save(tmp_path / f"array-{number}.npy", np.asfortranarray((CODES / 65535).astype(kind)))
    folder = MapFolder(tmp_path)
    for image_id in ("one", "array-0", "array-1", "array-2"):
        codes = folder.codes(image_id, (2, 3))
        assert codes.dtype == np.uint16
        np.testing.assert_array_equal(codes, CODES)


def npy(values):
    return lambda path: np.save(path.with_suffix(".npy"), values)


def nan():
    values = np.zeros((2, 3), np.float32)
    values[1, 1] = np.nan
    return values


def header(shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n".encode()
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    return lambda path: path.with_suffix(".npy").write_bytes(data)


BAD = {
    "NaN": (npy(nan()), r"probabilities lie in [0, 1]; found nan"),
    "above 1": (npy(np.full((2, 3), 1.5)), "found 1.5 to 1.5"),
    "below 0": (npy(np.full((2, 3), -0.25)), "found -0.25 to -0.25"),
    "logits": (npy(np.full((2, 3), -7, np.int64)), "float or uint16; found int64"),
    "another size": (npy(np.zeros((3, 2))), "the size of its mammogram, 2 x 3; found 3 x 2"),
    "a channel": (npy(np.zeros((2, 3, 1))), "found 2 x 3 x 1"),
    "a number": (npy(np.float64(0.5)), "found a single number"),
    "pickled": (npy(np.array([{}], object)), "not a readable .npy array"),
    "an archive": (lambda path: np.savez(path.with_suffix(".npy").open("wb"), CODES), "an .npz archive"),
    "no array": (lambda path: path.with_suffix(".npy").write_bytes(b"\x93NUMPY"), "not a readable .npy array"),
    "a shape past any number": (header(f"{10**30}, 1"), "not a readable .npy array"),
    "brackets without end": (header("((((("), "not a readable .npy array"),
    "a number behind 5,000 signs": (header("-" * 5000 + "1"), "not a readable .npy array"),
    "nothing": (lambda path: path.with_suffix(".npy").write_bytes(b""), "not a readable .npy array"),
    "8 bits": (lambda path: path.write_bytes(encode_png(np.zeros((2, 3), np.uint8))), "must have 16 bits"),
    "colour": (lambda path: Image.new("RGB", (3, 2)).save(path), "one grey channel"),
    "cut off": (lambda path: path.write_bytes(encode_png(CODES)[:50]), "not a readable PNG"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_map_is_one_clear_line_that_names_the_file(tmp_path, name):
    write, said = BAD[name]
    write(tmp_path / "image.png")
    with pytest.raises(InputError, match=re.escape(said)) as raised:
        MapFolder(tmp_path).codes("image", (2, 3))
    assert raised.value.where in {str(tmp_path / "image.png"), str(tmp_path / "image.npy")}
    assert "\n" not in str(raised.value)


def test_every_image_has_one_map_and_that_is_known_before_the_work(tmp_path):
    (tmp_path / "one.png").write_bytes(encode_png(CODES))
    folder = MapFolder(tmp_path)
    folder.require(["one"])
    with pytest.raises(InputError, match=r"two\.png or two\.npy; found neither"):
        folder.require(["one", "two"])
    np.save(tmp_path / "one.npy", CODES / 65535)
    with pytest.raises(InputError, match="found both"):
        folder.require(["one"])
    with pytest.raises(InputError, match="no such folder of probability maps"):
        MapFolder(tmp_path / "nowhere")


@pytest.mark.parametrize("image_id", ["../secret", "/etc/passwd", "a/b", "nul\0"])
def test_an_id_does_not_lead_out_of_the_folder(tmp_path, image_id):
    (tmp_path / "maps").mkdir()
    (tmp_path / "secret.png").write_bytes(encode_png(CODES))
    with pytest.raises(InputError, match="the name of a file"):
        MapFolder(tmp_path / "maps").codes(image_id, (2, 3))


def test_an_id_too_long_for_a_file_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"found neither|cannot be looked up"):
        MapFolder(tmp_path).codes("x" * 5000, (2, 3))


def test_what_was_kept_comes_back_down_to_the_lowest_code_whatever_the_id(tmp_path):
    kept = KeptMaps(tmp_path, lowest_code=164)
    for image_id in ("plain", "../../<script>", "nul\0", "x" * 5000):
        kept.keep(image_id, CODES)
        assert kept.codes(image_id, CODES.shape).tolist() == [[0, 0, 32768], [65535, 0, 164]]
    assert len(list(tmp_path.iterdir())) == 4
