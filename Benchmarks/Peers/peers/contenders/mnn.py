"""MNN: its offline quantizer with calibration images, and 8- or 4-bit weights with activations quantized while running.

The tools are called as functions: their command-line wrappers install a logging package and send statistics.
"""

import json
import pathlib
from typing import Callable

from ..networks import Network

PACKAGES = ("mnn",)
VARIANTS = ("int8", "int8 dynamic", "float", "int4 dynamic")


def build(network: Network, variant: str, folder: pathlib.Path) -> None:
    import _tools

    output = folder / "model.mnn"
    options = ["MNNConvert", "-f", "ONNX", "--modelFile", str(network.model), "--MNNModel", str(output), "--bizCode", "bench"]
    if variant.endswith("dynamic"):
        options += ["--weightQuantBits", "4" if variant.startswith("int4") else "8"]
    _tools.mnnconvert(options)
    if not output.exists():
        raise RuntimeError("the converter wrote no model")
    if variant == "int8":
        source = folder / "float.mnn"
        output.rename(source)
        config = folder / "quantization.json"
        config.write_text(json.dumps(_images(network, folder / "images")))
        _tools.mnnquant(["mnnquant", str(source), str(output), str(config)])
        if not output.exists():
            raise RuntimeError("the quantizer wrote no model")


def _images(network: Network, folder: pathlib.Path) -> dict[str, object]:
    """The calibration samples as images with the preprocessing that leads back to them; the quantizer reads no arrays."""
    import numpy
    from PIL import Image

    samples = network.samples()
    if samples.ndim != 4 or samples.shape[1] not in (1, 3):
        raise ValueError("the quantizer reads images only")
    low, high = samples.min((0, 2, 3)), samples.max((0, 2, 3))
    scale = numpy.maximum((high - low) / 255, 1e-6)
    pixels = numpy.rint((samples.transpose(0, 2, 3, 1) - low) / scale).clip(0, 255).astype(numpy.uint8)
    folder.mkdir()
    for index, image in enumerate(pixels):
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(folder / f"{index:04}.png")
    return {
        "format": "GRAY" if samples.shape[1] == 1 else "RGB", "mean": [float(value) for value in -low / scale],
        "normal": [float(value) for value in scale], "width": samples.shape[3], "height": samples.shape[2],
        "path": str(folder) + "/", "used_sample_num": len(samples), "feature_quantize_method": "KL",
        "weight_quantize_method": "MAX_ABS"}


def load(folder: pathlib.Path, variant: str, threads: int) -> Callable[[], object]:
    import MNN

    interpreter = MNN.Interpreter(str(folder / "model.mnn"))
    session = interpreter.createSession(
        {"backend": "CPU", "numThread": threads, "precision": "normal", "memory": "low" if variant.endswith("dynamic") else "normal"})
    run = interpreter.runSession
    keep = interpreter
    return lambda: run(session) and keep
