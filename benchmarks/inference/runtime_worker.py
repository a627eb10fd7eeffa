"""The paper's network in ONNX Runtime or OpenVINO, in an environment that has them and `onnx`.

Both read one ONNX graph, written here from the weights with batch norm folded into the convolutions: the exporters
leave it in, for the concatenation stands between. Ways: "onnxruntime"; "openvino" in float32; "openvino_default" in
whatever precision OpenVINO chooses on this machine.
"""

from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.inference.worker import Peer, answer_tasks, arguments

_OPSET, _IR_VERSION = 17, 9


def main() -> None:
    """Runs one of the ways."""
    way, path, threads = arguments()
    weights = np.load(path)
    make = onnxruntime_network if way == "onnxruntime" else openvino_network
    network, about = make(onnx_model(weights).SerializeToString(), threads, way)
    answer_tasks(Peer(network, int(weights["halo"]), {**about, "onnx": metadata.version("onnx")}))


def onnx_model(weights: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Returns the network: `image` to `probability`, float32 [1, 1, height, width]."""
    nodes, constants = [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def convolution(x: str, name: str) -> str:
        kernel = constant(f"{name}.weight", weights[f"{name}.weight"])
        bias = constant(f"{name}.bias", weights[f"{name}.bias"])
        size = weights[f"{name}.weight"].shape[-1]
        nodes.append(
            helper.make_node("Conv", [x, kernel, bias], [name], kernel_shape=[size, size], pads=[size // 2] * 4)
        )
        return name

    nodes.append(helper.make_node("Sub", ["image", constant("mean", weights["mean"])], ["centred"]))
    nodes.append(
        helper.make_node("Div", ["centred", constant("deviation", weights["standard_deviation"])], ["normalised"])
    )
    x = "normalised"
    for number in range(1, int(weights["blocks"]) + 1):
        branches = [convolution(x, f"folded{number}.conv{size}") for size in weights["kernel_sizes"]]
        nodes.append(helper.make_node("Concat", branches, [f"joined{number}"], axis=1))
        nodes.append(helper.make_node("Relu", [f"joined{number}"], [x := f"block{number}"]))
    nodes.append(helper.make_node("Sigmoid", [convolution(x, "pred")], ["probability"]))
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, "height", "width"])
        for name in ("image", "probability")
    ]
    graph = helper.make_graph(nodes, "fcn", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return model


def onnxruntime_network(model: bytes, threads: int, _: str) -> tuple[Callable[[np.ndarray], np.ndarray], dict]:
    """Returns the network and what the report says of it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    about = {"ONNX Runtime": onnxruntime.__version__, "precision": "float32"}
    return lambda window: session.run(None, {"image": window[None, None]})[0][0, 0], about


def openvino_network(model: bytes, threads: int, way: str) -> tuple[Callable[[np.ndarray], np.ndarray], dict]:
    """Returns the network, compiled for each size of window, and what the report says of it."""
    import openvino

    core = openvino.Core()
    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if way == "openvino":
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    compiled: dict[tuple[int, ...], openvino.CompiledModel] = {}

    def network(window: np.ndarray) -> np.ndarray:
        if window.shape not in compiled:
            compiled.clear()
            graph = core.read_model(model)
            graph.reshape([1, 1, *window.shape])
            compiled[window.shape] = core.compile_model(graph, "CPU", settings)
        return compiled[window.shape]({"image": window[None, None]})["probability"][0, 0].copy()

    graph = core.compile_model(core.read_model(model), "CPU", settings)
    precision = graph.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    about = {"OpenVINO": openvino.__version__.split("-")[0], "precision": {"f32": "float32", "bf16": "bfloat16"}.get(
        precision, precision)}  # fmt: skip
    return network, about


if __name__ == "__main__":
    main()
