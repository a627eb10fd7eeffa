import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from benchmarks.inference.figures import BREAST, MAMMOGRAM, Context, ScalePoint
from benchmarks.inference.images import Subject, demo_input, scaled_images
from benchmarks.inference.measuring import Measured, agree, choose_window, measure
from benchmarks.inference.peers import PEERS, PeerError, Task, run_tasks
from benchmarks.inference.reference import predict_float64
from benchmarks.inference.report import write_report
from benchmarks.inference.weights import write_weights
from benchmarks.inference.windows import predict_in_windows, spans
from calcseg_tf.model_directory import ModelInfo, save_weights, write_info
from calcseg_tf.models import build_network, model_config
from data_prep.errors import InputError
from data_prep.png import encode_png
from tests.fakes.commands import ROOT

SMALL = {"widths": (4, 8), "kernel_sizes": (3, 5), "head_kernel_size": 3}  # halo 5


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small network with every weight away from 0 and 1, and its directory."""
    keras.utils.set_random_seed(0)
    config = model_config("fcn", **SMALL)
    network, rng = build_network(config), np.random.default_rng(1)
    for layer in network.layers:
        for variable in layer.weights:
            if "normalization/" not in variable.name:
                noise = rng.normal(0, 0.2, variable.shape)
                variable.assign_add(np.abs(noise) if "variance" in variable.name else noise)
    network.get_layer("normalization").set_statistics(0.2, 0.15)
    directory = tmp_path_factory.mktemp("model")
    save_weights(directory, network)
    write_info(directory, ModelInfo(config, None, {}, operating_threshold=0.4))
    return network, directory


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    assert write_weights(model[1], path) == 0.4
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@given(st.integers(1, 500), st.integers(0, 20), st.integers(1, 200))
def test_windows_of_one_size_keep_every_pixel_once_a_halo_from_inner_edges(length, halo, more):
    most = 2 * halo + more
    found = spans(length, most, halo)
    assert {span.stop - span.start for span in found} == {found[0].stop}
    assert found[0].stop <= most
    assert [span.first for span in found] == [0, *(span.last for span in found[:-1])]
    assert found[-1].last == length == found[-1].stop
    for span in found:
        assert span.first < span.last
        assert span.start == 0 or span.first - span.start >= halo
        assert span.stop == length or span.stop - span.last >= halo


def test_windows_are_no_wider_than_they_must_be():
    # 100 px in windows of at most 60 with halos of 5: two, which share 2 x 5 px of halo, so 55 px each.
    assert [(span.start, span.stop, span.first, span.last) for span in spans(100, 60, 5)] == [
        (0, 55, 0, 50),
        (45, 100, 50, 100),
    ]


def test_windows_that_hold_nothing_but_halo_are_refused():
    with pytest.raises(ValueError, match="wider than its halos of 44 px; found 44"):
        spans(100, 44, 22)


def test_prediction_in_windows_equals_that_of_the_whole_image():
    image = np.random.default_rng(0).random((71, 50))

    def blur(window):  # zero-padded, sees 3 px
        return ndimage.uniform_filter(window, 7, mode="constant")

    assert np.abs(predict_in_windows(blur, image, 29, 3) - blur(image)).max() < 1e-15
    assert np.abs(predict_in_windows(blur, image, 29, 2) - blur(image)).max() > 1e-3  # the halo is needed
    assert predict_in_windows(blur, image, 0, 3).tolist() == blur(image).tolist()


def test_the_float64_answer_is_the_networks(model, weights):
    image = np.random.default_rng(2).random((45, 70), np.float32)
    found = predict_float64(weights, image)
    wanted = tf.sigmoid(model[0](image[None, :, :, None], training=False))[0, :, :, 0].numpy()
    assert found.dtype == np.float64
    assert wanted.max() - wanted.min() > 0.5
    assert np.abs(found - wanted).max() < 1e-5


@pytest.mark.slow
def test_the_float64_answer_is_the_published_one(reference_dir, tmp_path):
    from calcseg_tf.importing import import_state_dict

    import_state_dict(reference_dir / "C__00900.weights", tmp_path / "m", 0.1572722182674478, 0.16270082671743363, 0.5)
    write_weights(tmp_path / "m", tmp_path / "weights.npz")
    golden = np.load(reference_dir / "golden_crop.npz")
    corner = golden["image"][:150, :150].astype(np.float32) / np.float32(65535)
    with np.load(tmp_path / "weights.npz") as weights:
        found = predict_float64(weights, corner)
    wanted = 1 / (1 + np.exp(-golden["logit"][:128, :128].astype(np.float64)))
    assert np.abs(found[:128, :128] - wanted).max() < 1e-5


def test_folding_batch_norm_changes_nothing(weights):
    unit = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0 - float(weights["epsilon"])}
    folded = dict(weights)
    for number, width in enumerate(SMALL["widths"], start=1):
        for size in SMALL["kernel_sizes"]:
            for part in ("weight", "bias"):
                folded[f"block{number}.conv{size}.{part}"] = weights[f"folded{number}.conv{size}.{part}"]
        folded.update({f"block{number}.bn.{part}": np.full(width, value) for part, value in unit.items()})
    image = np.random.default_rng(3).random((40, 40), np.float32)
    assert np.abs(predict_float64(folded, image) - predict_float64(weights, image)).max() < 1e-6


def test_peers_know_no_other_network(tmp_path):
    config = model_config("unet", widths=(4, 8))
    write_info(tmp_path, ModelInfo(config, None, {}))
    save_weights(tmp_path, build_network(config))
    with pytest.raises(InputError, match="the peers know the paper's network"):
        write_weights(tmp_path, tmp_path / "weights.npz")


def test_the_demo_computes_eight_bits_of_the_breast_turned_to_the_left():
    image = np.zeros((100, 300), np.float32)
    image[20:90, 180:] = 25700 / 65535  # a breast at the right border, 120 px wide, with 100 in its upper 8 bits
    image[50, 60:63] = 1.0  # a label
    found = demo_input(image)
    assert found.shape == (100, 120)
    assert np.unique(found).tolist() == [0.0, np.float32(100 / 255)]
    assert found[20:90].all()
    assert not found[:20].any()


def test_larger_images_are_made_of_tissue_alone_or_have_the_mammograms_share_of_air():
    breast = np.zeros((700, 1000), bool)
    breast[:, :600] = True
    subject = Subject(np.where(breast, 0.5 + np.random.default_rng(0).random(breast.shape) / 4, 0.1), breast)
    images = scaled_images(subject, 2.8)  # twice as long a side
    everywhere, tissue = images["tissue everywhere"]
    assert everywhere.shape == (1400, 2000)
    assert tissue == 2.8
    assert everywhere.min() >= 0.5
    with_air, tissue = images["air as on the mammogram"]
    assert tissue == pytest.approx(0.6 * 2.8)
    assert np.mean(with_air == 0.1) == 0.4
    assert subject.around_breast(44).shape == (700, 644)


def test_agreement_counts_components_and_pixels_at_the_threshold():
    exact = np.zeros((5, 9))
    exact[1, 1:3], exact[3, 6] = 0.9, 0.45
    found = exact.copy()
    found[3, 6], found[1, 2] = 0.55, 0.5
    agreement = agree(found, exact, 0.5)
    assert (agreement.components, agreement.exact_components, agreement.other_pixels) == (2, 1, 1)
    assert agreement.largest_difference == pytest.approx(0.4)


def answer(seconds, **more):
    about = {"precision": "float32", "Runtime": "1"}
    return {"seconds": seconds, "cpu_seconds": 2 * seconds, "peak_bytes": 10**9, "about": {**about, **more}}


def peer(key):
    return next(peer for peer in PEERS if peer.key == key)


def test_the_fastest_size_of_those_that_fit_is_kept(tmp_path):
    def run(_, window, __):
        if window == 2048:
            raise PeerError("out of memory")
        return [answer({0: 4.0, 512: 2.0, 1024: 3.0}[window])]

    careful, ours = Measured(peer("openvino")), Measured(peer("ours"))
    for row in (careful, ours):
        choose_window(row, run, tmp_path)
    assert (careful.window, careful.tries, ours.window, ours.tries) == (512, {512: 2.0, 1024: 3.0}, 0, {})


def test_the_demo_takes_the_largest_size_that_fits(tmp_path):
    def run(_, window, __):
        if window == 0:
            raise PeerError("out of memory")
        return [answer({2048: 3.0, 1024: 1.0}[window])]

    demo = Measured(peer("demo"))
    choose_window(demo, run, tmp_path)
    assert demo.window == 2048
    assert demo.tries == {0: "out of memory", 2048: 3.0}


def test_a_peer_that_fails_is_told_and_stops_nothing(tmp_path):
    def run(peer, *_):
        if peer.key == "openvino":
            raise PeerError("OpenVINO: no such device")
        return [answer(2.0), answer(1.0)]

    rows = [Measured(peer(key), 512) for key in ("ours", "openvino", "onnxruntime")]
    for row in rows:
        measure(row, run, {MAMMOGRAM: Task(tmp_path), BREAST: Task(tmp_path)})
    text = write_report(tmp_path, context(), rows, [])
    assert "| OpenVINO, float32 | did not finish: OpenVINO: no such device |" in text
    assert "| ONNX Runtime | float32 | 512 px | 2.00 | 1.00 | 2.00 | 1.00 | 0.50 | 1.00 GB |" in text


def context():
    machine = {"processor": "P", "cores": 2, "memory_gb": 8.0, "load_before": 0.0, "instructions": ["avx2"]}
    return Context({MAMMOGRAM: 4.0, BREAST: 2.0, "the demo": 3.0}, 1.0, 0.5, 3, machine)


def test_the_report_takes_ratios_turn_by_turn_and_the_best_peer_of_equal_precision(tmp_path):
    times = {"ours": (2, 4, 2), "demo": (16, 40, 20), "openvino": (6, 10, 8), "openvino_default": (1, 1, 1)}
    rows = []
    for key, turns in times.items():
        row = Measured(peer(key), peer(key).windows[0])
        more = {"precision": "bfloat16"} if key == "openvino_default" else {}
        row.answers[MAMMOGRAM] = [answer(seconds, **more) for seconds in turns]
        if key != "demo":
            row.answers[BREAST] = [answer(seconds / 2, **more) for seconds in turns]
        rows.append(row)
    scale = [ScalePoint("tissue everywhere", size, size, {"ours": cost * size}) for size, cost in ((1, 2.0), (2, 2.2))]
    text = write_report(tmp_path, context(), rows, scale)
    assert "- Best float32 peer, whole mammogram: OpenVINO, float32, 8.00 s, 3.00 times ours" in text  # of 3, 2.5, 4
    assert "- Best float32 peer, breast alone: OpenVINO, float32, 4.00 s, 1.50 times ours" in text
    assert "- The authors' demo: 10.00 times ours." in text  # of 8, 10, 10
    assert "- OpenVINO, its default precision: computes in bfloat16 here." in text
    assert "dearest and cheapest megapixel of tissue of ours differ by 10 %" in text
    assert (tmp_path / "inference.md").read_text() == text + "\n"
    assert json.loads((tmp_path / "inference.json").read_text())["peers"][0]["answers"][MAMMOGRAM][1]["seconds"] == 4
    assert (tmp_path / "inference.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_one_command_measures_ours_the_saved_model_and_the_plain_graph(model, tmp_path):
    random = np.random.default_rng(0)
    image = np.zeros((96, 128), np.uint16)
    image[10:90, :80] = random.integers(20000, 50000, (80, 80))
    (tmp_path / "image.png").write_bytes(encode_png(image))
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.inference", f"--image={tmp_path}/image.png", f"--model_dir={model[1]}",
         f"--output_dir={tmp_path}/out", "--turns=1"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    peers = json.loads((tmp_path / "out" / "inference.json").read_text())["peers"]
    assert [row["peer"]["key"] for row in peers] == ["ours", "saved_model", "plain"]
    assert all(row["agreement"]["largest_difference"] < 1e-4 for row in peers)


def test_a_process_that_ends_early_leaves_its_error(tmp_path):
    # The worker of "runtimes" needs packages that this environment lacks.
    with pytest.raises(PeerError, match=r"^ModuleNotFoundError: No module named 'onnx'$"):
        run_tasks(peer("openvino"), sys.executable, tmp_path, 512, [Task(tmp_path / "image.npy")], 1, 10**10)
