#!/usr/bin/env python3
"""Compile time and peak memory against the number of calibration images, and against the number of layers.

    scaling.py [--images 64,…] [--layers 20,…] [--repeat N] [--output FILE.svg]

Images: fashion-dscnn for x86-int4 by -O2 (GPTQ rounds its dense layers). Layers: residual networks of random weights, blocks of two 3 x 3
convolutions of 16 channels at 16 x 16 with BatchNormalization, likewise, with 256 random images. The least of --repeat runs
each. A line through the points tells how much of a time is not proportional: seconds a unit, and the largest deviation from it.
"""

import argparse
import os
import pathlib
import sys

import numpy as np

from benchmark_models import ROOT, SCRATCH, chosen, data_path
from measure import measure, table

TARGET = "x86-int4"


def residual_network(layers, path):
    """`layers` convolutions and a classifier."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(1)
    nodes, constants = [], []

    def constant(name, values):
        constants.append(numpy_helper.from_array(np.asarray(values, dtype=np.float32), name))
        return name

    def convolution(x, inputs, name, stride=1):
        weights = constant(f"{name}.weight", generator.normal(0, np.sqrt(2 / (9 * inputs)), (16, inputs, 3, 3)))
        nodes.append(helper.make_node("Conv", [x, weights], [name], name, kernel_shape=[3, 3], pads=[1] * 4, strides=[stride] * 2))
        parameters = [
            constant(f"{name}.{what}", values)
            for what, values in [("scale", generator.uniform(0.5, 1, 16)), ("bias", generator.normal(0, 0.1, 16)),
                                 ("mean", generator.normal(0, 0.1, 16)), ("variance", generator.uniform(0.5, 1.5, 16))]]
        nodes.append(helper.make_node("BatchNormalization", [name, *parameters], [f"{name}.norm"]))
        return f"{name}.norm"

    def activation(x):
        nodes.append(helper.make_node("Relu", [x], [f"{x}.relu"]))
        return f"{x}.relu"

    x = activation(convolution("image", 3, "conv0", stride=2))
    for block in range((layers - 1) // 2):
        y = convolution(activation(convolution(x, 16, f"conv{block}a")), 16, f"conv{block}b")
        nodes.append(helper.make_node("Add", [x, y], [f"sum{block}"]))
        x = activation(f"sum{block}")
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], ["features"]))
    nodes.append(helper.make_node("Gemm", ["features", constant("classes", generator.normal(0, 0.25, (16, 10)))], ["logits"]))
    graph = helper.make_graph(
        nodes, "residual", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def compile_figures(arguments, repeat):
    figures = [measure(arguments)[:2] for _ in range(repeat)]
    return min(seconds for seconds, _ in figures), min(memory for _, memory in figures)


def line(points):
    """Seconds a unit and at zero, and the largest deviation in percent."""
    x, y = (np.array(column) for column in zip(*points))
    slope, start = np.polyfit(x, y, 1, w=1 / y)
    return slope, start, 100 * np.abs(1 - (start + slope * x) / y).max()


def plot(series, path):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "qcc", "font.size": 9})
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, len(series), figsize=(9, 5.5))
    for (title, rows), column in zip(series, panels.T):
        x = [row[0] for row in rows]
        for panel, values, label in [(column[0], [row[1] for row in rows], "seconds"), (column[1], [row[2] for row in rows], "peak MiB")]:
            panel.plot(x, values, "o-", color="#2a6f97")
            panel.set_xlabel(title)
            panel.set_ylabel(label)
            panel.set_ylim(bottom=0)
            panel.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", default="64,128,256,512,1024,2048,4096")
    parser.add_argument("--layers", default="20,50,100,150,200")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "docs" / "compile-time.svg")
    arguments = parser.parse_args()
    folder = SCRATCH / "scaling"
    folder.mkdir(parents=True, exist_ok=True)
    qcc, program = os.environ["QCC"], folder / "program.qpk"
    model = chosen(["fashion-dscnn"])[0]
    by_images = []
    for count in map(int, arguments.images.split(",")):
        figures = compile_figures(
            [qcc, model.path, "--target", TARGET, "-O2", "--data", data_path(model.calibration), "--samples", count, "--seed", 1,
             "--preprocess", model.preprocess_path, "-o", program], arguments.repeat)
        by_images.append((count, *figures))
        print("images", *by_images[-1], file=sys.stderr, flush=True)
    images = folder / "images.npy"
    np.save(images, np.random.default_rng(2).normal(0, 1, (256, 3, 32, 32)).astype(np.float32))
    by_layers = []
    for count in map(int, arguments.layers.split(",")):
        network = folder / f"residual{count}.onnx"
        residual_network(count, network)
        figures = compile_figures([qcc, network, "--target", TARGET, "-O2", "--data", images, "-o", program], arguments.repeat)
        by_layers.append((count, *figures))
        print("layers", *by_layers[-1], file=sys.stderr, flush=True)
    for name, rows in [("images", by_images), ("layers", by_layers)]:
        print(table([[name, "seconds", "MiB"]] + [[count, f"{seconds:.2f}", f"{memory:.0f}"] for count, seconds, memory in rows]))
        slope, start, deviation = line([row[:2] for row in rows])
        print(f"\n{1000 * slope:.2f} ms each and {start:.2f} s; at most {deviation:.0f} % off that line.\n")
    plot([("images", by_images), ("layers", by_layers)], arguments.output)


main()
