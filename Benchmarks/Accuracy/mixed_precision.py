#!/usr/bin/env python3
"""Searched widths beside uniform and random ones of the same mean, and the size at equal accuracy.

    mixed_precision.py [--bits 4] [--random 8] [--samples 512] [--jpeg] [MODEL…]

All are compiled with the same calibration images (seed 1), GPTQ and bias correction, and measured on the test images. "policy" is
8 bits in the first, last and depthwise layers. The last table narrows the searched mean width in steps of 0.2 bits, to see where top-1
falls below that of uniform widths. Bytes are those of compact files (`qcc compile --compact`), and "smaller" compares them. The
half-width is that of the 95 % interval of the change. `--jpeg` measures on the 10,000 JPEG test images in place of the 1,000 originals, a
shift for networks that were trained on these; without random widths and without the last table.
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys

from benchmark_models import SCRATCH, chosen, data_path
from measure import table

TARGET = "x86-int4"
MODELS = ["resnet20", "resnet56", "efficientnet-lite0"]


def search(model, arguments, *options):
    """The report of `qcc search` on a model, measured on its test images."""
    qcc = os.environ["QCC"]
    assignment = SCRATCH / "assignments" / f"{model.name}.json"
    assignment.parent.mkdir(parents=True, exist_ok=True)
    command = [
        qcc, "search", model.path, "--target", TARGET, "--data", data_path(model.calibration), "--samples", arguments.samples,
        "--seed", 1, "--preprocess", model.preprocess_path, "--quiet", "--json", "--compact", "-o", assignment, "--cache",
        SCRATCH / "search", "--test", data_path("cifar10/jpeg-test.tar.xz" if arguments.jpeg else model.test)]
    run = subprocess.run([str(part) for part in [*command, *options]], capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(run.stderr)
    return json.loads(run.stdout)


def random_widths(sites, mean, generator):
    """Widths drawn for every layer, then moved one by one until their mean is just below the budget."""
    widths = [generator.randint(2, 8) for _ in sites]
    total = sum(site["elements"] for site in sites)

    def average():
        return sum(site["elements"] * width for site, width in zip(sites, widths)) / total

    while not mean - 0.1 <= average() <= mean:
        index = generator.randrange(len(sites))
        step = -1 if average() > mean else 1
        widths[index] = min(max(widths[index] + step, 2), 8)
    return widths


def row(model, name, report):
    result = report["result"]
    half = 100 * 1.96 * math.sqrt(result["wins"] + result["losses"]) / result["samples"]
    return [
        model.name, name, f"{result['average-bits']:.2f}", result["bytes"], f"{result['sqnr-db']:.1f}", f"{result['top1']:.2f}",
        f"{result['top1'] - result['float-top1']:+.2f}", f"{half:.2f}", f"{result['agreement']:.2f}"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bits", type=float, default=4)
    parser.add_argument("--random", type=int, default=8, help="how many random assignments")
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--score", default="sqnr")
    parser.add_argument("--jpeg", action="store_true", help="10,000 JPEG test images of CIFAR-10")
    parser.add_argument("models", nargs="*", default=MODELS)
    arguments = parser.parse_args()
    head = ["model", "widths", "mean bits", "bytes", "SQNR dB", "top-1", "change", "half-width", "agreement"]
    rows, sizes = [head], [["model", "widths", "mean bits", "bytes", "smaller", "top-1", "agreement", "SQNR dB"]]
    for model in chosen(arguments.models):
        bits = int(arguments.bits)
        best = search(model, arguments, "--avg-bits", arguments.bits, "--score", arguments.score)
        uniform = search(model, arguments, "--avg-bits", 8, "--pin", f"*=w{bits}")
        policy = search(model, arguments, "--avg-bits", 8, *pins(policy_widths(model, best)))
        rows += [row(model, "searched", best), row(model, f"uniform {bits}", uniform), row(model, "policy", policy)]
        sites = [site for site in best["sites"] if site["role"] == "weight"]
        generator = random.Random(1)
        drawn = []
        for _ in range(0 if arguments.jpeg else arguments.random):
            widths = random_widths(sites, arguments.bits, generator)
            drawn.append(search(model, arguments, "--avg-bits", 8, *pins(zip(sites, widths))))
        drawn.sort(key=lambda report: report["result"]["sqnr-db"])
        if drawn:
            rows.append(row(model, f"best of {len(drawn)} random", drawn[-1]))
            rows.append(row(model, "median of random", drawn[len(drawn) // 2]))
        for line in rows[-5 if drawn else -3:]:
            print(*line, file=sys.stderr)
        if arguments.jpeg:
            continue
        for report, name in [(uniform, f"uniform {bits}"), *((narrower(model, arguments, step), "searched") for step in range(1, 8))]:
            result = report["result"]
            sizes.append([
                model.name, name, f"{result['average-bits']:.2f}", result["bytes"],
                f"{100 * (1 - result['bytes'] / uniform['result']['bytes']):.0f} %",
                f"{result['top1']:.2f}", f"{result['agreement']:.2f}", f"{result['sqnr-db']:.1f}"])
            print(*sizes[-1], file=sys.stderr)
    print(table(rows))
    if len(sizes) > 1:
        print()
        print(table(sizes))


def narrower(model, arguments, step):
    return search(model, arguments, "--avg-bits", round(arguments.bits - 0.2 * step, 1), "--score", arguments.score)


def policy_widths(model, report):
    """8 bits in the first, last and depthwise layers, 4 elsewhere: the policy of x86-int4 but for its smallest layers."""
    sites = [site for site in report["sites"] if site["role"] == "weight"]
    return [(site, 8 if index in (0, len(sites) - 1) or "depthwise" in site["site"] else 4) for index, site in enumerate(sites)]


def pins(widths):
    return [part for site, width in widths for part in ("--pin", f"{site['site']}=w{width}")]


main()
