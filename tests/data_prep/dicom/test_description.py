import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from data_prep.dicom.header import ReadOptions
from data_prep.errors import InputError
from data_prep.mammogram import Laterality, SpacingSource, View, read_mammogram
from tests.fakes.dicom import write_dicom
from tests.fakes.folder import fake_pixels


@pytest.mark.parametrize(
    ("header", "spacing", "source"),
    [
        ({"PixelSpacing": [0.07, 0.08]}, (0.07, 0.08), SpacingSource.PIXEL_SPACING),
        ({"PixelSpacing": [0.06, 0.06], "ImagerPixelSpacing": [0.07, 0.07]}, (0.06, 0.06), SpacingSource.PIXEL_SPACING),
        ({"ImagerPixelSpacing": [0.07, 0.07]}, (0.07, 0.07), SpacingSource.IMAGER),
        (
            {"ImagerPixelSpacing": [0.107, 0.107], "EstimatedRadiographicMagnificationFactor": 1.07},
            (0.1, 0.1),
            SpacingSource.IMAGER,
        ),
        (  # not calibrated (PS3.3 10.7.1.3): the two are one value, at the detector
            {
                "PixelSpacing": [0.107, 0.107],
                "ImagerPixelSpacing": [0.107, 0.107],
                "EstimatedRadiographicMagnificationFactor": 1.07,
            },
            (0.1, 0.1),
            SpacingSource.IMAGER,
        ),
        (
            {"ImagerPixelSpacing": [0.1, 0.1], "EstimatedRadiographicMagnificationFactor": 0},
            (0.1, 0.1),
            SpacingSource.IMAGER,
        ),
        (  # calibrated to the same value
            {
                "PixelSpacing": [0.1, 0.1],
                "ImagerPixelSpacing": [0.1, 0.1],
                "EstimatedRadiographicMagnificationFactor": 1.07,
                "PixelSpacingCalibrationType": "GEOMETRY",
            },
            (0.1, 0.1),
            SpacingSource.PIXEL_SPACING,
        ),
        ({"PixelSpacing": 0.07}, None, SpacingSource.UNKNOWN),
        ({"NominalScannedPixelSpacing": [0.05, 0.05]}, (0.05, 0.05), SpacingSource.SCANNED),
        ({"PixelSpacing": [0, 0]}, None, SpacingSource.UNKNOWN),
        ({"PixelSpacing": ["1e-300", "1e-300"]}, None, SpacingSource.UNKNOWN),  # 0 as float32
        ({"PixelSpacing": ["1e300", "0.1"]}, None, SpacingSource.UNKNOWN),  # infinite as float32
        (
            {"ImagerPixelSpacing": [0.1, 0.1], "EstimatedRadiographicMagnificationFactor": "1e300"},
            (0.1, 0.1),
            SpacingSource.IMAGER,
        ),
        ({}, None, SpacingSource.UNKNOWN),
    ],
)
def test_spacing_is_that_in_the_breast_and_names_its_source(tmp_path, header, spacing, source):
    mammogram = read_mammogram(write_dicom(tmp_path / "a.dcm", fake_pixels(0), **header))
    assert mammogram.pixel_spacing_mm == (None if spacing is None else pytest.approx(spacing))
    assert mammogram.spacing_source is source


def view_code(code, *modifiers):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SCT", "view"
    item.ViewModifierCodeSequence = [view_code(modifier)[0] for modifier in modifiers]
    return Sequence([item])


def frame_laterality(value):
    anatomy, shared = Dataset(), Dataset()
    anatomy.FrameLaterality = value
    shared.FrameAnatomySequence = [anatomy]
    return Sequence([shared])


@pytest.mark.parametrize(
    ("header", "laterality", "view"),
    [
        ({"ImageLaterality": "L", "ViewPosition": "MLO"}, Laterality.LEFT, View.MLO),
        ({"Laterality": "R", "PatientOrientation": "CC"}, Laterality.RIGHT, View.CC),  # CBIS-DDSM
        ({"ViewCodeSequence": view_code("399368009")}, Laterality.UNKNOWN, View.MLO),
        ({"ViewCodeSequence": view_code("R-10242")}, Laterality.UNKNOWN, View.CC),
        ({"SharedFunctionalGroupsSequence": frame_laterality("R")}, Laterality.RIGHT, View.UNKNOWN),
        ({"PatientOrientation": ["A", "R"], "ImageLaterality": "B"}, Laterality.UNKNOWN, View.UNKNOWN),
    ],
)
def test_orientation_comes_from_whichever_attribute_holds_it(tmp_path, header, laterality, view):
    mammogram = read_mammogram(write_dicom(tmp_path / "a.dcm", fake_pixels(0), **header))
    assert (mammogram.laterality, mammogram.view) == (laterality, view)


MLO = "399368009"


@pytest.mark.parametrize(
    ("header", "warnings"),
    [
        ({}, ()),
        ({"BurnedInAnnotation": "NO", "BreastImplantPresent": "NO", "PartialView": "NO"}, ()),
        ({"LossyImageCompression": "00", "RescaleSlope": 1, "RescaleIntercept": 0}, ()),
        ({"EstimatedRadiographicMagnificationFactor": 1.07}, ()),
        ({"BurnedInAnnotation": "YES"}, ("burned-in annotation (0028,0301)",)),
        ({"BreastImplantPresent": "YES"}, ("breast implant (0028,1300)",)),
        ({"PartialView": "YES"}, ("partial view (0028,1350)",)),
        ({"ViewCodeSequence": view_code(MLO, "399055006")}, ("spot compression view",)),
        ({"ViewCodeSequence": view_code(MLO, "R-102D6", "R-102D7")}, ("magnification view", "spot compression view")),
        ({"ViewCodeSequence": view_code(MLO, "399209000")}, ("implant displaced view",)),
        ({"ViewCodeSequence": view_code(MLO, "399110001")}, ()),
        ({"ViewCodeSequence": view_code("127457009")}, ("tissue specimen, no breast",)),
        ({"EstimatedRadiographicMagnificationFactor": 1.8}, ("magnification view",)),
        ({"LossyImageCompression": "01"}, ("lossy compression (0028,2110)",)),
        (
            {"RescaleSlope": 2, "RescaleIntercept": -5},
            ("rescale (0028,1052), (0028,1053) is not the identity and not applied: stored values are kept",),
        ),
    ],
)
def test_what_a_person_should_know_is_a_warning(tmp_path, header, warnings):
    assert read_mammogram(write_dicom(tmp_path / "a.dcm", fake_pixels(0), **header)).warnings == warnings


@pytest.mark.parametrize(
    ("syntax", "lossy", "warning"),
    [
        ("jpeg", None, "lossy compression (0028,2110)"),
        ("jpeg-extended", None, "lossy compression (0028,2110)"),
        ("jpeg2000", None, "perhaps lossy compression: (0028,2110) does not tell"),
        ("jpeg2000", "00", None),
        ("jpeg2000", "01", "lossy compression (0028,2110)"),
        (
            "jpeg-ls-near",
            None,
            "perhaps lossy compression: (0028,2110) does not tell",
        ),
        ("jpeg2000-lossless", None, None),
    ],
)
def test_loss_is_told_by_attribute_or_transfer_syntax(tmp_path, syntax, lossy, warning):
    header = {} if lossy is None else {"LossyImageCompression": lossy}
    pixels = fake_pixels(0, 32, 33, bits=8).astype(np.uint8)
    mammogram = read_mammogram(write_dicom(tmp_path / "a.dcm", pixels, bits_stored=8, syntax=syntax, **header))
    assert mammogram.warnings == (() if warning is None else (warning,))


def test_without_a_window_a_falling_rescale_is_refused_with_voi_lut_too(tmp_path):
    falling = {"RescaleSlope": -1, "RescaleIntercept": 4095}
    path = write_dicom(tmp_path / "a.dcm", fake_pixels(0), **falling)
    with pytest.raises(InputError, match=r"RescaleSlope .* must be greater than 0"):
        read_mammogram(path, ReadOptions(voi_lut=True))
    windowed = write_dicom(tmp_path / "b.dcm", fake_pixels(0), WindowCenter=2048, WindowWidth=4096, **falling)
    assert read_mammogram(windowed, ReadOptions(voi_lut=True)).bits_stored == 16


def test_a_missing_window_is_told_where_one_is_asked_for(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", fake_pixels(0))
    mammogram = read_mammogram(path, ReadOptions(voi_lut=True))
    assert mammogram.warnings == ("no window and no VOI LUT in the file: stored values are kept",)
    assert mammogram.bits_stored == 12
    assert mammogram.pixels.tolist() == fake_pixels(0).tolist()
