#!/usr/bin/env python3
"""Measures ONNX Runtime's static quantizer on the same models, images and machine: seconds, peak memory, accuracy.

    runtime_quantizer.py [--samples N] [--methods MinMax,Entropy] [MODEL…]

Quantized: u8 activations, s8 weights per channel, QDQ format, after the recommended `quant_pre_process`. The time and
memory are those of a process that does just that.
"""

import argparse
import pathlib
import random
import sys

from benchmark_models import SCRATCH, chosen, prepare, read, run, session
from measure import measure, table


def quantize(model, method, samples, output):
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self):
            network = onnx.load(str(model.path))
            constants = {tensor.name for tensor in network.graph.initializer}
            self.name = next(value.name for value in network.graph.input if value.name not in constants)
            images, _ = read(model.calibration)
            indices = sorted(random.Random(1).sample(range(len(images)), min(samples, len(images))))
            self.images = (images[index : index + 1] for index in indices)

        def get_next(self):
            image = next(self.images, None)
            return None if image is None else {self.name: prepare(model, image)}

    prepared = output.with_suffix(".prepared.onnx")
    network = onnx.load(str(model.path))
    if network.opset_import[0].version < 13:  # quantizing per channel needs opset 13
        network = onnx.version_converter.convert_version(network, 13)
        onnx.save(network, str(prepared))
    quant_pre_process(str(prepared if prepared.exists() else model.path), str(prepared), skip_symbolic_shape=True)
    options = dict(
        quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[method])
    try:
        quantize_static(str(prepared), str(output), Images(), per_channel=True, **options)
    except ValueError:
        # It cannot adjust the bias of a per-channel Gemm (1.31.1).
        print("per tensor")
        quantize_static(str(prepared), str(output), Images(), per_channel=False, **options)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--methods", default="MinMax,Entropy")
    parser.add_argument("--quantize-to", type=pathlib.Path, help="used by this script itself")
    parser.add_argument("models", nargs="*")
    arguments = parser.parse_args()
    if arguments.quantize_to:
        quantize(chosen(arguments.models)[0], arguments.methods, arguments.samples, arguments.quantize_to)
        return
    folder = SCRATCH / "runtime"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [["model", "method", "quantize s", "MiB", "bytes", "float top-1", "top-1", "change"]]
    for model in chosen(arguments.models):
        images, labels = read(model.test)
        inputs = prepare(model, images)
        accuracy = lambda path: 100 * (run(session(path), inputs).argmax(1) == labels).mean()
        reference = accuracy(model.path)
        for method in arguments.methods.split(","):
            output = folder / f"{model.name}-{method}.onnx"
            try:
                seconds, memory, messages = measure(
                    [sys.executable, __file__, "--quantize-to", output, "--samples", arguments.samples, "--methods", method,
                     model.name])
                quantized = accuracy(output)
            except Exception as error:
                print(error, file=sys.stderr)
                rows.append([model.name, method, "failed", "", "", f"{reference:.2f}", "", ""])
                continue
            rows.append(
                [model.name, method + (" per tensor" if "per tensor" in messages else ""), f"{seconds:.1f}", f"{memory:.0f}", output.stat().st_size, f"{reference:.2f}",
                 f"{quantized:.2f}", f"{quantized - reference:+.2f}"])
            print(*rows[-1], file=sys.stderr)
    print(table(rows))


main()
