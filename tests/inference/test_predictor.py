import tensorflow as tf

from calcseg_tf.inference.predictor import Predictor
from calcseg_tf.model_directory import save_weights, write_info
from tests.inference.test_tiling import SMALL, info_of, make_network


def test_a_loaded_model_computes_in_whole_float32_on_gpus_too(tmp_path):
    write_info(tmp_path / "model", info_of(**SMALL))
    save_weights(tmp_path / "model", make_network(**SMALL))
    tf.config.experimental.enable_tensor_float_32_execution(True)
    Predictor.load(tmp_path / "model")
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
