"""Markdown tables and JSON of measurements."""

import math
import time
from dataclasses import dataclass

from .environment import load, machine, versions
from .measure import Timing


@dataclass
class Row:
    """One network on one number of threads; qcc's form with the given bits is what is compared."""

    network: str
    threads: int
    timings: list[Timing]
    load: float
    bits: int = 8
    macs: int = 0

    def of(self, contender: str) -> list[Timing]:
        return sorted((timing for timing in self.timings if timing.artefact.contender == contender), key=lambda timing: timing.minimum)

    @property
    def own(self) -> Timing | None:
        return next((timing for timing in self.of("qcc") if timing.minima and timing.artefact.variant == f"int{self.bits}"), None)

    @property
    def best_peer(self) -> Timing | None:
        peers = [timing for timing in self.timings if timing.artefact.contender != "qcc" and timing.minima]
        return min(peers, key=lambda timing: timing.minimum, default=None)

    @property
    def ratio(self) -> float:
        """How many times faster qcc is than the best peer."""
        return self.best_peer.minimum / self.own.minimum if self.own and self.best_peer else math.nan


def geometric_mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.exp(sum(map(math.log, known)) / len(known)) if known else math.nan


def milliseconds(microseconds: float) -> str:
    return f"{microseconds / 1e3:.4g}" if math.isfinite(microseconds) else "–"


def table(cells: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    lines.insert(1, "|---|" + "---:|" * (len(cells[0]) - 1))
    return "\n".join(lines)


def _cell(timings: list[Timing], failures: list[str]) -> str:
    """Milliseconds of the best variant, with its name; a mark for a note where there is none."""
    if not timings:
        return ""
    best = timings[0]
    if not best.minima:
        failures.append(f"{best.artefact.label}: {best.failure}")
        return f"– [{len(failures)}]"
    note = f" {best.artefact.note}" if best.artefact.note else ""
    return f"{milliseconds(best.minimum)} ({best.artefact.variant}{note})"


def summary(rows: list[Row], names: list[str]) -> str:
    """The best variant of every contender by network; failures below."""
    failures: list[str] = []
    layers = any(row.macs for row in rows)
    cells = [["network", *names, "best peer", *(["qcc GOPS"] if layers else []), "best peer / qcc"]]
    for row in rows:
        own, best = row.own, row.best_peer
        rate = [f"{2e-3 * row.macs / own.minimum:.0f}" if own and row.macs else ""] if layers else []
        cells.append(
            [row.network, *(_cell([own] if name == "qcc" and own else row.of(name), failures) for name in names),
             best.artefact.label if best else "–", *rate, f"**{row.ratio:.2f}**"])
    mean = geometric_mean([row.ratio for row in rows])
    cells.append(["geometric mean", *[""] * (len(names) + 1 + layers), f"**{mean:.2f}**"])
    for row in rows:
        for timing in row.timings:
            if timing.failure and timing is not row.of(timing.artefact.contender)[0]:
                failures.append(f"{row.network}, {timing.artefact.label}: {timing.failure}")
    return table(cells) + "".join(f"\n\n[{index + 1}] {text}" for index, text in enumerate(failures))


def details(rows: list[Row]) -> str:
    """All variants: minimum and median."""
    labels = list(dict.fromkeys(timing.artefact.label for row in rows for timing in row.timings))
    cells = [["ms: minimum / median", *(row.network for row in rows)]]
    for label in labels:
        line = [label]
        for row in rows:
            timing = next((timing for timing in row.timings if timing.artefact.label == label), None)
            line.append(f"{milliseconds(timing.minimum)} / {milliseconds(timing.median)}" if timing and timing.minima else "–")
        cells.append(line)
    return table(cells)


def heading() -> str:
    """When, where and with what."""
    here = machine()
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    return (
        f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}; {here['processor']} (family/model/stepping {here['family']}), "
        f"{here['cores']} cores, {' '.join(here['instructions'])}; Linux {here['kernel']}; load average {load():.1f} at the end.\n\n"
        f"Packages: {packages}.\n\n"
        "Batch 1, floats in and out, milliseconds: minimum over all rounds of alternating slices. "
        "Ratios above 1: qcc is faster.")


def as_json(rows: list[Row]) -> list[dict[str, object]]:
    return [
        {
            "network": row.network, "threads": row.threads, "bits": row.bits, "macs": row.macs, "load": row.load,
            "ratio": None if math.isnan(row.ratio) else row.ratio,
            "contenders": [
                {
                    "contender": timing.artefact.contender, "variant": timing.artefact.variant, "note": timing.artefact.note,
                    "minimum_us": timing.minimum if timing.minima else None, "median_us": timing.median if timing.minima else None,
                    "minima_us": timing.minima, "runs": timing.runs, "failure": timing.failure,
                } for timing in row.timings],
        } for row in rows]
