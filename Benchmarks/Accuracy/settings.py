#!/usr/bin/env python3
"""Uniform widths: every layer but the first and the last at the setting's bits, depthwise layers too; paired with float.

    settings.py [--settings W8A8,W4A8,…] [--recipe 0…3] [--samples N] [--seeds 1,2] [MODEL…]

Each setting has its recipe (`-O`); "no data" calibrates without images. The half-width is that of the 95 % interval of the
paired difference: 1.96 times the root of wins plus losses, in percent of the images. Calibration images of the ImageNet model
are among the test images, since there are no others.
"""

import argparse
import json
import math
import os
import sys

from benchmark_models import HERE, SCRATCH, chosen, data_path
from measure import measure, table

MODELS = ["resnet20", "resnet56", "resnet8-mlperf-tiny", "fashion-dscnn", "efficientnet-lite0"]
# setting: (target, recipe, whether there is data)
SETTINGS = {
    "W8A8": ("uniform-w8a8", 2, True),
    "W4A8": ("uniform-w4a8", 2, True),
    "W4A4": ("uniform-w4a4", 3, True),
    "W3A8": ("uniform-w3a8", 3, True),
    "W8A8 no data": ("uniform-w8a8", 2, False),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--recipe", type=int, help="one for all settings")
    parser.add_argument("--samples", type=int, default=2048)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--option", action="append", default=[], help="one more argument for the compiler")
    parser.add_argument("models", nargs="*", default=MODELS)
    arguments = parser.parse_args()
    folder = SCRATCH / "settings"
    folder.mkdir(parents=True, exist_ok=True)
    qcc = os.environ["QCC"]
    rows = [["model", "setting", "recipe", "seed", "compile s", "MiB", "float top-1", "top-1", "change", "half-width"]]
    for model in chosen(arguments.models):
        for setting in arguments.settings.split(","):
            target, recipe, has_data = SETTINGS[setting]
            recipe = recipe if arguments.recipe is None else arguments.recipe
            for seed in arguments.seeds.split(","):
                program = folder / f"{model.name}-{target}.qpk"
                data = ["--data", data_path(model.calibration), "--samples", arguments.samples] if has_data else []
                seconds, memory, _ = measure(
                    [qcc, model.path, "--target", HERE / "targets" / f"{target}.yaml", "-O", recipe, *data, "--seed", seed,
                     "--preprocess", model.preprocess_path, "-o", program, *arguments.option])
                _, _, output = measure([qcc, "eval", program, "--data", data_path(model.test), "--against", model.path, "--json"])
                result = json.loads(output)
                against = result["against"]
                half = 100 * 1.96 * math.sqrt(against["wins"] + against["losses"]) / result["samples"]
                rows.append(
                    [model.name, setting, f"O{recipe}", seed, f"{seconds:.1f}", f"{memory:.0f}", f"{against['top1']:.2f}",
                     f"{result['top1']:.2f}", f"{result['top1'] - against['top1']:+.2f}", f"{half:.2f}"])
                print(*rows[-1], file=sys.stderr, flush=True)
    print(table(rows))


main()
