import pytest
import tensorflow as tf

from calcseg_tf.model_directory import save_weights, write_info
from calcseg_tf.serving.exporting import export_version
from tests.inference.test_tiling import SMALL, info_of, make_network


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    write_info(folder, info_of(**SMALL))
    save_weights(folder, make_network(**SMALL))
    return folder


@pytest.fixture(scope="session")
def exported(model_dir, tmp_path_factory):
    return export_version(model_dir, tmp_path_factory.mktemp("export") / "calcseg")


@pytest.fixture(scope="session")
def signatures(exported):
    return dict(tf.saved_model.load(str(exported)).signatures)
