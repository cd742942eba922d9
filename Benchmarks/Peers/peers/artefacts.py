"""Quantized and converted networks, each made once by a process of its own and kept by the hash of what it depends on.

    python -m peers.artefacts CONTENDER VARIANT NETWORK FOLDER      (what the process runs)
"""

import pathlib
import shutil
import subprocess
import sys
from dataclasses import dataclass

from . import contenders
from .environment import CACHE, HERE, digest
from .networks import Network, network

BUILD_SECONDS = 1200


@dataclass(frozen=True)
class Artefact:
    """A contender's form of a network, or why there is none."""

    contender: str
    variant: str
    folder: pathlib.Path
    failure: str = ""

    @property
    def label(self) -> str:
        return f"{self.contender} {self.variant}"

    @property
    def note(self) -> str:
        path = self.folder / "note.txt"
        return path.read_text().strip() if path.exists() else ""


def artefact(subject: Network, contender: str, variant: str) -> Artefact:
    """From the cache, or built; a failure is kept too."""
    key = digest(contender, variant, subject.key, contenders.key(contender))
    folder = CACHE / "artefacts" / subject.name / f"{contender}-{variant.replace(' ', '-')}-{key}"
    failed = folder.with_suffix(".failed")
    if not folder.exists() and not failed.exists():
        for old in folder.parent.glob(f"{contender}-{variant.replace(' ', '-')}-????????????????*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        reason = _build(subject, contender, variant, folder)
        if reason:
            failed.write_text(reason + "\n")
    return Artefact(contender, variant, folder, failed.read_text().strip() if failed.exists() else "")


def _build(subject: Network, contender: str, variant: str, folder: pathlib.Path) -> str:
    """Runs the contender's tool aside, so that it may crash; the reason if it fails, with its log beside the folder."""
    print(f"  building {contender} {variant} for {subject.name}", file=sys.stderr, flush=True)
    working = folder.with_suffix(".building")
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    command = ["nice", sys.executable, "-m", "peers.artefacts", contender, variant, subject.name, str(working)]
    log = folder.with_suffix(".log")
    with open(log, "w") as output:
        try:
            status = subprocess.run(command, cwd=HERE, stdout=output, stderr=output, timeout=BUILD_SECONDS).returncode
        except subprocess.TimeoutExpired:
            status = "no end in time"
    if status == 0:
        working.rename(folder)
        return ""
    shutil.rmtree(working, ignore_errors=True)
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"{lines[-1].strip()[:200] if lines else ''} ({status})"


def main() -> None:
    contender, variant, name, folder = sys.argv[1:]
    contenders.module(contender).build(network(name), variant, pathlib.Path(folder))


if __name__ == "__main__":
    main()
