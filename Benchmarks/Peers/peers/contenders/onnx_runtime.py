"""ONNX Runtime with its static quantizer: per-channel weights, QDQ form, unsigned or signed activations.

4-bit weights are MatMulNBits in blocks of 32 or 128 with 8-bit arithmetic: matrix products only, it has no such convolution.
"""

import pathlib
from typing import Callable

from ..networks import Network

PACKAGES = ("onnxruntime", "onnx", "onnx-ir")
VARIANTS = ("int8 u8s8", "int8 s8s8", "float", "int4 b32", "int4 b128")


def build(network: Network, variant: str, folder: pathlib.Path) -> None:
    output = folder / "model.onnx"
    if variant == "float":
        output.write_bytes(network.model.read_bytes())
        return
    if variant.startswith("int4"):
        _narrow(network, int(variant.split(" b")[1]), output)
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


def _narrow(network: Network, block: int, output: pathlib.Path) -> None:
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    model = onnx.load(str(network.model))
    if any(node.op_type == "Conv" for node in model.graph.node):
        raise ValueError("no 4-bit convolution")
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type != "Gemm":
            nodes.append(node)
            continue
        # The quantizer knows MatMul only.
        weights = constants[node.input[1]]
        transposed = onnx.numpy_helper.to_array(weights).T.copy()
        weights.CopyFrom(onnx.numpy_helper.from_array(transposed, weights.name))
        product = f"{node.output[0]}_product"
        nodes.append(onnx.helper.make_node("MatMul", [node.input[0], weights.name], [product], name=product))
        nodes.append(onnx.helper.make_node("Add", [product, node.input[2]], node.output, name=node.name))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    quantizer = MatMulNBitsQuantizer(model, bits=4, block_size=block, is_symmetric=True, accuracy_level=4)
    quantizer.process()
    quantizer.model.save_model_to_file(str(output))


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
