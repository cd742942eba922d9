#!/usr/bin/env python3
"""8-bit weights and activations by qcc, ONNX Runtime's static quantizer and NNCF, on the same images: accuracy, seconds, peak memory.

    peer_quantizers.py [--samples N] [--repeat N] [--contenders qcc-O1,qcc-O2,…] [MODEL…]

ONNX Runtime: u8 activations, s8 weights per channel, QDQ format, after its recommended `quant_pre_process`, by min-max and by
entropy. NNCF: `nncf.quantize` of the OpenVINO model with its defaults, all samples (`subset_size`). Seconds and memory are
those of a process that reads the model and the images, quantizes and writes, the least of several runs in turns; all use what
cores there are. Answers are those of the contender's own runtime to the test images: top-1, signal to noise of all outputs
beside float, and the share of images with float's answer. The half-width is that of the 95 % interval of the difference between
the contender and qcc -O2 on the same images, 1.96 times the root of the number of images on which one of the two alone is right.
"""

import argparse
import json
import os
import pathlib
import random
import sys

import numpy as np

from benchmark_models import SCRATCH, chosen, prepare, read, run, session
from measure import measure, table

MODELS = ["resnet20", "resnet56", "resnet8-mlperf-tiny", "fashion-dscnn", "efficientnet-lite0"]
CONTENDERS = ["qcc-O2", "qcc-O1", "onnxruntime-MinMax", "onnxruntime-Entropy", "nncf"]
TARGET = "x86-int8"


def calibration_file(model, samples):
    """The images that all of them read, as an array of bytes."""
    path = SCRATCH / "quantizers" / f"{model.name}-{samples}.npy"
    if not path.exists():
        images, _ = read(model.calibration)
        np.save(path, images[sorted(random.Random(1).sample(range(len(images)), min(samples, len(images))))])
    return path


def calibration_images(model, samples):
    images = np.load(calibration_file(model, samples), mmap_mode="r")
    return (prepare(model, images[index : index + 1]) for index in range(len(images)))


def input_name(network):
    constants = {tensor.name for tensor in network.graph.initializer}
    return next(value.name for value in network.graph.input if value.name not in constants)


def quantize_for_runtime(model, method, samples, output):
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    network = onnx.load(str(model.path))

    class Images(CalibrationDataReader):
        def __init__(self):
            self.name = input_name(network)
            self.images = calibration_images(model, samples)

        def get_next(self):
            image = next(self.images, None)
            return None if image is None else {self.name: image}

    prepared = output.with_suffix(".prepared.onnx")
    quant_pre_process(str(model.path), str(prepared), skip_symbolic_shape=True)
    options = dict(
        quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[method])
    try:
        quantize_static(str(prepared), str(output), Images(), per_channel=True, **options)
    except ValueError:
        # It cannot adjust the bias of a per-channel Gemm (1.31.1).
        quantize_static(str(prepared), str(output), Images(), per_channel=False, **options)


def quantize_by_nncf(model, samples, output):
    import nncf
    import openvino

    network = openvino.Core().read_model(str(model.path))
    # It counts a dataset before it uses it.
    images = list(calibration_images(model, samples))
    openvino.save_model(nncf.quantize(network, nncf.Dataset(images), subset_size=len(images)), str(output), compress_to_fp16=False)


def openvino_answers(path, inputs):
    import openvino

    network = openvino.Core().compile_model(str(path), "CPU")
    size = network.input(0).partial_shape[0]
    size = size.get_length() if size.is_static else 50
    return np.concatenate([
        network(inputs[start : start + size])[0].reshape(len(inputs[start : start + size]), -1)
        for start in range(0, len(inputs), size)])


def output_path(model, contender):
    suffix = {"qcc": ".qpk", "nncf": ".xml"}.get(contender.partition("-")[0], ".onnx")
    return SCRATCH / "quantizers" / f"{model.name}-{contender}{suffix}"


def quantize(model, contender, samples):
    """Seconds and MiB."""
    kind, _, how = contender.partition("-")
    output = output_path(model, contender)
    if kind == "qcc":
        command = [
            os.environ["QCC"], model.path, "--target", TARGET, f"-{how}", "--data", calibration_file(model, samples), "--seed", 1,
            "--preprocess", model.preprocess_path, "-o", output]
    else:
        command = [sys.executable, __file__, "--quantize-to", output, "--samples", samples, "--contenders", contender, model.name]
    return measure(command)[:2]


def answers(model, contender, inputs):
    """All outputs for the test images."""
    kind, path = contender.partition("-")[0], output_path(model, contender)
    if kind != "qcc":
        return openvino_answers(path, inputs) if kind == "nncf" else run(session(path), inputs)
    saved, logits = path.with_name("inputs.npy"), path.with_name("logits.npy")
    np.save(saved, inputs)
    measure([os.environ["QCC"], "run", path, "--input", saved, "--output", logits])
    return np.load(logits).reshape(len(inputs), -1)


def timed(model, contenders, samples, repeat):
    """Seconds and MiB of each contender, None where it fails."""
    figures = {}
    for _ in range(repeat):
        for contender in contenders:
            if figures.get(contender, ()) is None:
                continue
            try:
                seconds, memory = quantize(model, contender, samples)
            except RuntimeError as error:
                print(error, file=sys.stderr)
                figures[contender] = None
                continue
            least = figures.get(contender, (seconds, memory))
            figures[contender] = min(seconds, least[0]), max(memory, least[1])
            print(model.name, contender, f"{seconds:.1f} s", file=sys.stderr, flush=True)
    return figures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=3, help="runs of which the fastest counts")
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    parser.add_argument("--quantize-to", type=pathlib.Path, help="used by this script itself")
    parser.add_argument("models", nargs="*", default=MODELS)
    arguments = parser.parse_args()
    if arguments.quantize_to:
        model, (kind, _, how) = chosen(arguments.models)[0], arguments.contenders.partition("-")
        if kind == "nncf":
            quantize_by_nncf(model, arguments.samples, arguments.quantize_to)
        else:
            quantize_for_runtime(model, how, arguments.samples, arguments.quantize_to)
        return
    (SCRATCH / "quantizers").mkdir(parents=True, exist_ok=True)
    rows = [[
        "model", "quantizer", "seconds", "MiB", "bytes", "float top-1", "top-1", "change", "SQNR dB", "agreement", "beside qcc -O2",
        "half-width"]]
    for model in chosen(arguments.models):
        images, labels = read(model.test)
        inputs = prepare(model, images)
        float_outputs = run(session(model.path), inputs)
        reference = 100 * (float_outputs.argmax(1) == labels).mean()
        own = None
        calibration_file(model, arguments.samples)
        for contender, figures in timed(model, arguments.contenders.split(","), arguments.samples, arguments.repeat).items():
            if figures is None:
                rows.append([model.name, contender, "failed"] + [""] * 9)
                continue
            outputs, stored = answers(model, contender, inputs), output_path(model, contender)
            size = stored.with_suffix(".bin" if stored.suffix == ".xml" else stored.suffix).stat().st_size
            right = outputs.argmax(1) == labels
            own = right if own is None else own
            half = 196 * np.sqrt((right != own).sum()) / len(labels)
            top1, agreement = 100 * right.mean(), 100 * (outputs.argmax(1) == float_outputs.argmax(1)).mean()
            decibels = 10 * np.log10((float_outputs**2).sum() / ((outputs - float_outputs) ** 2).sum())
            rows.append([
                model.name, contender, f"{figures[0]:.1f}", f"{figures[1]:.0f}", size, f"{reference:.2f}", f"{top1:.2f}",
                f"{top1 - reference:+.2f}", f"{decibels:.1f}", f"{agreement:.1f}", f"{top1 - 100 * own.mean():+.2f}", f"{half:.2f}"])
            print(*rows[-1], file=sys.stderr, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
