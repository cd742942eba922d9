"""ncnn: converted by pnnx; its wheel lacks the quantizer, so ncnn_int8.py writes what ncnn2table and ncnn2int8 would."""

import pathlib
import subprocess
import sys
from typing import Callable

from ..networks import Network

PACKAGES = ("ncnn", "pnnx")
VARIANTS = ("int8", "float")


def build(network: Network, variant: str, folder: pathlib.Path) -> None:
    network.write_folded(folder / "model.onnx")
    _, shape = network.input()
    tool = next(pathlib.Path(path) / "pnnx" / "pnnx" for path in sys.path if (pathlib.Path(path) / "pnnx" / "pnnx").exists())
    tool.chmod(0o755)
    # Weights would be stored in half precision by default, which the quantizer here does not read.
    result = subprocess.run(
        [str(tool), "model.onnx", "fp16=0", f"inputshape={list(shape)}".replace(" ", "")], cwd=folder, check=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    refusal = next((line for line in result.stdout.splitlines() if "not supported" in line), None)
    if refusal:
        raise RuntimeError(f"pnnx: {refusal}")
    (folder / "shape.txt").write_text(" ".join(map(str, shape[1:])))
    if variant == "int8":
        from . import ncnn_int8

        ncnn_int8.quantize(folder / "model.ncnn.param", folder / "model.ncnn.bin", network.samples())
    for path in folder.iterdir():
        if path.name not in ("model.ncnn.param", "model.ncnn.bin", "shape.txt"):
            path.unlink()


def net(folder: pathlib.Path, threads: int):
    import ncnn

    result = ncnn.Net()
    result.opt.num_threads = threads
    result.opt.use_vulkan_compute = False
    if result.load_param(str(folder / "model.ncnn.param")) or result.load_model(str(folder / "model.ncnn.bin")):
        raise RuntimeError("ncnn refuses its own format")
    return result


def load(folder: pathlib.Path, variant: str, threads: int) -> Callable[[], object]:
    import ncnn
    import numpy

    network = net(folder, threads)
    shape = [int(size) for size in (folder / "shape.txt").read_text().split()]
    values = ncnn.Mat(numpy.full(shape, 0.5, numpy.float32)).clone()

    def run() -> None:
        extractor = network.create_extractor()
        extractor.input("in0", values)
        status, _ = extractor.extract("out0")
        if status != 0:
            raise RuntimeError(f"ncnn answers {status}")

    return run
