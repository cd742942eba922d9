"""The command line: what to compare, on how many threads, and where to write it."""

import argparse
import pathlib
import sys
import time

from . import contenders, report
from .artefacts import Artefact, artefact
from .environment import HERE, load, machine, versions, write_json
from .measure import Timing, alternate
from .networks import GENERATED, TRAINED, network

MODELS = (*TRAINED, *GENERATED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS), help="default: %(default)s")
    parser.add_argument("--peers", default=",".join(name for name in contenders.NAMES if name != "qcc"), help="default: %(default)s")
    parser.add_argument("--threads", default="1,2", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=10, help="slices of each contender; default: %(default)s")
    parser.add_argument("--slice", type=float, default=50, help="milliseconds of a slice; default: %(default)s")
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "results", help="folder for the table and the JSON")
    arguments = parser.parse_args()
    names = ["qcc", *(name for name in arguments.peers.split(",") if name)]
    unknown = set(names) - set(contenders.NAMES)
    if unknown:
        parser.error(f"unknown peers {sorted(unknown)}; there are {list(contenders.NAMES)}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows: list[report.Row] = []
    for name in arguments.models.split(","):
        artefacts = build(name, names)
        for threads in map(int, arguments.threads.split(",")):
            rows.append(measure(name, artefacts, threads, arguments.rounds, arguments.slice))
        write(arguments.output, rows, names)
    print(text(rows, names))


def build(name: str, names: list[str], width: str = "int4", without: bool = True) -> list[Artefact]:
    """All contenders' forms of a network, but those of a width."""
    subject = network(name)
    result = []
    for contender in names:
        for variant in contenders.module(contender).VARIANTS:
            if variant.startswith(width) != without:
                result.append(artefact(subject, contender, variant))
    return result


def measure(name: str, artefacts: list[Artefact], threads: int, rounds: int, milliseconds: float) -> report.Row:
    cores = last_cores(threads)
    timings: list[Timing] = alternate(artefacts, threads, cores, rounds, milliseconds)
    row = report.Row(name, threads, timings, load())
    own, best = row.own, row.best_peer
    print(
        f"{name}, {threads} thread{'s' if threads > 1 else ''}: qcc {report.milliseconds(own.minimum) if own else 'failed'} ms, "
        f"{best.artefact.label if best else 'no peer'} {report.milliseconds(best.minimum) if best else ''} ms, ratio {row.ratio:.2f}",
        file=sys.stderr, flush=True)
    return row


def last_cores(count: int) -> list[int]:
    """Interrupts and other processes prefer the first cores."""
    import os

    return sorted(os.sched_getaffinity(0))[-count:]


def text(rows: list[report.Row], names: list[str]) -> str:
    parts = ["# qcc and its peers", report.heading()]
    for threads in sorted({row.threads for row in rows}):
        chosen = [row for row in rows if row.threads == threads]
        title = f"{threads} thread{'s' if threads > 1 else ''}"
        parts += [f"## {title}", report.summary(chosen, names), f"### All variants, {title}", report.details(chosen)]
    return "\n\n".join(parts) + "\n"


def write(folder: pathlib.Path, rows: list[report.Row], names: list[str]) -> None:
    (folder / "peers.md").write_text(text(rows, names))
    write_json(
        folder / "peers.json",
        {"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine(), "packages": versions(),
         "rows": report.as_json(rows)})
