"""Networks with random weights, for where only speed matters: deterministic, operator set 17, batch 1.

Weights are He-initialized; batch normalizations get the statistics that the weights lead to for inputs of variance 1,
with small random deviations, so that calibrated ranges look like those of trained networks.
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Builder:
    """Appends layers to a graph. Tensors are names; `shape` has (channels, height, width), `power` the expected mean square."""

    def __init__(self, name: str, shape: tuple[int, ...], seed: int = 0) -> None:
        self.name, self.random = name, np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.input = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, *shape])
        self.shape: dict[str, tuple[int, ...]] = {"input": shape}
        self.power: dict[str, float] = {"input": 1.0}

    def constant(self, values: np.ndarray) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, operator: str, inputs: list[str], shape: tuple[int, ...], power: float, **attributes: object) -> str:
        output = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        self.shape[output], self.power[output] = shape, power
        return output

    def convolution(self, x: str, channels: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False) -> str:
        inputs, height, width = self.shape[x]
        fan_in = inputs // groups * kernel * kernel
        weights = self.random.normal(0, np.sqrt(2 / fan_in), (channels, inputs // groups, kernel, kernel))
        operands = [x, self.constant(weights.astype(np.float32))]
        if bias:
            operands.append(self.constant(self.random.normal(0, 0.1, channels).astype(np.float32)))
        pad = kernel // 2
        size = tuple((extent + 2 * pad - kernel) // stride + 1 for extent in (height, width))
        return self.node(
            "Conv", operands, (channels, *size), 2 * self.power[x], kernel_shape=[kernel] * 2, strides=[stride] * 2,
            pads=[pad] * 4, group=groups, dilations=[1, 1])

    def normalization(self, x: str, gain: float = 1) -> str:
        channels, power = self.shape[x][0], self.power[x]
        vectors = (
            gain * self.random.uniform(0.8, 1.2, channels), self.random.normal(0, 0.1 * gain, channels),
            self.random.normal(0, 0.1 * np.sqrt(power), channels), power * self.random.uniform(0.8, 1.2, channels))
        constants = [self.constant(values.astype(np.float32)) for values in vectors]
        return self.node("BatchNormalization", [x, *constants], self.shape[x], gain**2, epsilon=1e-5)

    def relu(self, x: str) -> str:
        return self.node("Relu", [x], self.shape[x], self.power[x] / 2)

    def relu6(self, x: str) -> str:
        bounds = [self.constant(np.float32(bound)) for bound in (0, 6)]
        return self.node("Clip", [x, *bounds], self.shape[x], self.power[x] / 2)

    def add(self, x: str, y: str) -> str:
        return self.node("Add", [x, y], self.shape[x], self.power[x] + self.power[y])

    def concat(self, parts: list[str]) -> str:
        channels = sum(self.shape[part][0] for part in parts)
        power = sum(self.shape[part][0] * self.power[part] for part in parts) / channels
        return self.node("Concat", parts, (channels, *self.shape[parts[0]][1:]), power, axis=1)

    def classifier(self, x: str, classes: int) -> str:
        channels = self.shape[x][0]
        x = self.node("GlobalAveragePool", [x], (channels, 1, 1), self.power[x])
        x = self.node("Flatten", [x], (channels,), self.power[x], axis=1)
        return self.dense(x, classes)

    def dense(self, x: str, outputs: int) -> str:
        (inputs,) = self.shape[x]
        weights = self.random.normal(0, np.sqrt(2 / inputs), (outputs, inputs)).astype(np.float32)
        bias = self.random.normal(0, 0.1, outputs).astype(np.float32)
        return self.node("Gemm", [x, self.constant(weights), self.constant(bias)], (outputs,), 2 * self.power[x], transB=1)

    def model(self, output: str) -> onnx.ModelProto:
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, *self.shape[output]])
        graph = helper.make_graph(self.nodes, self.name, [self.input], [result], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="qcc")
        onnx.checker.check_model(model)
        return model


def resnet50() -> onnx.ModelProto:
    """ResNet-50 with the stride in the 3×3 convolutions, 224×224, 4.1 billion multiply-accumulates."""
    b = Builder("resnet50", (3, 224, 224))
    x = b.relu(b.normalization(b.convolution("input", 64, 7, 2)))
    x = b.node("MaxPool", [x], (64, 56, 56), b.power[x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for width, blocks, first_stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            y = b.relu(b.normalization(b.convolution(x, width, 1)))
            y = b.relu(b.normalization(b.convolution(y, width, 3, stride)))
            y = b.normalization(b.convolution(y, 4 * width, 1), gain=0.5)
            if block == 0:
                x = b.normalization(b.convolution(x, 4 * width, 1, stride))
            x = b.relu(b.add(y, x))
    return b.model(b.classifier(x, 1000))


def mobilenet_v2() -> onnx.ModelProto:
    """MobileNetV2 1.0, 224×224, 0.3 billion multiply-accumulates."""
    b = Builder("mobilenetv2", (3, 224, 224))
    x = b.relu6(b.normalization(b.convolution("input", 32, 3, 2)))
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, channels, blocks, first_stride in stages:
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            inputs = b.shape[x][0]
            y = x if expansion == 1 else b.relu6(b.normalization(b.convolution(x, expansion * inputs, 1)))
            inner = b.shape[y][0]
            y = b.relu6(b.normalization(b.convolution(y, inner, 3, stride, groups=inner)))
            y = b.normalization(b.convolution(y, channels, 1))
            x = b.add(x, y) if stride == 1 and inputs == channels else y
    x = b.relu6(b.normalization(b.convolution(x, 1280, 1)))
    return b.model(b.classifier(x, 1000))


def densenet() -> onnx.ModelProto:
    """Three dense blocks of six layers, growth 16, on 32×32 pixels: each layer reads all that came before."""
    b = Builder("densenet", (3, 32, 32))
    x = b.relu(b.normalization(b.convolution("input", 32, 3)))
    for block in range(3):
        for _ in range(6):
            y = b.relu(b.normalization(b.convolution(x, 64, 1)))
            y = b.relu(b.normalization(b.convolution(y, 16, 3)))
            x = b.concat([x, y])
        if block < 2:
            x = b.relu(b.normalization(b.convolution(x, b.shape[x][0] // 2, 3, 2)))
    return b.model(b.classifier(x, 10))


def inception() -> onnx.ModelProto:
    """Four modules of branches with 1×1, 3×3 and 5×5 convolutions, and a pool, joined along channels, on 32×32 pixels."""
    b = Builder("inception", (3, 32, 32))
    x = b.relu(b.normalization(b.convolution("input", 64, 3)))
    for module in range(4):
        stride = 2 if module == 2 else 1
        branches = [
            b.relu(b.normalization(b.convolution(x, 64, 1, stride))),
            b.relu(b.normalization(b.convolution(b.relu(b.normalization(b.convolution(x, 48, 1))), 64, 3, stride))),
            b.relu(b.normalization(b.convolution(b.relu(b.normalization(b.convolution(x, 16, 1))), 32, 5, stride)))]
        pool = b.node("MaxPool", [x], b.shape[x], b.power[x], kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
        x = b.concat([*branches, b.relu(b.normalization(b.convolution(pool, 32, 1, stride)))])
    return b.model(b.classifier(x, 10))


def convolution_chain(channels: tuple[int, int], size: int, kernel: int, depthwise: bool, count: int) -> onnx.ModelProto:
    """`count` convolutions with ReLU, forth and back between two channel counts, so that each does the same work."""
    b = Builder("layers", (channels[0], size, size))
    x = "input"
    for index in range(count):
        outputs = channels[(index + 1) % 2]
        x = b.relu(b.convolution(x, outputs, kernel, groups=outputs if depthwise else 1, bias=True))
    return b.model(x)


def dense_chain(widths: tuple[int, int], count: int) -> onnx.ModelProto:
    """`count` matrix–vector layers with ReLU between them, forth and back between two widths."""
    b = Builder("layers", (widths[0],))
    x = "input"
    for index in range(count):
        x = b.dense(b.relu(x) if index > 0 else x, widths[(index + 1) % 2])
    return b.model(x)


def samples(shape: tuple[int, ...], count: int, seed: int = 1) -> np.ndarray:
    """Inputs of variance 1 for calibration: neighbours in images resemble each other."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 1, (count, *shape))
    if len(shape) == 3:
        for axis in (2, 3):
            values = values + 0.5 * np.roll(values, 1, axis)
        values /= values.std()
    return values.astype(np.float32)


def save(model: onnx.ModelProto, path: pathlib.Path) -> None:
    onnx.save(model, str(path))
