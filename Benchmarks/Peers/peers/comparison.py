"""The command line: what to compare, on how many threads, and where to write it."""

import argparse
import math
import os
import pathlib
import sys
import time

from . import avx2, contenders, report
from .artefacts import Artefact, artefact
from .environment import HERE, load, machine, versions, write_json
from .measure import Timing, alternate
from .networks import GENERATED, LAYERS, TRAINED, Layer, network

MODELS = (*TRAINED, *GENERATED)


def main() -> None:
    arguments = _arguments()
    names = ["qcc", *(name for name in arguments.peers.split(",") if name)]
    environment = avx2.environment() if arguments.avx2 else {}
    rows: list[report.Row] = []
    for name in arguments.layers or arguments.models:
        artefacts = {part: _build(part, names, arguments.bits) for part in _networks(name)}
        if arguments.prepare:
            continue
        for threads in arguments.threads:
            measured = {
                part: report.Row(part, threads, _measure(forms, threads, arguments, environment), load(), arguments.bits)
                for part, forms in artefacts.items()}
            found = _of_layer(LAYERS[name], *measured.values()) if arguments.layers else list(measured.values())
            rows += found
            for row in found:
                print(_line(row), file=sys.stderr, flush=True)
        _write(arguments, rows, names)
    if rows:
        print(_text(arguments, rows, names))


def _arguments() -> argparse.Namespace:
    def choice(known: tuple[str, ...]):
        def parse(text: str) -> list[str]:
            chosen = list(known) if text == "all" else text.split(",")
            unknown = set(chosen) - set(known)
            if unknown:
                raise argparse.ArgumentTypeError(f"unknown: {sorted(unknown)}; there are {list(known)}")
            return chosen

        return parse

    peers = tuple(name for name in contenders.NAMES if name != "qcc")
    parser = argparse.ArgumentParser(description="Times qcc and its peers side by side; see README.md.")
    parser.add_argument("--models", type=choice(MODELS), default=list(MODELS), help="networks by name, with commas; default: all")
    parser.add_argument("--layers", type=choice(tuple(LAYERS)), help="single layers by name instead, or 'all'")
    parser.add_argument("--peers", default=",".join(peers), help="default: %(default)s")
    parser.add_argument("--threads", type=lambda text: [int(count) for count in text.split(",")], default=[1, 2], help="default: 1,2")
    parser.add_argument("--bits", type=int, choices=(8, 4), default=8, help="bits of weights; default: %(default)s")
    parser.add_argument("--avx2", action="store_true", help="as on a processor without AVX-512 and AVX-VNNI")
    parser.add_argument("--prepare", action="store_true", help="only build what the measurements need")
    parser.add_argument("--rounds", type=int, default=10, help="slices of each contender; default: %(default)s")
    parser.add_argument("--slice", type=float, default=50, help="milliseconds of a slice; default: %(default)s")
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "results", help="folder for tables and JSON; default: results")
    arguments = parser.parse_args()
    unknown = set(arguments.peers.split(",")) - set(peers) - {""}
    if unknown:
        parser.error(f"unknown peers {sorted(unknown)}; there are {list(peers)}")
    cores = len(os.sched_getaffinity(0))
    if max(arguments.threads) > cores:
        parser.error(f"there are {cores} cores")
    return arguments


def _networks(name: str) -> list[str]:
    """The networks to time for a name: itself, or a short and a long chain of a layer."""
    return [LAYERS[name].chain(count) for count in (1, LAYERS[name].long)] if name in LAYERS else [name]


def _build(name: str, names: list[str], bits: int) -> list[Artefact]:
    """All forms of a network that are of interest at so many bits; narrow ones are compared with narrow ones."""
    subject = network(name)
    result = []
    for contender in names:
        for variant in contenders.module(contender).VARIANTS:
            narrow = variant.startswith("int4")
            if narrow == (bits == 4) or (contender == "qcc" and not narrow):
                result.append(artefact(subject, contender, variant))
    return result


def _measure(artefacts: list[Artefact], threads: int, arguments: argparse.Namespace, environment: dict[str, str]) -> list[Timing]:
    # Interrupts and other processes prefer the first cores.
    cores = sorted(os.sched_getaffinity(0))[-threads:]
    return alternate(artefacts, threads, cores, arguments.rounds, arguments.slice, environment)


def _of_layer(layer: Layer, short: report.Row, long: report.Row) -> list[report.Row]:
    """The layer alone with floats in and out, and one layer within a network: the difference of the chains by layer."""
    inner = []
    for timing in long.timings:
        label = timing.artefact.label
        base = next((other for other in short.timings if other.artefact.label == label), timing)
        derived = Timing(timing.artefact, runs=timing.runs, failure=timing.failure or base.failure)
        difference = (timing.minimum - base.minimum) / (layer.long - 1)
        if math.isfinite(difference) and difference > 0:
            derived.minima = [difference]
            derived.medians = [(timing.median - base.median) / (layer.long - 1)]
        inner.append(derived)
    short.network, short.macs = f"{layer.name}, alone", layer.macs
    return [short, report.Row(f"{layer.name}, within", long.threads, inner, long.load, long.bits, layer.macs)]


def _line(row: report.Row) -> str:
    own, best = row.own, row.best_peer
    return (
        f"{row.network}, threads {row.threads}: qcc {report.milliseconds(own.minimum) if own else 'failed'} ms, "
        f"{best.artefact.label if best else 'no peer'} {report.milliseconds(best.minimum) if best else ''} ms, ratio {row.ratio:.2f}")


def _text(arguments: argparse.Namespace, rows: list[report.Row], names: list[str]) -> str:
    what = "single layers" if arguments.layers else "networks"
    processor = ", without AVX-512 and AVX-VNNI" if arguments.avx2 else ""
    parts = [f"# qcc and its peers: {what}, {arguments.bits}-bit weights{processor}", report.heading()]
    for threads in arguments.threads:
        chosen = [row for row in rows if row.threads == threads]
        title = f"{threads} thread{'s' if threads > 1 else ''}"
        parts += [f"## {title}", report.summary(chosen, names), f"### All variants, {title}", report.details(chosen)]
    return "\n\n".join(parts) + "\n"


def _write(arguments: argparse.Namespace, rows: list[report.Row], names: list[str]) -> None:
    stem = f"{'layers' if arguments.layers else 'networks'}-{arguments.bits}bit{'-avx2' if arguments.avx2 else ''}"
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / f"{stem}.md").write_text(_text(arguments, rows, names))
    write_json(
        arguments.output / f"{stem}.json",
        {"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine(), "packages": versions(),
         "avx2": arguments.avx2, "rows": report.as_json(rows)})
