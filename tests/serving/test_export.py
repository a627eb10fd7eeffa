import io
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2

from calcseg_tf.inference.predictor import Predictor
from calcseg_tf.model_directory import read_info
from calcseg_tf.serving.exporting import export_version
from calcseg_tf.serving.metadata import read_metadata
from data_prep.command import DISCLAIMER
from data_prep.errors import InputError, UnfinishedError
from data_prep.only_run import only_run_in
from tests.fakes.commands import assert_one_line_error, run_modules
from tests.fakes.folder import write_png
from tests.test_checkpointing import full_disk

STRANGER = pathlib.Path(__file__).with_name("stranger.py")


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def random_pixels(height, width, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 65536, (height, width), dtype=np.uint16)
    pixels[:, : width // 3] = 0
    return pixels


def test_names_shapes_and_types_are_the_contract(signatures):
    # SMALL sees 5 px: windows of 512 + 2 x 5.
    image, text = ("float32", [None, None, None, 1]), ("string", [None])
    contract = {
        "serving_default": ({"image": image}, {"probability": image}),
        "predict_png": ({"image_bytes": text}, {"probability_bytes": text}),
        "predict_tiles": (
            {"image": ("float32", [None, 522, 522, 1]), "origin": ("int32", [None, 2]), "size": ("int32", [None, 2])},
            {"probability": ("float32", [None, 512, 512, 1])},
        ),
        "metadata": ({"client": text}, {"metadata": text}),
    }
    found = {
        name: tuple(
            {key: (spec.dtype.name, spec.shape.as_list()) for key, spec in specs.items()}
            for specs in (call.structured_input_signature[1], call.structured_outputs)
        )
        for name, call in signatures.items()
    }
    assert found == contract


@pytest.mark.parametrize("size", [(1, 1), (30, 41), (300, 270)])
def test_the_default_signature_equals_the_predictor(signatures, model_dir, size):
    intensity = (random_pixels(*size) / 65535).astype(np.float32)
    found = signatures["serving_default"](image=tf.constant(intensity[None, :, :, None]))["probability"]
    expected = Predictor.load(model_dir).probability(intensity)
    np.testing.assert_allclose(found[0, :, :, 0], expected, rtol=0, atol=1e-6)


def test_a_batch_gives_what_its_images_give_alone(signatures):
    serve = signatures["serving_default"]
    images = np.random.default_rng(2).random((3, 40, 33, 1)).astype(np.float32)
    images[1] = 0
    together = serve(image=tf.constant(images))["probability"].numpy()
    for image, found in zip(images, together, strict=True):
        np.testing.assert_allclose(serve(image=tf.constant(image[None]))["probability"][0], found, rtol=0, atol=1e-6)


def test_pngs_of_several_sizes_come_back_as_16_bit_pngs(signatures, model_dir):
    sent = [random_pixels(20, 31, 1), random_pixels(65, 9, 2), random_pixels(1, 1, 3)]
    replies = signatures["predict_png"](image_bytes=tf.constant([png(each) for each in sent]))["probability_bytes"]
    predictor = Predictor.load(model_dir)
    for pixels, reply in zip(sent, replies.numpy(), strict=True):
        assert reply[24:26] == b"\x10\x00"  # 16 bits, grey
        codes = tf.io.decode_png(reply, dtype=tf.uint16).numpy()[..., 0]
        expected = predictor.probability((pixels / 65535).astype(np.float32))
        assert codes.shape == pixels.shape
        np.testing.assert_allclose(codes / 65535, expected, rtol=0, atol=0.5 / 65535 + 1e-6)


def test_only_stock_operations_are_in_the_graph(signatures):
    known = {name for name in dir(tf.raw_ops) if not name.startswith("_")}
    for signature in signatures.values():
        graph = signature.graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        # Functions are called by their own names.
        functions = {function.signature.name for function in graph.library.function}
        assert not {node.op for node in nodes} - known - functions


def test_the_config_goes_along(exported, model_dir):
    extra = exported / "assets.extra" / "config.json"
    assert extra.read_bytes() == (model_dir / "config.json").read_bytes()
    assert json.loads(extra.read_text())["disclaimer"] == DISCLAIMER


def test_a_changed_bit_of_any_file_shows_in_its_checksum(exported, tmp_path):
    sums = pathlib.Path("assets.extra", "SHA256SUMS")
    copy = shutil.copytree(exported, tmp_path / "1")

    def check():
        line = ["sha256sum", "--check", "--strict", "--quiet", sums]
        return subprocess.run(line, cwd=copy, capture_output=True, text=True, check=False)

    assert check().returncode == 0
    files = {path.relative_to(copy) for path in copy.rglob("*") if path.is_file()}
    assert {pathlib.Path(line[66:]) for line in (copy / sums).read_text().splitlines()} == files - {sums}
    for name in files - {sums}:
        whole = (copy / name).read_bytes()
        (copy / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert f"{name}: FAILED" in check().stdout
        (copy / name).write_bytes(whole)


def test_metadata_lie_beside_the_model_and_are_served_as_they_lie(exported, model_dir, signatures):
    text = (exported / "assets.extra" / "metadata.json").read_text()
    told = signatures["metadata"](client=tf.constant(["a", "b"]))["metadata"].numpy()
    assert [each.decode() for each in told] == [text, text]
    content = json.loads(text)
    assert content["contract_version"] == 2
    assert content["operating_threshold"] == 0.5
    assert content["operating_threshold_rule"] == "default, not chosen on data"
    assert content["model"]["name"] == "fcn"
    assert content["normalization"]["mean"] == pytest.approx(0.2)
    assert content["normalization"]["standard_deviation"] == pytest.approx(0.15)
    assert content["tiles"] == {"tile_px": 512, "halo_px": 5, "origin_multiple_px": 1, "window_px": 522}
    assert content["disclaimer"] == DISCLAIMER
    assert set(content["signatures"]) == set(signatures)
    assert content["signatures"]["predict_tiles"]["inputs"]["image"] == {
        "dtype": "float32",
        "shape": [None, 522, 522, 1],
    }
    assert read_metadata(text, "server").info == read_info(model_dir)


def test_every_warm_up_request_is_a_real_one_that_the_model_answers(exported, signatures):
    path = exported / "assets.extra" / "tf_serving_warmup_requests"
    called = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        assert request.model_spec.name == "calcseg"
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        assert signatures[request.model_spec.signature_name](**inputs)
        called.append(request.model_spec.signature_name)
    # Twice where there are two branches; at most 1,000 records are taken.
    twice = ["predict_png", "predict_tiles", "serving_default"]
    assert sorted(called) == sorted(["metadata", *twice, *twice])


@pytest.mark.slow
def test_versions_count_up_and_are_never_replaced(exported, model_dir, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(exported, out / exported.name)
    exported = out / exported.name
    flags = [f"--model_dir={model_dir}", f"--output_dir={out}"]
    (tmp_path / "file").write_text("not a folder")
    before = (exported / "saved_model.pb").read_bytes()
    second, taken, negative, no_model, no_folder = run_modules("calcseg_tf.export", [
        flags, [*flags, "--version=1"], [*flags, "--version=-1"],
        [f"--model_dir={tmp_path / 'none'}", f"--output_dir={tmp_path / 'x'}"],
        [f"--model_dir={model_dir}", f"--output_dir={tmp_path / 'file'}"],
    ])  # fmt: skip
    assert exported.name == "1"
    assert second.returncode == 0, second.stderr
    assert f"SavedModel: {out / '2'}\n" in second.stdout
    assert DISCLAIMER in second.stdout
    assert_one_line_error(taken, exported, "this version exists")
    assert_one_line_error(negative, "--version must be 0 or more; found -1")
    assert_one_line_error(no_model, "--model_dir must be a folder")
    assert_one_line_error(no_folder, tmp_path / "file")
    assert sorted(os.listdir(out)) == ["1", "2"]
    assert (exported / "saved_model.pb").read_bytes() == before
    assert not (tmp_path / "x").exists()


def test_the_next_version_is_one_more_than_the_highest_there_is(model_dir, tmp_path):
    for name in ("3", "7", "notes"):
        (tmp_path / name).mkdir()
    assert export_version(model_dir, tmp_path).name == "8"
    assert sorted(os.listdir(tmp_path)) == ["3", "7", "8", "notes"]


def test_an_export_that_fails_leaves_nothing(model_dir, tmp_path, monkeypatch):
    def fail(served, directory):
        (directory / "variables").mkdir(parents=True)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("calcseg_tf.serving.exporting.save_model", fail)
    (tmp_path / "out" / ".4.partial" / "variables").mkdir(parents=True)  # of a killed process
    with pytest.raises(UnfinishedError, match="No space"):
        export_version(model_dir, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []
    with pytest.raises(InputError, match="needs config"):
        export_version(tmp_path, tmp_path / "other")


@pytest.mark.slow
def test_a_process_without_this_project_serves_the_model(exported, model_dir, tmp_path):
    pixels = random_pixels(290, 120)
    write_png(tmp_path / "image.png", pixels)
    (tmp_path / "elsewhere").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [sys.executable, "-P", str(STRANGER), str(exported), str(tmp_path / "image.png"), str(tmp_path / "out.png")],
        cwd=tmp_path / "elsewhere",
        env={**environment, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "290 x 120 px" in ended.stdout
    expected = Predictor.load(model_dir).probability((pixels / 65535).astype(np.float32))
    found = np.asarray(Image.open(tmp_path / "out.png"))
    np.testing.assert_allclose(found / 65535, expected, rtol=0, atol=0.5 / 65535 + 1e-6)


def test_a_second_export_into_the_folder_is_refused(model_dir, tmp_path):
    refused = pytest.raises(InputError, match="another run is exporting into this --output_dir")
    with only_run_in(tmp_path / "out", ""), refused:
        export_version(model_dir, tmp_path / "out")


def test_a_full_disk_is_one_line_and_leaves_no_part_of_the_version(model_dir, tmp_path):
    with full_disk() as fill:
        fill()
        with pytest.raises(UnfinishedError, match="File too large") as raised:
            export_version(model_dir, tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()
