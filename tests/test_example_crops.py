import numpy as np

from calcseg_tf.example_crops import CROP_SIZE_PX, crop_of, draw_crop, training_crops
from tests.fakes.records import fake_record, write_fake_records


def picture(height=400, width=500):
    return np.linspace(0, 0.5, height * width, dtype=np.float32).reshape(height, width)


def test_the_crop_lies_where_most_calcifications_are_and_holds_the_pixels_of_there():
    mask = np.zeros((400, 500), np.uint8)
    mask[20:50, 30:60] = 1  # one coarse calcification
    mask[300:306:2, 400] = 1  # three small ones
    crop = crop_of("training mammogram", "image-1", picture(), mask)
    assert (crop.top, crop.left) == (300 - CROP_SIZE_PX // 2, 400 - CROP_SIZE_PX // 2)
    assert crop.mask.sum() == 3
    np.testing.assert_array_equal(crop.intensity, picture()[204:396, 304:496])
    np.testing.assert_array_equal(crop.cut(mask), crop.mask)
    assert crop.title == "training mammogram image-1, 192 px from row 204, column 304"


def test_a_mammogram_smaller_than_the_crop_is_completed_by_ignored_pixels():
    mask = np.zeros((50, 60), np.uint8)
    mask[5, 5] = 1
    crop = crop_of("training mammogram", "image-1", picture(50, 60), mask)
    assert crop.intensity.shape == crop.mask.shape == (CROP_SIZE_PX, CROP_SIZE_PX)
    assert (crop.mask[:50, :60] == mask).all()
    assert (crop.mask[50:] == 255).all()
    assert (crop.mask[:, 60:] == 255).all()


def test_without_a_calcification_there_is_no_crop():
    assert crop_of("training mammogram", "image-1", picture(), np.full((400, 500), 255, np.uint8)) is None


def test_training_crops_are_of_different_patients_first(tmp_path):
    mask = np.zeros((40, 40), np.uint8)
    empty, mask[3, 3] = mask.copy(), 1
    pixels = np.arange(1600, dtype=np.uint16).reshape(40, 40)
    patients = ["a", "a", "a", "b", "c"]
    records = [fake_record(pixels, mask, name=f"image-{n}", patient=p) for n, p in enumerate(patients)]
    records.append(fake_record(pixels, empty, name="image-empty", patient="d"))
    manifest = write_fake_records(tmp_path, {"train": records, "test": [fake_record(name="other")]})
    names = [crop.title.split(",")[0].split()[-1] for crop in training_crops(manifest)]
    assert names == ["image-0", "image-3", "image-4", "image-1"]


def test_a_picture_shows_input_annotation_and_heat_map_from_blue_to_red():
    mask = np.zeros((192, 192), np.uint8)
    mask[50:60, 50:60] = 1
    mask[100:110, 50:60] = 255
    probability = np.zeros((192, 192))
    probability[20:60], probability[100:140] = 0.12, 1.0
    crop = crop_of("training mammogram", "image-1", np.full((192, 192), 0.5, np.float32), mask)
    drawn = draw_crop(crop, probability, "epoch 5")
    shown = [drawn[60:444, left : left + 384][::2, ::2].astype(int) for left in (12, 408, 804)]
    assert [panel.shape for panel in shown] == [(192, 192, 3)] * 3
    assert np.ptp(shown[0], axis=2).max() == 0  # the input is grey
    np.testing.assert_array_equal(shown[1][..., 0] == 255, mask == 1)
    np.testing.assert_array_equal(shown[1][..., 0] == 110, mask == 255)
    red, blue = shown[2][..., 0], shown[2][..., 2]
    np.testing.assert_array_equal(blue - red > 60, probability == 0.12)
    np.testing.assert_array_equal(red - blue > 60, probability == 1.0)


def test_an_id_that_looks_like_a_formula_is_drawn_as_text():
    mask = np.zeros((400, 500), np.uint8)
    mask[3, 3] = 1
    crop = crop_of("training mammogram", "a$\\frac$b", picture(), mask)
    assert draw_crop(crop, crop.intensity, "epoch 1").shape[2] == 3
