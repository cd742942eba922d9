#!/usr/bin/env python3
"""Switches passes on and off and measures what they do: signal-to-noise ratio of the outputs, paired top-1.

    ablation.py [--settings S,S…] [--passes P;P…] [--samples N] [--test-samples N] [MODEL…]

Every row has one pass more or less than the pipeline BASE: ranges, gptq and bias correction. To measure a pass, add its line to
VARIANTS. Quantized graphs are evaluated with rounded floats, which answer as the integer programs do on 99.6 to 100 % of
images (RESULTS.md, the same bits everywhere). Calibration images of the ImageNet model are among the test images.
"""

import argparse
import json
import os
import sys

from benchmark_models import HERE, SCRATCH, chosen, data_path
from measure import measure, table

# Passes at FLOAT, ROUNDING and BIAS are what the rows of the table change.
BASE = "canonical, FLOAT insert-quantizers{{target = {target}}}, assign{{target = {target}}}, calibrate{{activations = RANGE}} ROUNDING BIAS"
# What -O2 runs behind gptq.
TRAINING = (
    "reconstruct{iterations = 0, network-iterations = 128, batch = 16, network-rate = 1, weight-rate = 0.01, "
    "parameter-rate = 0.001, work = 1.5, least-samples = 64}")

# row: what stands at FLOAT, and at ROUNDING (None: what --rounding says); further what differs otherwise
VARIANTS = {
    "(base)": ("", None),
    "equalize": ("equalize", None),
    "equalize{by = activations}": ("equalize{by = activations}", None),
    "equalize{by = activations, alpha = 1}": ("equalize{by = activations, alpha = 1}", None),
    "equalize{by = both}": ("equalize{by = both}", None),
    "absorb-bias": ("absorb-bias", None),
    "absorb-bias{linear = false}": ("absorb-bias{linear = false}", None),
    "equalize{by = both}, absorb-bias": ("equalize{by = both}, absorb-bias", None),
    "split-outliers": ("split-outliers", None),
    "split-outliers{per-channel = true, threshold = 3, bits = 4}": (
        "split-outliers{per-channel = true, threshold = 3, bits = 4}", None),
    "gptq{sweeps = 4}": ("", "gptq{sweeps = 4}"),
    "adaround": ("", "adaround"),
    "no gptq": ("", ""),
    "no gptq, rescale-channels": ("", "rescale-channels"),
    "no gptq, match-moments": ("", "match-moments"),
    "gptq, match-moments": ("", "gptq, match-moments"),
    "no correct-bias": ("", None, {"BIAS": ""}),
    "-O2: reconstruct, network": ("", TRAINING),
    "-O3: reconstruct": ("", "reconstruct{work = 8}"),
    "range min-max": ("", None, {"RANGE": "min-max"}),
    "range average": ("", None, {"RANGE": "average"}),
    "range percentile": ("", None, {"RANGE": "percentile"}),
    "range entropy": ("", None, {"RANGE": "entropy"}),
    "range masked-entropy": ("", None, {"RANGE": "masked-entropy"}),
    "range mse": ("", None, {"RANGE": "mse"}),
}


def pipeline(target, variant, rounding):
    at_float, at_rounding, *others = VARIANTS[variant]
    places = {
        "FLOAT": at_float + "," if at_float else "", "RANGE": "l2.4", "BIAS": ", correct-bias",
        "ROUNDING": rounding if at_rounding is None else at_rounding}
    for other in others:
        places |= other
    places["ROUNDING"] = ", " + places["ROUNDING"] if places["ROUNDING"] else ""
    text = BASE.format(target=HERE / "targets" / f"{target}.yaml")
    for place, content in places.items():
        text = text.replace(place, content)
    return text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--settings", default="w8a8-tensor,w8a8,w4a8,w4a4", help="names of files in targets/")
    parser.add_argument("--passes", default=";".join(VARIANTS), help="rows, separated by semicolons")
    parser.add_argument("--rounding", default="gptq", help="passes behind calibrate, where a row names none")
    parser.add_argument("--samples", type=int, default=256, help="calibration images")
    parser.add_argument("--test-samples", type=int, help="test images; default: all")
    parser.add_argument("models", nargs="*")
    arguments = parser.parse_args()
    folder = SCRATCH / "ablation"
    folder.mkdir(parents=True, exist_ok=True)
    qcc = os.environ["QCC"]
    settings = arguments.settings.split(",")
    variants = [name.strip() for name in arguments.passes.split(";")]
    models = chosen(arguments.models)
    graph = folder / f"quantized-{os.getpid()}.qir"
    for model in models:
        rows = [["pass"] + [f"{setting} {figure}" for setting in settings for figure in ("dB", "top-1")]]
        test = ["--data", data_path(model.test), "--preprocess", model.preprocess_path]
        if arguments.test_samples:
            test += ["--samples", arguments.test_samples]
        for variant in variants:
            cells = []
            for setting in settings:
                measure(
                    [qcc, "opt", f"--pass-pipeline={pipeline(setting, variant, arguments.rounding)}", model.path, "-o", graph,
                     "--data", data_path(model.calibration), "--samples", arguments.samples, "--seed", 1,
                     "--preprocess", model.preprocess_path])
                _, _, output = measure([qcc, "eval", graph, "--against", model.path, "--json", *test])
                result = json.loads(output)
                cells += [f"{result['against']['sqnr-db']:.1f}", f"{result['top1']:.2f}"]
                floats = result["against"]["top1"]
            rows.append([variant] + cells)
            print(model.name, *rows[-1], sep="\t", file=sys.stderr)
        print(f"\n{model.name}, float {floats:.2f}:\n")
        print(table(rows), flush=True)
    for file in folder.glob(f"quantized-{os.getpid()}.*"):
        file.unlink()


main()
