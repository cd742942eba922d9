"""OpenVINO with NNCF's post-training quantization, run through its C interface, which adds no Python to the time.

4-bit weights are NNCF's weight compression by output channel (g-1) or in groups of 128: matrix products only.
"""

import ctypes
import pathlib
from typing import Callable

from ..networks import Network

PACKAGES = ("openvino", "nncf")
VARIANTS = ("int8", "float", "int4 g-1", "int4 g128")


def build(network: Network, variant: str, folder: pathlib.Path) -> None:
    import openvino

    model = openvino.convert_model(str(network.model))
    if variant == "int8":
        import nncf

        samples = network.samples()
        data = nncf.Dataset(list(samples), lambda sample: sample[None])
        model = nncf.quantize(model, data, subset_size=len(samples))
    elif variant.startswith("int4"):
        import nncf

        if any(op.get_type_name() in ("Convolution", "GroupConvolution") for op in model.get_ops()):
            raise ValueError("no 4-bit convolution")
        model = nncf.compress_weights(
            model, mode=nncf.CompressWeightsMode.INT4_SYM, group_size=int(variant.split(" g")[1]), ratio=1.0, all_layers=True)
    openvino.save_model(model, str(folder / "model.xml"), compress_to_fp16=False)


def load(folder: pathlib.Path, variant: str, threads: int) -> Callable[[], object]:
    import openvino

    path = next((pathlib.Path(openvino.__file__).parent / "libs").glob("libopenvino_c.so*"))
    library = ctypes.CDLL(str(path))

    def check(status: int) -> None:
        if status != 0:
            raise RuntimeError(f"OpenVINO's C interface answers {status}")

    core, compiled, request = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    check(library.ov_core_create(ctypes.byref(core)))
    properties = [
        b"PERFORMANCE_HINT", b"LATENCY", b"NUM_STREAMS", b"1", b"INFERENCE_NUM_THREADS", str(threads).encode(),
        b"ENABLE_CPU_PINNING", b"NO"]
    check(
        library.ov_core_compile_model_from_file(
            core, str(folder / "model.xml").encode(), b"CPU", ctypes.c_size_t(len(properties)), ctypes.byref(compiled),
            *map(ctypes.c_char_p, properties)))
    check(library.ov_compiled_model_create_infer_request(compiled, ctypes.byref(request)))
    infer = library.ov_infer_request_infer
    infer.argtypes = [ctypes.c_void_p]
    check(infer(request))
    handle = request.value
    return lambda: infer(handle)
