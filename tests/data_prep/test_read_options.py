import numpy as np

from data_prep.conversion.pipeline import ConvertConfig, make_plan, write_plan
from data_prep.datasets import Folder
from data_prep.dicom.header import ReadOptions
from data_prep.schema import from_example
from data_prep.tfrecord import read_tfrecord
from tests.fakes.dicom import FOR_PROCESSING, fake_uid, write_dicom
from tests.fakes.folder import fake_mask, fake_pixels, write_png


def test_options_of_reading_go_from_the_config_through_the_records_into_the_manifest(tmp_path):
    for number in range(3):
        window = {"WindowCenter": 2048, "WindowWidth": 1, "VOILUTFunction": "LINEAR_EXACT"}
        header = {"SOPClassUID": FOR_PROCESSING, "study_uid": fake_uid(7, number), **window}
        write_dicom(tmp_path / "in" / f"{number}.dcm", fake_pixels(number), patient_id=f"ID-{number}", **header)
        write_png(tmp_path / "in" / f"{number}.png", fake_mask(number))
    options = ReadOptions(for_processing=True, voi_lut=True)
    manifest = write_plan(
        make_plan(ConvertConfig(Folder(), tmp_path / "in", tmp_path / "out", read_options=options))
    ).manifest
    records = [
        from_example(one)
        for split in ("train", "test")
        for path in manifest.shards(split)
        for one in read_tfrecord(path)
    ]
    assert [record.bits_stored for record in records] == [16, 16, 16]
    black_and_white = {tuple(np.unique(record.pixels).tolist()) for record in records}
    assert all(values[0] == 0 and values[-1] == 65535 for values in black_and_white)
    assert manifest.flags["for_processing"] is True
    assert manifest.flags["voi_lut"] is True


def test_without_options_a_mammogram_for_processing_is_rejected_with_its_reason(tmp_path):
    for number in range(3):
        kind = {"SOPClassUID": FOR_PROCESSING} if number == 2 else {}
        write_dicom(
            tmp_path / f"{number}.dcm",
            fake_pixels(number),
            patient_id=f"ID-{number}",
            study_uid=fake_uid(7, number),
            **kind,
        )
        write_png(tmp_path / f"{number}.png", fake_mask(number))
    plan = make_plan(ConvertConfig(Folder(), tmp_path, tmp_path / "out"))
    assert [bad.file for bad in plan.rejected] == ["2.dcm"]
    assert "--for_processing reads it" in plan.rejected[0].reason
