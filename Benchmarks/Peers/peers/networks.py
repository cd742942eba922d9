"""What is measured: trained networks, networks with random weights, and chains of one layer."""

import functools
import pathlib
import re
import sys
from dataclasses import dataclass
from typing import Callable

import numpy as np
import onnx

from . import generate
from .environment import CACHE, HERE, ROOT, digest

sys.path.append(str(ROOT / "Benchmarks" / "Accuracy"))
import benchmark_models  # noqa: E402  the trained models with their data and preprocessing

TRAINED = ("resnet8-mlperf-tiny", "resnet20", "resnet56", "fashion-dscnn", "efficientnet-lite0")
GENERATED: dict[str, Callable[[], onnx.ModelProto]] = {"mobilenetv2": generate.mobilenet_v2, "resnet50": generate.resnet50}
CALIBRATION_SAMPLES = 64
"""For trained networks; those with random weights take a quarter."""


@dataclass(frozen=True)
class Layer:
    """A layer that is measured in chains: the time of one is the difference between a long and a short chain."""

    name: str
    build: Callable[[int], onnx.ModelProto]
    macs: int
    long: int = 5

    def chain(self, count: int) -> str:
        return f"{self.name}.x{count}"


def _convolution(name: str, channels: tuple[int, int], size: int, kernel: int, depthwise: bool = False, long: int = 5) -> Layer:
    macs = size * size * kernel * kernel * (channels[0] if depthwise else channels[0] * channels[1])
    return Layer(name, functools.partial(generate.convolution_chain, channels, size, kernel, depthwise), macs, long)


def _dense(name: str, widths: tuple[int, int], long: int) -> Layer:
    return Layer(name, functools.partial(generate.dense_chain, widths), widths[0] * widths[1], long)


LAYERS = {
    layer.name: layer for layer in (
        _convolution("3x3-64-64-at-56", (64, 64), 56, 3),
        _convolution("1x1-256-64-at-56", (256, 64), 56, 1),
        _convolution("3x3-256-256-at-14", (256, 256), 14, 3),
        _convolution("3x3-128-128-at-28", (128, 128), 28, 3),
        _convolution("depthwise-3x3-96-at-56", (96, 96), 56, 3, depthwise=True),
        _dense("dense-2048-1000", (2048, 1000), 9),
        _dense("dense-4096-4096", (4096, 4096), 3))
}
DENSE = tuple(name for name in LAYERS if name.startswith("dense"))


@dataclass(frozen=True)
class Network:
    """A float network of batch 1 and its calibration samples, as files that every contender is given."""

    name: str
    model: pathlib.Path
    calibration: pathlib.Path

    @property
    def key(self) -> str:
        return digest(self.model, self.calibration)

    def samples(self) -> np.ndarray:
        return np.load(self.calibration)

    def input(self) -> tuple[str, tuple[int, ...]]:
        value = onnx.load(str(self.model), load_external_data=False).graph.input[0]
        return value.name, tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)

    def write_folded(self, path: pathlib.Path) -> None:
        """A copy for converters that cannot follow computed shapes and strided slices: these become poolings of one element."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(self.model), options, providers=["CPUExecutionProvider"])
        model = onnx.load(str(path))
        _pool_every_second(model)
        onnx.save(model, str(path))


def _pool_every_second(model: onnx.ModelProto) -> None:
    """Two slices that take every second row and column become a pooling of one element with a stride."""
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    def halves(node: onnx.NodeProto | None, axis: int) -> bool:
        return node is not None and node.op_type == "Slice" and [
            constants[name].tolist() for name in (node.input[1], *node.input[3:])] == [[0], [axis], [2]]

    producers = {node.output[0]: node for node in model.graph.node}
    for node in list(model.graph.node):
        before = producers.get(node.input[0])
        if halves(node, 3) and before is not None and halves(before, 2):
            node.CopyFrom(
                onnx.helper.make_node("MaxPool", before.input[:1], node.output, node.name, kernel_shape=[1, 1], strides=[2, 2]))
            model.graph.node.remove(before)


def _fixed(path: pathlib.Path) -> onnx.ModelProto:
    """The trained model with batch 1, in an operator set that all the peers' tools take."""
    model = onnx.load(str(path))
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    if model.opset_import[0].version < 13:
        model = onnx.version_converter.convert_version(model, 13)
    return onnx.shape_inference.infer_shapes(model)


def _source(name: str) -> bytes:
    """What the files of a network depend on."""
    text = pathlib.Path(__file__).read_bytes() + (HERE / "peers" / "generate.py").read_bytes()
    if name in TRAINED:
        text += benchmark_models.chosen([name])[0].path.read_bytes()
    return text


def network(name: str) -> Network:
    """Makes the files of a network, or finds them in the cache."""
    folder = CACHE / "networks" / f"{name}-{digest(name, _source(name))}"
    result = Network(name, folder / "float.onnx", folder / "calibration.npy")
    if not result.calibration.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if name in TRAINED:
            entry = benchmark_models.chosen([name])[0]
            images, _ = benchmark_models.read(entry.calibration)
            step = max(1, len(images) // CALIBRATION_SAMPLES)
            model, samples = _fixed(entry.path), benchmark_models.prepare(entry, images[::step][:CALIBRATION_SAMPLES])
        else:
            chain = re.fullmatch(r"(.+)\.x(\d+)", name)
            model = LAYERS[chain[1]].build(int(chain[2])) if chain else GENERATED[name]()
            shape = tuple(dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim)
            samples = generate.samples(shape[1:], CALIBRATION_SAMPLES // 4)
        onnx.save(model, str(result.model))
        np.save(result.calibration, samples)
    return result
