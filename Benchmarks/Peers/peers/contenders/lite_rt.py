"""LiteRT with XNNPACK: converted by onnx2tf, quantized by TensorFlow's converter (int8 weights per channel, int8 activations)."""

import os
import pathlib
import shutil
import subprocess
from typing import Callable

from ..environment import CONVERT, ensure
from ..networks import Network

VARIANTS = ("int8", "float")


def build(network: Network, variant: str, folder: pathlib.Path) -> None:
    import numpy

    ensure(CONVERT)
    name, shape = network.input()
    samples = network.samples()
    if len(shape) == 4:
        samples = samples.transpose(0, 2, 3, 1)
    numpy.save(folder / "samples.npy", numpy.ascontiguousarray(samples))
    # The converter compares outputs on these images, which it would download.
    random = numpy.random.default_rng(0)
    numpy.save(folder / "calibration_image_sample_data_20x128x128x3_float32.npy", random.random((20, 128, 128, 3), dtype=numpy.float32))
    shutil.copy(network.model, folder / "model.onnx")  # it writes into the file that it reads
    command = [str(CONVERT / "bin" / "onnx2tf"), "-i", "model.onnx", "-o", "converted", "-n", "-nuo"]
    if variant == "int8":
        ones = "[" * (len(shape) - 1) + ",".join(["1"] * samples.shape[-1]) + "]" * (len(shape) - 1)
        command += ["-oiqt", "-cind", name, "samples.npy", f"[{ones}]".replace("1", "0"), f"[{ones}]"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
    subprocess.run(command, cwd=folder, env=environment, check=True, stdin=subprocess.DEVNULL)
    suffix = "_float32.tflite" if variant == "float" else "_integer_quant.tflite"
    result = next(
        path for path in sorted((folder / "converted").glob(f"*{suffix}")) if "full_integer" not in path.name)
    result.rename(folder / "model.tflite")
    for path in folder.iterdir():
        if path.name != "model.tflite":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


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
