#!/usr/bin/env python3
"""Weights of 4 bits by AIMET, MCT and qcc on the same calibration images: accuracy, seconds, peak memory.

    low_bit_quantizers.py [--samples N] [--settings W4A8,W4A4,half] [--adaround ITERATIONS] [--jpeg] [MODEL…]

W4A8 and W4A4: every layer but the first and the last at these bits (`targets`), these two and what they read at 8. AIMET: batch
normalization folded, then QuantSim with its per-channel default configuration and tf_enhanced ranges; the rows with CLE after its
cross-layer equalization, those with AdaRound after its rounding too (`--adaround 0` leaves them out: it takes minutes). qcc by -O2
and -O3. half: weights of half the bytes that 8 bits take, activations of 8 bits. MCT: its mixed precision for imx500 (weights of
2, 4 and 8 bits per channel) under that `weights_memory`, of the network as onnx2torch reads it; it cannot trace what that makes
of resnet20's shortcuts. qcc: 4 bits in every layer, and `search --avg-bits 4` with -O2 of the assignment.

AIMET and MCT answer by their own simulations, qcc by the integer program. Seconds and memory are those of processes that read model and
images, quantize and (AIMET and MCT) answer to the test images; they do not export. `--jpeg`: the 10,000 JPEG test images of CIFAR-10.
"""

import argparse
import dataclasses
import os
import pathlib
import sys

import numpy as np

from benchmark_models import HERE, SCRATCH, chosen, prepare, read, run, session
from measure import measure, table
from peer_quantizers import calibration_file, calibration_images, input_name

MODELS = ["resnet20", "resnet8-mlperf-tiny", "fashion-dscnn", "efficientnet-lite0"]
SETTINGS = {"W4A8": (4, 8), "W4A4": (4, 4), "half": None}
WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def quantize_by_aimet(model, setting, how, samples, iterations):
    """The simulated network's answers to the test images."""
    import aimet_onnx
    import onnx
    from aimet_onnx.batch_norm_fold import fold_all_batch_norms_to_weight
    from aimet_onnx.common.defs import QuantScheme
    from aimet_onnx.cross_layer_equalization import equalize_model

    weight_bits, activation_bits = SETTINGS[setting]
    network = onnx.version_converter.convert_version(onnx.load(str(model.path)), 13)
    network.ir_version = min(network.ir_version, 10)
    name = input_name(network)
    images = [{name: image} for image in calibration_images(model, samples)]
    fold_all_batch_norms_to_weight(network)
    if "CLE" in how:
        equalize_model(network)
    configuration = pathlib.Path(aimet_onnx.__file__).parent / "common/quantsim_config/default_config_per_channel.json"
    simulation = aimet_onnx.QuantizationSimModel(
        network, param_type=aimet_onnx.qtype.int(weight_bits), activation_type=aimet_onnx.qtype.int(activation_bits),
        quant_scheme=QuantScheme.post_training_tf_enhanced, config_file=str(configuration))
    keep_ends(simulation)
    if "AdaRound" in how:
        aimet_onnx.apply_adaround(simulation, images, num_iterations=iterations)
    simulation.compute_encodings(images)
    return run(simulation.session, prepare(model, read(model.test)[0]))


def keep_ends(simulation):
    """8 bits for the first and the last layer's weights, for what they read, and for the answers."""
    nodes = [node for node in simulation.model.model.graph.node if node.op_type in WEIGHTED]
    quantizers = simulation.qc_quantize_op_dict
    kept = [simulation.model.model.graph.output[0].name]
    for node in (nodes[0], nodes[-1]):
        kept += list(node.input[:2])
    for name in kept:
        # Names of quantized values end in a mark of the simulation's own; what moves data has no quantizer.
        name = name.removesuffix("_qdq").removesuffix("_updated")
        producers = {output: node for node in simulation.model.model.graph.node for output in node.output}
        while name not in quantizers and name in producers:
            name = producers[name].input[0].removesuffix("_qdq").removesuffix("_updated")
        if name not in quantizers:
            raise SystemExit(f"no quantizer for {name} among {sorted(quantizers)}")
        quantizers[name].set_bitwidth(8)


def quantize_by_mct(model, samples):
    """The simulated network's answers to the test images."""
    import model_compression_toolkit as mct
    import onnx2torch
    import torch

    network = onnx2torch.convert(str(model.path)).eval()
    images = list(calibration_images(model, samples))

    def batches():
        for start in range(0, len(images), 16):
            yield [np.concatenate(images[start : start + 16])]

    weights = sum(parameter.numel() for name, parameter in network.named_parameters() if parameter.dim() > 1)
    quantized, _ = mct.ptq.pytorch_post_training_quantization(
        network, batches, target_resource_utilization=mct.core.ResourceUtilization(weights_memory=weights / 2),
        core_config=mct.core.CoreConfig(mixed_precision_config=mct.core.MixedPrecisionQuantizationConfig()))
    inputs = prepare(model, read(model.test)[0])
    with torch.no_grad():
        return np.concatenate([
            quantized(torch.from_numpy(inputs[start : start + 50]).to(next(quantized.parameters()).device)).cpu().numpy()
            for start in range(0, len(inputs), 50)])


def quantize_by_qcc(model, setting, quantizer, samples):
    output = SCRATCH / "quantizers" / f"{model.name}-{setting}.qpk"
    command = [
        os.environ["QCC"], "compile", model.path, "--data", calibration_file(model, samples), "--seed", 1, "--preprocess",
        model.preprocess_path, "-o", output]
    recipe = quantizer.split(" ")[-1]
    if "search" in quantizer:
        assignment = output.with_suffix(".json")
        search = [
            os.environ["QCC"], "search", *command[2:-1], assignment, "--target", "x86-int4", "--avg-bits", 4, "--cache", "none"]
        found = measure(search)
        made = measure([*command, "--target", "x86-int4", recipe, "--assignment", assignment])
        figures = found[0] + made[0], max(found[1], made[1])
    elif setting == "half":
        figures = measure([*command, "--target", "x86-int4", recipe, "--pin", "*=w4"])[:2]
    else:
        figures = measure([*command, "--target", HERE / "targets" / f"uniform-{setting.lower()}.yaml", recipe])[:2]
    inputs, logits = output.with_name("inputs.npy"), output.with_name("logits.npy")
    measure([os.environ["QCC"], "run", output, "--input", inputs, "--output", logits])
    return figures, np.load(logits)


def tested(model, on_jpeg):
    return dataclasses.replace(model, test="cifar10/jpeg-test.tar.xz") if on_jpeg else model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--adaround", type=int, default=2000, help="iterations a layer; 0: without")
    parser.add_argument("--jpeg", action="store_true", help="10,000 JPEG test images of CIFAR-10")
    parser.add_argument("--answers-to", type=pathlib.Path, help="used by this script itself")
    parser.add_argument("--how", help="used by this script itself")
    parser.add_argument("models", nargs="*", default=MODELS)
    arguments = parser.parse_args()
    samples = arguments.samples
    if arguments.answers_to:
        model = tested(chosen(arguments.models)[0], arguments.jpeg)
        outputs = (
            quantize_by_mct(model, samples) if arguments.how == "MCT"
            else quantize_by_aimet(model, arguments.settings, arguments.how, samples, arguments.adaround))
        return np.save(arguments.answers_to, outputs)
    (SCRATCH / "quantizers").mkdir(parents=True, exist_ok=True)
    rows = [["model", "setting", "quantizer", "seconds", "MiB", "float top-1", "top-1", "change", "SQNR dB", "agreement"]]
    for model in chosen(arguments.models):
        model = tested(model, arguments.jpeg)
        images, labels = read(model.test)
        inputs = prepare(model, images)
        np.save(SCRATCH / "quantizers" / "inputs.npy", inputs)
        calibration_file(model, samples)
        float_outputs = run(session(model.path), inputs)
        for setting in arguments.settings.split(","):
            contenders = ["AIMET", "AIMET CLE"] + (["AIMET AdaRound", "AIMET CLE AdaRound"] if arguments.adaround else [])
            contenders += ["qcc -O2", "qcc -O3"]
            for quantizer in ["MCT", "qcc -O2", "qcc search -O2"] if setting == "half" else contenders:
                if quantizer.startswith("qcc"):
                    figures, outputs = quantize_by_qcc(model, setting, quantizer, samples)
                else:
                    saved = SCRATCH / "quantizers" / "aimet.npy"
                    try:
                        figures = measure([
                            sys.executable, __file__, "--answers-to", saved, "--how", quantizer, "--settings", setting, "--samples",
                            samples, "--adaround", arguments.adaround, *["--jpeg"] * arguments.jpeg, model.name])[:2]
                    except RuntimeError as error:
                        print(error, file=sys.stderr)
                        rows.append([model.name, setting, quantizer, "failed"] + [""] * 6)
                        continue
                    outputs = np.load(saved)
                outputs = outputs.reshape(len(labels), -1)
                reference, top1 = (100 * (answers.argmax(1) == labels).mean() for answers in (float_outputs, outputs))
                decibels = 10 * np.log10((float_outputs**2).sum() / ((outputs - float_outputs) ** 2).sum())
                rows.append([
                    model.name, setting, quantizer, f"{figures[0]:.1f}", f"{figures[1]:.0f}", f"{reference:.2f}", f"{top1:.2f}",
                    f"{top1 - reference:+.2f}", f"{decibels:.1f}",
                    f"{100 * (outputs.argmax(1) == float_outputs.argmax(1)).mean():.1f}"])
                print(*rows[-1], file=sys.stderr, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
