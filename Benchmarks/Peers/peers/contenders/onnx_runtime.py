"""ONNX Runtime with its static quantizer: per-channel weights, QDQ form, unsigned or signed activations."""

import pathlib
from typing import Callable

from ..networks import Network

VARIANTS = ("int8 u8s8", "int8 s8s8", "float")


def build(network: Network, variant: str, folder: pathlib.Path) -> None:
    output = folder / "model.onnx"
    if variant == "float":
        output.write_bytes(network.model.read_bytes())
        return
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name, _ = network.input()

    class Samples(CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter(network.samples())

        def get_next(self) -> dict | None:
            row = next(self.rows, None)
            return None if row is None else {name: row[None]}

    prepared = folder / "prepared.onnx"
    quant_pre_process(str(network.model), str(prepared), skip_symbolic_shape=True)
    options = dict(
        quant_format=QuantFormat.QDQ, weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8 if variant == "int8 u8s8" else QuantType.QInt8)
    if variant == "int8 s8s8":
        options["extra_options"] = {"ActivationSymmetric": True}
    try:
        quantize_static(str(prepared), str(output), Samples(), per_channel=True, **options)
    except ValueError:
        # It cannot adjust the bias of a per-channel Gemm (1.31.1).
        (folder / "note.txt").write_text("per tensor")
        quantize_static(str(prepared), str(output), Samples(), per_channel=False, **options)
    prepared.unlink()


def load(folder: pathlib.Path, variant: str, threads: int) -> Callable[[], object]:
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    values = []
    for node in session.get_inputs():
        values.append(onnxruntime.OrtValue.ortvalue_from_numpy(numpy.full(node.shape, 0.5, numpy.float32)))
        binding.bind_ortvalue_input(node.name, values[-1])
    for node in session.get_outputs():
        values.append(onnxruntime.OrtValue.ortvalue_from_numpy(numpy.zeros(node.shape, numpy.float32)))
        binding.bind_ortvalue_output(node.name, values[-1])
    # Straight to the compiled part: the Python around it costs microseconds, which small networks would feel.
    run, bound = session._sess.run_with_iobinding, binding._iobinding
    keep = (session, binding, values)
    return lambda: run(bound, None) or keep
