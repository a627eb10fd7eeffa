"""What a prediction is told beside the image."""

import pytest

from calcseg_tf.prediction import describe_other_reading
from data_prep.dicom.header import ReadOptions


@pytest.mark.parametrize(
    ("learned", "read", "told"),
    [({"voi_lut": True}, False, True), ({"voi_lut": True}, True, False), ({}, False, False), ({}, True, False)],
)
def test_a_model_of_windowed_records_says_so_where_images_are_read_without(learned, read, told):
    note = describe_other_reading({"training_data": learned}, ReadOptions(voi_lut=read))
    assert bool(note) == told
    assert ("--voi_lut" in note) == told
