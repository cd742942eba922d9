"""Post-training quantization in ncnn's own int8 format, as its programs ncnn2table and ncnn2int8 do, which the wheel lacks.

Weights are symmetric by output channel, activations symmetric by tensor with the largest magnitude of the samples; a
convolution whose result goes to convolutions alone writes bytes (`top_blob_int8_scales`). Speed does not depend on the scales.
"""

import pathlib
import struct
from dataclasses import dataclass, field

import numpy as np

FLOAT_TAG, INT8_TAG = 0, 0x000D4B38
CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise")


@dataclass
class Layer:
    """A line of a .param file, with the layer's part of the .bin file."""

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    parameters: dict[int, str]
    weights: np.ndarray | None = None
    bias: np.ndarray | None = None
    scales: dict[str, float] = field(default_factory=dict)

    @property
    def has_weights(self) -> bool:
        return self.kind in (*CONVOLUTIONS, "InnerProduct")

    def number(self, key: int, default: int = 0) -> int:
        return int(self.parameters.get(key, default))

    @property
    def weight_count(self) -> int:
        return self.number(6) if self.kind in CONVOLUTIONS else self.number(2)

    @property
    def has_bias(self) -> bool:
        return bool(self.number(5) if self.kind in CONVOLUTIONS else self.number(1))

    def text(self) -> str:
        fields = [self.kind, self.name, str(len(self.inputs)), str(len(self.outputs)), *self.inputs, *self.outputs]
        return " ".join([*fields, *(f"{key}={value}" for key, value in self.parameters.items())])


def quantize(param: pathlib.Path, binary: pathlib.Path, samples: np.ndarray) -> None:
    """Rewrites the two files of a float network."""
    header, layers = _read(param, binary)
    ranges = _ranges(param, binary, {layer.inputs[0] for layer in layers if layer.has_weights}, samples)
    for layer in layers:
        if layer.has_weights:
            layer.scales["bottom"] = 127 / max(ranges[layer.inputs[0]], 1e-6)
            layer.parameters[8] = "1" if layer.kind == "ConvolutionDepthWise" else "2"
    for layer in layers:
        if layer.kind in CONVOLUTIONS:
            users = _users(layers, layer.outputs[0])
            if users and all(user.kind in CONVOLUTIONS for user in users):
                layer.parameters[8] = str(int(layer.parameters[8]) + 100)
                layer.scales["top"] = users[0].scales["bottom"]
    param.write_text("\n".join([*header, *(layer.text() for layer in layers)]) + "\n")
    binary.write_bytes(b"".join(_encode(layer) for layer in layers if layer.has_weights))


def _read(param: pathlib.Path, binary: pathlib.Path) -> tuple[list[str], list[Layer]]:
    lines = [line for line in param.read_text().splitlines() if line.strip()]
    layers, data, position = [], binary.read_bytes(), 0
    for line in lines[2:]:
        kind, name, inputs, outputs, *rest = line.split()
        ends = int(inputs), int(inputs) + int(outputs)
        parameters = {int(key): value for key, _, value in (item.partition("=") for item in rest[ends[1]:])}
        layer = Layer(kind, name, rest[: ends[0]], rest[ends[0] : ends[1]], parameters)
        if layer.has_weights:
            (tag,) = struct.unpack_from("<I", data, position)
            if tag != FLOAT_TAG:
                raise ValueError(f"weights of {name} are not plain floats")
            layer.weights = np.frombuffer(data, np.float32, layer.weight_count, position + 4)
            position += 4 + layer.weights.nbytes
            if layer.has_bias:
                layer.bias = np.frombuffer(data, np.float32, layer.number(0), position)
                position += layer.bias.nbytes
        layers.append(layer)
    if position != len(data):
        raise ValueError("layers of other kinds have weights")
    return lines[:2], layers


def _ranges(param: pathlib.Path, binary: pathlib.Path, names: set[str], samples: np.ndarray) -> dict[str, float]:
    """The largest magnitude of each blob over the samples."""
    import ncnn

    net = ncnn.Net()
    net.opt.lightmode = False
    net.load_param(str(param))
    net.load_model(str(binary))
    result = dict.fromkeys(names, 0.0)
    for sample in samples:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(np.ascontiguousarray(sample)).clone())
        for name in names:
            status, values = extractor.extract(name)
            if status != 0:
                raise RuntimeError(f"ncnn cannot compute {name}")
            result[name] = max(result[name], float(np.abs(np.array(values)).max()))
    return result


def _users(layers: list[Layer], blob: str) -> list[Layer]:
    """The layers that read a blob, also through copies."""
    users = []
    for layer in layers:
        if blob in layer.inputs:
            users += [user for copy in layer.outputs for user in _users(layers, copy)] if layer.kind == "Split" else [layer]
    return users


def _encode(layer: Layer) -> bytes:
    assert layer.weights is not None
    groups = layer.number(7, 1) if layer.kind == "ConvolutionDepthWise" else layer.number(0)
    rows = layer.weights.reshape(groups, -1)
    scales = (127 / np.maximum(np.abs(rows).max(1), 1e-6)).astype(np.float32)
    values = np.rint(rows * scales[:, None]).astype(np.int8).tobytes()
    parts = [struct.pack("<I", INT8_TAG), values + bytes(-len(values) % 4)]
    if layer.bias is not None:
        parts.append(layer.bias.tobytes())
    parts += [scales.tobytes(), struct.pack("<f", layer.scales["bottom"])]
    if "top" in layer.scales:
        parts.append(struct.pack("<f", layer.scales["top"]))
    return b"".join(parts)
