import numpy as np
import pytest

from calcseg_tf.evaluation import Evaluation, build_metrics
from calcseg_tf.inference.predictor import Predictor
from calcseg_tf.model_directory import read_info
from calcseg_tf.probability_map import threshold_code
from calcseg_tf.scoring import choose_operating_threshold, score_split
from data_prep.errors import InputError
from data_prep.manifest import read_manifest
from tests.fakes.records import fake_record, write_fake_records
from tests.test_commands import write_model


def record(number, distractor):
    """Two calcifications at full scale, and one bright spot that is none, of the given value."""
    pixels = np.full((40, 40), 400, np.uint16)
    mask = np.zeros(pixels.shape, np.uint8)
    for row in (5, 15):
        pixels[row : row + 2, 20:22] = 4095
        mask[row : row + 2, 20:22] = 1
    pixels[30:32, 20:22] = distractor
    return fake_record(pixels, mask, name=f"image-{number}", patient=f"patient-{number}")


@pytest.fixture
def model_dir(tmp_path):
    return write_model(tmp_path / "model")


@pytest.fixture
def records_dir(tmp_path):
    train = [record(n, distractor) for n, distractor in enumerate((2500, 3000, 400))]
    write_fake_records(tmp_path / "records", {"train": train, "test": [record(9, 400)]})
    return tmp_path / "records"


def probability_of(value):
    return 1 / (1 + np.exp(6 - 12 * value / 4095))


def test_the_threshold_is_the_lowest_that_keeps_the_false_alarms(model_dir, records_dir):
    none = choose_operating_threshold(model_dir, records_dir, 0.0, most_images=8)
    assert probability_of(3000) < none.operating_threshold < probability_of(4095)
    assert "3 training mammograms have at most 0 false alarms" in none.operating_threshold_rule
    assert read_info(model_dir) == none
    # One false alarm in three mammograms: the brighter of the two may stay.
    one = choose_operating_threshold(model_dir, records_dir, 0.34, most_images=8)
    assert probability_of(2500) < one.operating_threshold <= probability_of(3000) + 1e-4


def test_the_threshold_is_chosen_on_every_probability_and_at_the_edge_of_one(model_dir, records_dir):
    # Below it stands the false alarm of 3000 itself: one code lower it would count.
    info = choose_operating_threshold(model_dir, records_dir, 0.0, most_images=8)
    assert threshold_code(info.operating_threshold) == round(probability_of(3000) * 65535) + 1


def test_scoring_the_test_split_changes_nothing_in_the_model(model_dir, records_dir):
    chosen = choose_operating_threshold(model_dir, records_dir, 0.0, most_images=8)
    config = (model_dir / "config.json").read_bytes()
    predictor = Predictor.load(model_dir)
    result = score_split(predictor, read_manifest(records_dir), "test", Evaluation(chosen.operating_threshold))
    assert result.threshold == chosen.operating_threshold
    assert (model_dir / "config.json").read_bytes() == config
    assert "training mammograms" in read_info(model_dir).operating_threshold_rule


def test_workers_give_what_the_process_itself_gives(model_dir, records_dir):
    predictor, manifest = Predictor.load(model_dir), read_manifest(records_dir)
    one, two = (score_split(predictor, manifest, "train", Evaluation(workers=workers)) for workers in (1, 2))
    assert build_metrics(one) == build_metrics(two)
    assert {image.case.view for image in one.images} == {"CC"}
    assert {image.case.pixel_spacing_mm for image in one.images} == {tuple(np.float32([0.07, 0.07]).tolist())}


def test_a_limit_that_no_threshold_keeps_leaves_the_threshold(model_dir, records_dir):
    info = choose_operating_threshold(model_dir, records_dir, -1.0, most_images=8)
    assert info.operating_threshold == 0.5
    assert info.operating_threshold_rule.startswith("kept as it was: no threshold keeps")


def test_no_more_mammograms_are_looked_at_than_asked_for(model_dir, records_dir):
    result = score_split(Predictor.load(model_dir), read_manifest(records_dir), "train", Evaluation(), most_images=2)
    assert [image.case.image_id for image in result.images] == ["image-0", "image-1"]


def test_a_damaged_or_missing_shard_is_named(model_dir, records_dir):
    predictor, manifest = Predictor.load(model_dir), read_manifest(records_dir)
    shard = manifest.shards("test")[0]
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"the manifest says .* bytes; found") as raised:
        score_split(predictor, manifest, "test", Evaluation())
    assert raised.value.where == str(shard)
    shard.unlink()
    with pytest.raises(InputError, match="a shard of the manifest is missing"):
        score_split(predictor, manifest, "test", Evaluation())
