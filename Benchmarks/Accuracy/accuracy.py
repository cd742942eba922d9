#!/usr/bin/env python3
"""Compiles every benchmark model for every target and measures: seconds, peak memory, size, paired accuracy.

    accuracy.py [--targets T,T…] [--samples N] [--without-data HOW] [--option ARGUMENT]… [MODEL…]

Calibration images of the ImageNet model are among the test images, since there are no others.
"""

import argparse
import json
import os
import sys

from benchmark_models import SCRATCH, chosen, data_path
from measure import measure, table

TARGETS = "generic-int8,x86-int8,x86-int4,arm-int8,arm-int4"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--targets", default=TARGETS)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--option", action="append", default=[], help="one more argument for the compiler")
    parser.add_argument("--without-data", choices=["distilled", "analytic"], help="compile without calibration images")
    parser.add_argument("models", nargs="*")
    arguments = parser.parse_args()
    folder = SCRATCH / "programs"
    folder.mkdir(parents=True, exist_ok=True)
    qcc = os.environ["QCC"]
    rows = [["model", "target", "compile s", "MiB", "bytes", "float top-1", "top-1", "change", "agreement", "wins", "losses"]]
    failed = False
    for model in chosen(arguments.models):
        calibration = ["--data", data_path(model.calibration), "--samples", arguments.samples]
        if arguments.without_data:
            calibration = ["--without-data", arguments.without_data]
        for target in arguments.targets.split(","):
            program = folder / f"{model.name}-{target}.qpk"
            try:
                seconds, memory, _ = measure(
                    [qcc, model.path, "--target", target, *calibration, "--seed", 1,
                     "--preprocess", model.preprocess_path, "-o", program, *arguments.option])
                _, _, output = measure([qcc, "eval", program, "--data", data_path(model.test), "--against", model.path, "--json"])
            except RuntimeError as error:
                print(error, file=sys.stderr)
                rows.append([model.name, target, "failed"] + [""] * 8)
                failed = True
                continue
            result = json.loads(output)
            against = result["against"]
            rows.append(
                [model.name, target, f"{seconds:.1f}", f"{memory:.0f}", program.stat().st_size, f"{against['top1']:.2f}",
                 f"{result['top1']:.2f}", f"{result['top1'] - against['top1']:+.2f}", f"{against['agreement']:.2f}",
                 against["wins"], against["losses"]])
            print(*rows[-1], file=sys.stderr)
    print(table(rows))
    sys.exit(1 if failed else 0)


main()
