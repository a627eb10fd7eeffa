import json

import keras
import numpy as np
import pytest

from calcseg_tf.importing import import_state_dict
from calcseg_tf.inference.predictor import Predictor
from calcseg_tf.inference.tiling import TiledNetwork
from calcseg_tf.model_directory import load_network
from data_prep.errors import InputError
from data_prep.only_run import only_run_in
from tests.fakes.torch_file import write_legacy, write_zip

MEAN, DEVIATION = 0.1572722182674478, 0.16270082671743363  # shared/reference/README.md


def tiny_state(width=4, blocks=1, head=3):
    """The paper's keys for a network of `blocks` blocks, with random values."""
    rng = np.random.default_rng(0)
    state, channels = {}, 1
    for block in range(1, blocks + 1):
        for size in (3, 5, 7, 9):
            shape = (width // 4, channels, size, size)
            state[f"block{block}.conv{size}.weight"] = rng.normal(size=shape).astype(np.float32)
            state[f"block{block}.conv{size}.bias"] = rng.normal(size=width // 4).astype(np.float32)
        for part in ("weight", "bias", "running_mean"):
            state[f"block{block}.bn.{part}"] = rng.normal(size=width).astype(np.float32)
        state[f"block{block}.bn.running_var"] = rng.uniform(0.5, 1, width).astype(np.float32)
        state[f"block{block}.bn.num_batches_tracked"] = np.array(7, np.int64)
        channels = width
    state["pred.weight"] = rng.normal(size=(1, channels, head, head)).astype(np.float32)
    state["pred.bias"] = rng.normal(size=1).astype(np.float32)
    return state


def imported(path, model_dir, **values):
    given = {"mean": MEAN, "standard_deviation": DEVIATION, "threshold": 0.5}
    return import_state_dict(path, model_dir, **{**given, **values})


@pytest.fixture(scope="module")
def published(reference_dir, tmp_path_factory):
    model_dir = tmp_path_factory.mktemp("published") / "model"
    return imported(reference_dir / "C__00900.weights", model_dir), model_dir


def logit(probability):
    probability = probability.astype(np.float64)
    return np.log(probability / (1 - probability))


def test_the_published_weights_give_the_published_logits(published, reference_dir):
    network, _ = published
    assert sum(int(np.prod(variable.shape)) for variable in network.trainable_variables) == 447_553
    golden = np.load(reference_dir / "golden_crop.npz")
    intensity = (golden["image"].astype(np.float32) / np.float32(65535))[None, :, :, None]
    tiles = TiledNetwork(lambda image: network(image, training=False), halo_px=22, tile_size=256)
    found = tiles.whole(intensity).numpy()[0, :, :, 0]
    assert np.abs(found - golden["logit"]).max() < 1e-4
    assert int((found > 0).sum()) == 2683


def test_the_imported_model_directory_predicts_the_same(published, reference_dir):
    _, model_dir = published
    golden = np.load(reference_dir / "golden_crop.npz")
    # The bottom right part: its lower and right borders are the crop's own.
    intensity = golden["image"][300:, 300:].astype(np.float32) / np.float32(65535)
    probability = Predictor.load(model_dir).probability(intensity)
    inner = (slice(22, None), slice(22, None))
    expected = 1 / (1 + np.exp(-golden["logit"][300:, 300:].astype(np.float64)))
    np.testing.assert_allclose(probability[inner], expected[inner], atol=1e-5)


@pytest.mark.parametrize("write", [write_legacy, write_zip])
def test_a_state_dict_is_computed_as_pytorch_would(tmp_path, write):
    state = tiny_state()
    imported(write(tmp_path / "x.pth", state), tmp_path / "model", mean=0.25, standard_deviation=0.5, threshold=0.3)
    network, info = load_network(tmp_path / "model")
    assert (info.model.widths, info.model.head_kernel_size, info.operating_threshold) == ((4,), 3, 0.3)
    assert info.training is None
    image = np.random.default_rng(1).random((12, 11)).astype(np.float32)
    found = network(image[None, :, :, None]).numpy()[0, :, :, 0]
    np.testing.assert_allclose(found, by_hand(state, (image - 0.25) / 0.5), rtol=1e-4, atol=1e-4)


def by_hand(state, image):
    """The network in NumPy: cross-correlation with zero padding, batch norm with epsilon 1e-5, ReLU, head."""
    branches = [
        correlate(image[None], state[f"block1.conv{size}.weight"], state[f"block1.conv{size}.bias"])
        for size in (3, 5, 7, 9)
    ]
    x = np.concatenate(branches)
    weight, bias, mean, variance = (
        state[f"block1.bn.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
    )
    x = np.maximum((x - mean) / np.sqrt(variance + 1e-5) * weight + bias, 0)
    return correlate(x, state["pred.weight"], state["pred.bias"])[0]


def correlate(x, kernels, biases):
    """x [in, height, width] with OIHW kernels: [out, height, width]."""
    half = kernels.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (half, half), (half, half)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernels.shape[2:], axis=(1, 2))
    return np.einsum("ihwkl,oikl->ohw", windows, kernels) + biases[:, None, None]


def broken(change):
    state = tiny_state()
    change(state)
    return state


WRONG = {
    "lacks block1.conv5.bias": lambda state: state.pop("block1.conv5.bias"),
    "lacks block1.bn.running_var": lambda state: state.pop("block1.bn.running_var"),
    "must have block1.bn.weight and pred.weight": lambda state: state.pop("pred.weight"),
    "must have block1": lambda state: state.clear(),
    "lacks pred.bias": lambda state: state.pop("pred.bias"),
    "holds tensors that the network lacks: extra": lambda state: state.update(extra=np.ones(1, np.float32)),
    r"block1.conv3.weight must be \[3, 3, 1, 1\] \(HWIO\); found \[5, 5, 1, 1\]": lambda state: state.update(
        {"block1.conv3.weight": np.ones((1, 1, 5, 5), np.float32)}
    ),
    r"block1.bn.bias must be \[4\]": lambda state: state.update({"block1.bn.bias": np.ones(5, np.float32)}),
    "multiples of 4": lambda state: state.update({"block1.bn.weight": np.ones(6, np.float32)}),
    "must have 4 dimensions .OIHW.; found 0": lambda state: state.update({"pred.weight": np.array(1, np.float32)}),
    "must be odd and positive; found 4": lambda state: state.update({"pred.weight": np.ones((1, 4, 4, 4), np.float32)}),
    "pred.bias holds values that are not finite": lambda state: state.update({"pred.bias": np.full(1, np.nan)}),
    "block1.bn.bias holds values that are not finite": lambda state: state.update(
        {"block1.bn.bias": np.full(4, 1e300)}
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_state_dict_is_one_line_that_names_the_file(tmp_path, message):
    path = write_legacy(tmp_path / "x.pth", broken(WRONG[message]))
    with pytest.raises(InputError, match=message) as raised:
        imported(path, tmp_path / "model")
    assert raised.value.where == str(path)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "model").exists()


def test_a_folder_that_holds_a_model_is_left_alone(tmp_path):
    path = write_zip(tmp_path / "x.pth", tiny_state())
    imported(path, tmp_path / "model")
    before = {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()}
    assert json.loads(before["config.json"])["data"]["intensity_mean"] == MEAN
    with pytest.raises(InputError, match="already holds a model") as raised:
        imported(path, tmp_path / "model", threshold=0.7)
    assert raised.value.where == str(tmp_path / "model")
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mean": float("nan")}, "--intensity_mean must be 0 to 1; found nan"),
        ({"mean": 40.0}, "--intensity_mean must be 0 to 1; found 40"),
        ({"standard_deviation": 0.0}, "--intensity_standard_deviation must be above 0"),
        ({"standard_deviation": float("inf")}, "found inf"),
        ({"threshold": 1.0}, "between 0 and 1; found 1.0"),
    ],
)
def test_wrong_statistics_leave_nothing_behind(tmp_path, values, message):
    path = write_zip(tmp_path / "x.pth", tiny_state())
    with pytest.raises(InputError, match=message):
        imported(path, tmp_path / "model", **values)
    assert not (tmp_path / "model").exists()


def test_an_import_waits_for_no_other_and_takes_what_a_killed_one_left(tmp_path):
    path = write_zip(tmp_path / "weights.pth", tiny_state())
    with only_run_in(tmp_path / "model", ""), pytest.raises(InputError, match="another run is writing into this"):
        imported(path, tmp_path / "model")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / f".model.weights.h5.{16 * 'a'}.partial.weights.h5").write_bytes(b"half of")
    imported(path, tmp_path / "model")
    assert sorted(each.name for each in (tmp_path / "model").iterdir()) == ["config.json", "model.weights.h5"]


def test_weights_of_somebody_else_are_not_replaced(tmp_path):
    path = write_zip(tmp_path / "x.pth", tiny_state())
    (tmp_path / "model").mkdir()
    theirs = tmp_path / "model" / "model.weights.h5"
    keras.Sequential([keras.layers.Dense(1, input_shape=(1,))]).save_weights(tmp_path / "other.weights.h5")
    for content in (b"no HDF5", (tmp_path / "other.weights.h5").read_bytes()):
        theirs.write_bytes(content)
        with pytest.raises(InputError, match="holds other weights") as raised:
            imported(path, tmp_path / "model")
        assert raised.value.where == str(theirs)
        assert theirs.read_bytes() == content
