#!/usr/bin/env python3
"""Compares qcc's float evaluation of every benchmark model with ONNX Runtime's.

    float_outputs.py [--count N] [MODEL…]

The relative error is the largest difference of an output, over the largest magnitude of an output. Inputs and reference
outputs stay in .build/peers/float as .npy. Fails when an error reaches 1e-4.
"""

import argparse
import os
import sys

import numpy as np

from benchmark_models import SCRATCH, chosen, prepare, read, run, session
from measure import measure, table


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("models", nargs="*")
    arguments = parser.parse_args()
    folder = SCRATCH / "float"
    folder.mkdir(parents=True, exist_ok=True)
    rows, failed = [["model", "inputs", "relative error", "same top-1"]], False
    for model in chosen(arguments.models):
        images, _ = read(model.test)
        inputs = prepare(model, images[: arguments.count])
        reference = run(session(model.path), inputs)
        np.save(folder / f"{model.name}.input.npy", inputs)
        np.save(folder / f"{model.name}.reference.npy", reference)
        output = folder / f"{model.name}.qcc.npy"
        try:
            measure([os.environ["QCC"], "run", model.path, "--input", folder / f"{model.name}.input.npy", "--output", output])
        except RuntimeError as error:
            print(error, file=sys.stderr)
            rows.append([model.name, len(inputs), "failed", ""])
            failed = True
            continue
        outputs = np.load(output).reshape(reference.shape)
        error = np.abs(outputs - reference).max() / np.abs(reference).max()
        same = (outputs.argmax(1) == reference.argmax(1)).sum()
        rows.append([model.name, len(inputs), f"{error:.1e}", f"{same}/{len(inputs)}"])
        failed |= not error < 1e-4
    print(table(rows))
    sys.exit(1 if failed else 0)


main()
