import numpy as np
import pytest

from data_prep.datasets import Folder, Overrides
from data_prep.errors import InputError
from data_prep.mammogram import Laterality, View
from tests.fakes.dicom import write_dicom
from tests.fakes.folder import fake_mask, fake_pixels, write_png


def add(root, *names):
    for name in names:
        if name.endswith((".png", ".PNG")):
            write_png(root / name, fake_mask(0))
        elif name.endswith("/"):
            (root / name).mkdir(parents=True)
        else:
            write_dicom(root / name, fake_pixels(0))


def pairs(listing, root):
    return {
        case.file: (
            case.annotation.calcifications.relative_to(root).as_posix(),
            case.annotation.ignore and case.annotation.ignore.relative_to(root).as_posix(),
        )
        for case in listing.cases
    }


def test_images_and_masks_lie_side_by_side_at_any_depth(tmp_path):
    add(tmp_path, "a.dcm", "a.png", "sub/b.DCM", "sub/b_mask.png", "sub/b_ignore.png", "c.png", "c_mask.PNG")
    listing = Folder().list_cases(tmp_path)
    assert pairs(listing, tmp_path) == {
        "a.dcm": ("a.png", None),
        "c.png": ("c_mask.PNG", None),
        "sub/b.DCM": ("sub/b_mask.png", "sub/b_ignore.png"),
    }
    assert [case.key for case in listing.cases] == ["a", "c", "sub/b"]
    assert listing.rejected == ()


def test_images_and_masks_lie_in_two_folders_of_the_same_structure(tmp_path):
    add(tmp_path, "images/a.dcm", "masks/a.png", "images/p/b.png", "masks/p/b.png", "masks/p/b_ignore.png")
    listing = Folder().list_cases(tmp_path)
    assert pairs(listing, tmp_path) == {
        "images/a.dcm": ("masks/a.png", None),
        "images/p/b.png": ("masks/p/b.png", "masks/p/b_ignore.png"),
    }
    assert [case.key for case in listing.cases] == ["a", "p/b"]


def test_a_dicom_file_needs_no_suffix(tmp_path):
    add(tmp_path, "IM0001", "IM0001.png", "1.2.840.33", "1.2.840.33.png")
    assert set(pairs(Folder().list_cases(tmp_path), tmp_path)) == {"IM0001", "1.2.840.33"}


def test_other_files_are_passed_over(tmp_path):
    add(tmp_path, "a.dcm", "a.png", ".hidden.dcm", ".git/b.dcm", "DICOMDIR")
    for name in ("notes.txt", "table.csv", "x.json", "empty", "Thumbs.db"):
        (tmp_path / name).write_text("")
    assert len(Folder().list_cases(tmp_path).cases) == 1
    assert Folder().list_cases(tmp_path).rejected == ()


def test_links_to_folders_are_followed_once(tmp_path):
    add(tmp_path, "data/a.dcm", "data/a.png")
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "data")
    assert [case.file for case in Folder().list_cases(root).cases] == ["link/a.dcm"]


@pytest.mark.parametrize(
    ("files", "rejected"),
    [
        (["a.dcm"], {"a.dcm": "found no <stem>.png or <stem>_mask.png"}),
        (["a.png"], {"a.png": "found no <stem>_mask.png"}),
        (["a.dcm", "a.png", "a_mask.png"], {"a.dcm": "has one mask; found both <stem>.png and <stem>_mask.png"}),
        (["a.dcm", "a", "a.png"], {"a": "differ in the suffix", "a.dcm": "differ in the suffix"}),
        (["b_mask.png"], {"b_mask.png": "needs its image"}),
        (["a.dcm", "a.png", "b_ignore.png"], {"b_ignore.png": "needs its image"}),
        (
            ["images/a.dcm", "masks/", "masks/b.png"],
            {"images/a.dcm": "no <stem>.png", "masks/b.png": "needs its image"},
        ),
    ],
)
def test_what_has_no_partner_is_rejected_by_name(tmp_path, files, rejected):
    add(tmp_path, *(name for name in files if name.endswith("/")))
    add(tmp_path, *(name for name in files if not name.endswith("/")))
    found = {bad.file: bad.reason for bad in Folder().list_cases(tmp_path).rejected}
    assert found.keys() == rejected.keys()
    assert all(rule in found[name] for name, rule in rejected.items())


def test_a_missing_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        Folder().list_cases(tmp_path / "none")


def test_cases_csv_replaces_what_the_files_say(tmp_path):
    add(tmp_path, "a.dcm", "a.png", "sub/c.png", "sub/c_mask.png")
    (tmp_path / "cases.csv").write_text(
        "\ufefffile,patient,laterality,view,pixel_spacing_mm\n"
        "sub/c.png, p7 ,l,mlo,0.05;0.06\n"
        "\n"
        'a.dcm,,,,"0.07"\n'
    )  # fmt: skip
    overrides = {case.file: case.overrides for case in Folder().list_cases(tmp_path).cases}
    assert overrides == {
        "sub/c.png": Overrides("p7", Laterality.LEFT, View.MLO, (0.05, 0.06)),
        "a.dcm": Overrides(None, None, None, (0.07, 0.07)),
    }


def test_cases_csv_may_leave_out_the_folder_of_images(tmp_path):
    add(tmp_path, "images/a.png", "masks/a.png")
    (tmp_path / "cases.csv").write_text("patient,file\np1,a.png\n")
    assert Folder().list_cases(tmp_path).cases[0].overrides.patient == "p1"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "needs the column 'file'"),
        ("patient\np1\n", "needs the column 'file'"),
        ("file,file\na.dcm,a.dcm\n", "no column twice"),
        ("file,pacient\na.dcm,p1\n", "column 2 is none; did you mean patient?"),
        ("file,patient\na.dcm\n", "line 2: a row has 2 cells; found 1"),
        ("file,patient\na.dcm,1\na.dcm,2\n", "line 3: file must name an image, and each only once"),
        ("file,patient\n../data/a.dcm,1\n", "line 2: file must be an image of this data set"),
        ("file,patient\n/etc/passwd,1\n", "line 2: file must be an image of this data set"),
        ("file,patient\nb.dcm,1\n", "line 2: file must be an image of this data set, relative to its folder"),
        ("file,patient\nsub/a.dcm,1\n", "did you mean a.dcm?"),
        ("file,laterality\na.dcm,both\n", "line 2: laterality must be L or R, or empty"),
        ("file,view\na.dcm,top\n", "view must be one of CC, MLO"),
        (
            "file,pixel_spacing_mm\na.dcm,0\n",
            "pixel_spacing_mm must be a length of 0.001 to 10 or row;column, or empty",
        ),
        ("file,pixel_spacing_mm\na.dcm,0.1;0.1;0.1\n", "row;column"),
        ("file,pixel_spacing_mm\na.dcm,nan\n", "row;column"),
        ("file,pixel_spacing_mm\na.dcm,1e-300\n", "row;column"),
        ("file,pixel_spacing_mm\na.dcm,0.07;1e300\n", "row;column"),
        ("file,split\na.dcm,valid\n", "split must be train or test, or empty"),
        ('file\n"a.dcm\n', "not a table of comma-separated values"),
    ],
)
def test_a_bad_row_of_cases_csv_is_one_clear_line(tmp_path, text, rule):
    add(tmp_path, "a.dcm", "a.png")
    (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        Folder().list_cases(tmp_path)
    assert rule in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "cases.csv"))
    assert "\n" not in str(caught.value)


def test_cases_csv_must_be_utf_8(tmp_path):
    add(tmp_path, "a.dcm", "a.png")
    (tmp_path / "cases.csv").write_bytes("file,patient\na.dcm,Müller\n".encode("latin-1"))
    with pytest.raises(InputError, match="UTF-8"):
        Folder().list_cases(tmp_path)


def test_masks_found_by_name_alone_are_not_opened(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"")
    (tmp_path / "a.png").write_bytes(b"")
    assert len(Folder().list_cases(tmp_path).cases) == 1
    assert np.size(Folder().list_cases(tmp_path).rejected) == 0


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize("mask", ["a.png", "a_mask.png", "a.tif", "a_mask.TIFF", "a.npy", "a_mask.npy", "a_seg.dcm"])
@pytest.mark.parametrize("ignore", [None, "a_ignore.png", "a_ignore.tif", "a_ignore.npy", "a_ignore_seg.dcm"])
def test_a_mask_beside_its_image_has_any_of_four_forms(tmp_path, mask, ignore):
    touch(tmp_path, "a.dcm", mask, *([] if ignore is None else [ignore]))
    listing = Folder().list_cases(tmp_path)
    assert pairs(listing, tmp_path) == {"a.dcm": (mask, ignore)}
    assert listing.rejected == ()
    assert listing.cases[0].annotation.image == tmp_path / "a.dcm"


@pytest.mark.parametrize("mask", ["a.npy", "a.tiff", "a_mask.tif", "a_seg.dcm", "a_mask.png"])
def test_a_png_mammogram_may_have_a_mask_of_another_form(tmp_path, mask):
    touch(tmp_path, "a.png", mask)
    assert pairs(Folder().list_cases(tmp_path), tmp_path) == {"a.png": (mask, None)}


@pytest.mark.parametrize("mask", ["a.npy", "a.tif", "a.dcm", "a_seg.dcm", "a_mask.npy"])
def test_every_dicom_file_among_masks_is_a_segmentation(tmp_path, mask):
    touch(tmp_path, "images/p/a.dcm", f"masks/p/{mask}", "masks/p/a_ignore.dcm")
    assert pairs(Folder().list_cases(tmp_path), tmp_path) == {
        "images/p/a.dcm": (f"masks/p/{mask}", "masks/p/a_ignore.dcm")
    }


@pytest.mark.parametrize(
    ("files", "file", "rule"),
    [
        (["a.dcm", "a.png", "a.npy"], "a.dcm", "has one mask; found both <stem>.npy and <stem>.png"),
        (["a.dcm", "a.tif", "a_seg.dcm"], "a.dcm", "has one mask; found both <stem>.tif and <stem>_seg.dcm"),
        (["a.dcm", "a.npy", "a_ignore.npy", "a_ignore.png"], "a.dcm", "has one mask of what to ignore; found both"),
        (["b_seg.dcm"], "b_seg.dcm", "a mask needs its image"),
        (["b.npy"], "b.npy", "a mask needs its image"),
    ],
)
def test_masks_that_are_too_many_or_alone_are_rejected_by_name(tmp_path, files, file, rule):
    touch(tmp_path, *files)
    listing = Folder().list_cases(tmp_path)
    assert listing.cases == ()
    assert [bad.file for bad in listing.rejected] == [file]
    assert rule in listing.rejected[0].reason
