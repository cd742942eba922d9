"""LiteRT with XNNPACK: converted by onnx2tf, quantized by TensorFlow's converter (int8 weights per channel, int8 activations).

4-bit weights come from the AI Edge Quantizer, with activations quantized while running.
"""

import os
import pathlib
import shutil
import subprocess
from typing import Callable

from ..environment import CACHE, CONVERT, REQUIREMENTS, digest, ensure
from ..networks import Network

PACKAGES = ("ai-edge-litert", "ai-edge-quantizer")
VARIANTS = ("int8", "float", "int4 dynamic")


def build(network: Network, variant: str, folder: pathlib.Path) -> None:
    source = _converted(network) / ("int8.tflite" if variant == "int8" else "float.tflite")
    if variant == "int4 dynamic":
        from ai_edge_quantizer import quantizer, recipe

        result = quantizer.Quantizer(str(source), recipe.dynamic_wi4_afp32()).quantize()
        result.export_model(str(folder / "model.tflite"), overwrite=True)
    else:
        shutil.copy(source, folder / "model.tflite")


def _converted(network: Network) -> pathlib.Path:
    """A folder with the float and the quantized form: one conversion makes both."""
    import numpy

    target = CACHE / "tflite" / f"{network.name}-{digest(network.key, REQUIREMENTS[CONVERT])}"
    if target.exists():
        return target
    ensure(CONVERT)
    folder = target.with_suffix(".building")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    name, shape = network.input()
    samples = network.samples()
    if len(shape) == 4:
        samples = samples.transpose(0, 2, 3, 1)
    numpy.save(folder / "samples.npy", numpy.ascontiguousarray(samples))
    # The converter compares outputs on these images, which it would download.
    random = numpy.random.default_rng(0)
    numpy.save(folder / "calibration_image_sample_data_20x128x128x3_float32.npy", random.random((20, 128, 128, 3), dtype=numpy.float32))
    network.write_folded(folder / "model.onnx")
    # One mean and deviation by channel, for samples that are normalized already.
    mean, deviation = ("[" * (len(shape) - 1) + ",".join([value] * samples.shape[-1]) + "]" * (len(shape) - 1) for value in "01")
    subprocess.run(
        [str(CONVERT / "bin" / "onnx2tf"), "-i", "model.onnx", "-o", "converted", "-n", "-nuo", "-dsm", "-oiqt",
         "-cind", name, "samples.npy", mean, deviation],
        cwd=folder, env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}, check=True, stdin=subprocess.DEVNULL)
    results = folder / "results"
    results.mkdir()
    (folder / "converted" / "model_float32.tflite").rename(results / "float.tflite")
    (folder / "converted" / "model_integer_quant.tflite").rename(results / "int8.tflite")
    _check(results / "float.tflite", network)
    results.rename(target)
    shutil.rmtree(folder)
    return target


def _check(path: pathlib.Path, network: Network) -> None:
    """Fails if the conversion has changed the function: it guesses the order of axes."""
    import numpy
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    sample = network.samples()[:1]
    session = onnxruntime.InferenceSession(str(network.model), providers=["CPUExecutionProvider"])
    expected = session.run(None, {network.input()[0]: sample})[0]
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample.transpose(0, 2, 3, 1) if sample.ndim == 4 else sample)
    interpreter.invoke()
    actual = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    actual = actual.transpose(0, 3, 1, 2) if actual.ndim == 4 else actual
    error = numpy.abs(actual - expected).max() / numpy.abs(expected).max()
    if not error < 1e-3:
        raise RuntimeError(f"the converted network computes something else: relative error {error:.1e}")


def load(folder: pathlib.Path, variant: str, threads: int) -> Callable[[], object]:
    import numpy
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(folder / "model.tflite"), num_threads=threads)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], numpy.full(detail["shape"], 0.5, detail["dtype"]))
        if detail["dtype"] != numpy.float32:
            raise TypeError(f"the input is {detail['dtype']}, not float")
    # Straight to the compiled part, as for ONNX Runtime.
    invoke = interpreter._interpreter.Invoke
    keep = interpreter
    return lambda: invoke() or keep
