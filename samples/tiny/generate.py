"""Writes the tiny models beside this file, each with an input and ONNX Runtime's output for it.

    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python generate.py

Every model exercises one corner of reading ONNX; README.md lists them. Seeded: the files come out the same
every time. Running qcc on them needs none of this: what the script writes is committed.
"""

import pathlib
import zlib

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
BATCH = 3
# The IR version that came with each operator set used here.
IR_VERSIONS = {7: 3, 9: 4, 11: 6, 13: 7}


class Model:
    """Collects nodes and initializers; values are named after the node that makes them."""

    def __init__(self, name, opset, shape):
        self.name, self.opset, self.shape = name, opset, shape
        self.random = numpy.random.default_rng(zlib.crc32(name.encode()))
        self.nodes, self.initializers = [], []

    def tensor(self, name, values):
        self.initializers.append(numpy_helper.from_array(numpy.asarray(values), name))
        return name

    def weight(self, name, *shape):
        """Random weights that keep the size of what they are applied to."""
        fan_in = max(1, int(numpy.prod(shape[1:])))
        return self.tensor(name, (self.random.standard_normal(shape) * fan_in**-0.5).astype(numpy.float32))

    def bias(self, name, count):
        return self.tensor(name, (self.random.standard_normal(count) * 0.1).astype(numpy.float32))

    def add(self, operator, inputs, name, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def convolution(self, x, name, outputs, inputs, size=3, groups=1, **attributes):
        weight = self.weight(f"{name}.weight", outputs, inputs // groups, size, size)
        return self.add(
            "Conv", [x, weight, self.bias(f"{name}.bias", outputs)], name, group=groups, **attributes
        )

    def batch_norm(self, x, name, channels):
        uniform = self.random.uniform
        parameters = {
            "scale": uniform(0.5, 1.5, channels),
            "shift": uniform(-0.5, 0.5, channels),
            "mean": uniform(-0.5, 0.5, channels),
            "variance": uniform(0.5, 2, channels),
        }
        names = [
            self.tensor(f"{name}.{key}", value.astype(numpy.float32)) for key, value in parameters.items()
        ]
        return self.add("BatchNormalization", [x, *names], name)

    def proto(self, output, output_rank):
        image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *self.shape])
        result = helper.make_tensor_value_info(
            output, TensorProto.FLOAT, ["batch", *[None] * (output_rank - 1)]
        )
        inputs = [image]
        if IR_VERSIONS[self.opset] < 4:  # initializers had to be inputs as well
            inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in self.initializers]
        graph = helper.make_graph(self.nodes, self.name, inputs, [result], self.initializers)
        opsets = [helper.make_opsetid("", self.opset)]
        domains = sorted({node.domain for node in self.nodes if node.domain})
        opsets += [helper.make_opsetid(domain, 1) for domain in domains]
        return helper.make_model(
            graph, ir_version=IR_VERSIONS[self.opset], opset_imports=opsets, producer_name="generate.py"
        )

    def write(self, output, output_rank=4, runs=True):
        proto = self.proto(output, output_rank)
        onnx.checker.check_model(proto)
        (HERE / f"{self.name}.onnx").write_bytes(proto.SerializeToString(deterministic=True))
        if not runs:
            return
        x = self.random.standard_normal((BATCH, *self.shape)).astype(numpy.float32)
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        numpy.save(HERE / f"{self.name}.input.npy", x)
        numpy.save(HERE / f"{self.name}.output.npy", session.run(None, {"x": x})[0])


def padding():
    """auto_pad (with stride 2 on an even and an odd side) and pads that differ between the sides."""
    model = Model("padding", 11, (3, 10, 9))
    x = model.convolution("x", "same_upper", 8, 3, strides=[2, 2], auto_pad="SAME_UPPER")
    x = model.add("Relu", [x], "relu")
    x = model.convolution(x, "same_lower", 8, 8, size=2, auto_pad="SAME_LOWER")
    x = model.convolution(x, "asymmetric", 4, 8, pads=[0, 1, 2, 0])
    x = model.convolution(x, "valid", 4, 4, size=2, auto_pad="VALID")
    model.write(x)


def grouped():
    model = Model("grouped", 13, (6, 9, 9))
    x = model.convolution("x", "grouped", 12, 6, groups=3, pads=[1, 1, 1, 1])
    x = model.add("Relu", [x], "relu")
    x = model.convolution(x, "dilated", 8, 12, groups=2, pads=[2, 2, 2, 2], dilations=[2, 2])
    x = model.convolution(x, "strided", 8, 8, groups=4, strides=[2, 1], dilations=[1, 2], pads=[1, 0, 1, 0])
    model.write(x)


def relu6(opset):
    """A depthwise-separable block; Clip has attributes at opset 7 and inputs at opset 11."""
    model = Model(f"relu6-opset{opset}", opset, (8, 8, 8))

    def clip(x, name):
        x = model.add("Mul", [x, model.tensor(f"{name}.gain", numpy.float32([4]))], f"{name}.scaled")
        if opset < 11:
            return model.add("Clip", [x], name, min=0.0, max=6.0)
        bounds = [
            model.tensor(f"{name}.{key}", numpy.float32(value)) for key, value in (("min", 0), ("max", 6))
        ]
        return model.add("Clip", [x, *bounds], name)

    x = model.convolution("x", "depthwise", 8, 8, groups=8, pads=[1, 1, 1, 1])
    x = clip(model.batch_norm(x, "depthwise_norm", 8), "depthwise_relu6")
    x = model.convolution(x, "pointwise", 16, 8, size=1)
    x = clip(model.batch_norm(x, "pointwise_norm", 16), "pointwise_relu6")
    model.write(x)


def norm_first():
    """BatchNormalization before convolutions: foldable without padding, not with it."""
    model = Model("norm-first", 9, (4, 8, 8))
    x = model.batch_norm("x", "norm_before_valid", 4)
    x = model.convolution(x, "valid", 8, 4)
    x = model.add("Relu", [x], "relu")
    x = model.batch_norm(x, "norm_before_padded", 8)
    x = model.convolution(x, "padded", 8, 8, pads=[1, 1, 1, 1])
    model.write(model.batch_norm(x, "norm_after", 8))


def pad_then_convolution():
    """Pad with zeros (may join the convolution) and with another value (may not)."""
    model = Model("pad", 13, (3, 7, 7))
    pads = model.tensor("pads", numpy.int64([0, 0, 1, 0, 0, 0, 2, 1]))
    x = model.add("Pad", ["x", pads], "pad_zero")
    x = model.convolution(x, "convolution", 6, 3, pads=[0, 1, 0, 1])
    x = model.add("Pad", [x, pads, model.tensor("half", numpy.float32(0.5))], "pad_half", mode="constant")
    model.write(model.convolution(x, "after_half", 4, 6))


def gemm():
    """A matrix product written three ways: MatMul and Add, and Gemm with either operand order."""
    model = Model("gemm", 13, (4, 3, 3))
    x = model.add("Flatten", ["x"], "flatten", axis=1)
    weight = model.tensor("matmul.weight", (model.random.standard_normal((36, 24)) / 6).astype(numpy.float32))
    x = model.add("MatMul", [x, weight], "matmul")
    x = model.add("Add", [model.bias("matmul.bias", 24), x], "matmul_bias")
    x = model.add("Relu", [x], "relu")
    x = model.add(
        "Gemm", [x, model.weight("gemm.weight", 20, 24), model.bias("gemm.bias", 20)], "gemm", transB=1
    )
    scaled = [x, model.weight("scaled.weight", 20, 10), model.bias("scaled.bias", 10)]
    model.write(model.add("Gemm", scaled, "scaled", alpha=0.5, beta=2.0), output_rank=2)


def pools():
    """Average pools that count the border or do not, a maximum pool that rounds up, and a concatenation."""
    model = Model("pools", 11, (4, 9, 9))
    window = {"kernel_shape": [3, 3], "strides": [2, 2]}
    branches = [
        model.add("AveragePool", ["x"], "excluding", count_include_pad=0, pads=[1, 1, 1, 1], **window),
        model.add("AveragePool", ["x"], "including", count_include_pad=1, pads=[1, 1, 1, 1], **window),
        model.add("MaxPool", ["x"], "rounding_up", ceil_mode=1, kernel_shape=[2, 2], strides=[2, 2]),
        model.convolution("x", "convolution", 6, 4, strides=[2, 2], pads=[1, 1, 1, 1]),
    ]
    x = model.add("Concat", branches, "concat", axis=1)
    model.write(model.convolution(x, "pointwise", 8, 18, size=1))


def softmax(opset):
    """At opset 11 Softmax flattens everything after the axis; from 13 it works along the axis alone."""
    model = Model(f"softmax-opset{opset}", opset, (5, 4, 3))
    x = model.convolution("x", "convolution", 6, 5, size=1)
    x = model.add("Mul", [x, model.tensor("gain", numpy.float32([3]))], "scaled")
    model.write(model.add("Softmax", [x], "softmax", axis=1))


def shape_chain():
    """What exporters write for x.view(x.size(0), -1) and the like."""
    model = Model("shape-chain", 13, (4, 6, 6))
    zero, one = (model.tensor(name, numpy.int64([value])) for name, value in (("zero", 0), ("one", 1)))
    x = model.convolution("x", "convolution", 8, 4)
    shape = model.add("Shape", [x], "shape")
    batch = model.add("Slice", [shape, zero, one, zero], "batch")
    channels = model.add("Gather", [shape, model.tensor("index", numpy.int64(1))], "channels", axis=0)
    channels = model.add("Unsqueeze", [channels, zero], "channels_vector")
    rest = model.add("Constant", [], "rest", value=numpy_helper.from_array(numpy.int64([-1])))
    x = model.add(
        "Reshape", [x, model.add("Concat", [batch, channels, rest], "planes", axis=0)], "reshape_planes"
    )
    x = model.add("ReduceMean", [x], "mean", axes=[2], keepdims=0)
    batch = model.add(
        "Gather", [model.add("Shape", [x], "mean_shape"), model.tensor("first", numpy.int64(0))], "count"
    )
    batch = model.add(
        "Cast", [model.add("Unsqueeze", [batch, zero], "count_vector")], "count_cast", to=TensorProto.INT64
    )
    x = model.add("Reshape", [x, model.add("Concat", [batch, rest], "flat", axis=0)], "reshape_flat")
    x = model.add(
        "Gemm", [x, model.weight("gemm.weight", 5, 8), model.bias("gemm.bias", 5)], "gemm", transB=1
    )
    model.write(x, output_rank=2)


def unsupported():
    """Operators that no compiler of convolutional networks has: one twice, one of an unknown domain."""
    model = Model("unsupported", 13, (3, 6, 6))
    x = model.convolution("x", "convolution", 4, 3)
    x = model.add("Sinh", [x], "first_sinh")
    x = model.convolution(x, "second", 4, 4)
    x = model.add("Sinh", [x], "second_sinh")
    model.write(model.add("Twist", [x], "twist", domain="com.example"), runs=False)


def main():
    padding()
    grouped()
    relu6(7)
    relu6(11)
    norm_first()
    pad_then_convolution()
    gemm()
    pools()
    softmax(11)
    softmax(13)
    shape_chain()
    unsupported()


if __name__ == "__main__":
    main()
