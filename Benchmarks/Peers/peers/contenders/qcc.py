"""qcc itself, through `qcc bench --serve`."""

import os
import pathlib
import subprocess

from ..environment import ROOT
from ..networks import Network

PACKAGES = ()
VARIANTS = ("int8", "int4")
TARGETS = {"int8": ["--target", "x86-int8"], "int4": ["--target", "x86-int4", "--pin", "*=w4a8"]}


def executable() -> pathlib.Path:
    return pathlib.Path(os.environ.get("QCC") or ROOT / ".build" / "release" / "qcc")


def build(network: Network, variant: str, folder: pathlib.Path) -> None:
    command = [executable(), network.model, *TARGETS[variant], "--data", network.calibration, "-o", folder / "model.qpk"]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.strip().splitlines()[-1] if result.stderr.strip() else f"exit {result.returncode}")


def command(folder: pathlib.Path, threads: int) -> list[str]:
    """Speaks the protocol of worker.py itself."""
    return [str(executable()), "bench", str(folder / "model.qpk"), "--serve", "--threads", str(threads)]
