"""The SavedModel where Python or TensorFlow is absent: the C API, as servers use it, and OpenVINO."""

import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from calcseg_tf.inference.predictor import Predictor
from data_prep.png import decode_grey_png, encode_png

SOURCE = pathlib.Path(__file__).with_name("stranger.c")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc to compile the C program with")
    package = pathlib.Path(tf.sysconfig.get_lib())
    binary = tmp_path_factory.mktemp("c") / "stranger"
    libraries = [f"-l:lib{name}.so.2" for name in ("tensorflow_cc", "tensorflow_framework")]
    subprocess.run(
        [compiler, "-std=c11", "-Wall", "-Werror", f"-I{tf.sysconfig.get_include()}", str(SOURCE), "-o", str(binary),
         f"-L{package}", *libraries, f"-Wl,-rpath,{package}"],
        check=True,
    )  # fmt: skip
    return binary


@pytest.fixture(scope="module")
def operations(exported):
    """Of each signature with one input: the names of the operations to feed and to fetch."""
    content = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    found = {}
    for name, signature in content.meta_graphs[0].signature_def.items():
        if len(signature.inputs) == 1:
            ((fed,), (fetched,)) = (
                [value.name.rsplit(":", 1) for value in each.values()] for each in (signature.inputs, signature.outputs)
            )
            found[name] = [fed[0], *fetched]
    return found


def run(program, exported, operations, data, *form):
    return subprocess.run(
        [str(program), str(exported), *operations, *map(str, form)],
        input=data, capture_output=True, timeout=120, check=False, env={"TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip


def test_the_c_api_predicts_floats(program, exported, operations, model_dir):
    intensity = np.random.default_rng(0).random((300, 41), np.float32)
    ended = run(program, exported, operations["serving_default"], intensity.tobytes(), "floats", 1, 300, 41, 1)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.split()[-4:] == [b"1", b"300", b"41", b"1"]
    found = np.frombuffer(ended.stdout, np.float32).reshape(300, 41)
    np.testing.assert_allclose(found, Predictor.load(model_dir).probability(intensity), rtol=0, atol=1e-5)


def test_the_c_api_predicts_pngs_and_tells_metadata(program, exported, operations, model_dir):
    stored = np.random.default_rng(1).integers(0, 65536, (50, 60)).astype(np.uint16)
    ended = run(program, exported, operations["predict_png"], encode_png(stored), "bytes")
    assert ended.returncode == 0, ended.stderr
    expected = Predictor.load(model_dir).probability((stored / 65535).astype(np.float32))
    np.testing.assert_allclose(decode_grey_png(ended.stdout, 16) / 65535, expected, rtol=0, atol=0.5 / 65535 + 1e-5)
    ended = run(program, exported, operations["metadata"], b"anybody", "bytes")
    assert ended.stdout == (exported / "assets.extra" / "metadata.json").read_bytes()


@pytest.mark.parametrize(
    ("shape", "fill", "told"),
    [
        ((4, 5, 1), 0.5, b"[4,5,1] is not compatible with expected shape [?,?,?,1]"),
        ((1, 4, 5, 3), 0.5, b"[1,4,5,3] is not compatible with expected shape [?,?,?,1]"),
        (
            (1, 4, 5, 1),
            7.0,
            b"stored value / (2^BitsStored - 1); found 7.000000 to 7.000000",
        ),
    ],
)
def test_a_session_is_held_to_the_rules_too(program, exported, operations, shape, fill, told):
    data = np.full(shape, fill, np.float32).tobytes()
    ended = run(program, exported, operations["serving_default"], data, "floats", *shape)
    assert ended.returncode == 3
    assert b"code 3: " in ended.stderr  # INVALID_ARGUMENT
    assert told in ended.stderr


@pytest.mark.slow
def test_openvino_runs_predict_tiles(exported, monkeypatch):
    # It reports to its makers what it converts, unless it finds no way to.
    monkeypatch.setitem(sys.modules, "openvino_telemetry", None)
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    loaded = tf.saved_model.load(str(exported))
    call = loaded.signatures["predict_tiles"]
    # Of itself it takes 16 bits where the processor multiplies them faster.
    runtime = openvino.compile_model(openvino.convert_model(call), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    image = np.random.default_rng(3).random((2, 522, 522, 1), np.float32)
    for origin, size in ((100, 2000), (0, 512), (0, 100)):  # inside; at two borders; the image ends within the tile
        places = {"origin": np.full((2, 2), origin, np.int32), "size": np.full((2, 2), size, np.int32)}
        expected = call(image=tf.constant(image), **{name: tf.constant(value) for name, value in places.items()})
        found = runtime({"image": image, **places})[0]
        np.testing.assert_allclose(found, expected["probability"], rtol=0, atol=1e-5)
