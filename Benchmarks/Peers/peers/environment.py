"""Folders, the private Python environments, and what machine this is. Needs nothing but Python itself."""

import hashlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
CACHE = HERE / ".cache"
RUNTIME = HERE / ".venv-peers"
CONVERT = HERE / ".venv-convert"
REQUIREMENTS = {RUNTIME: HERE / "requirements.txt", CONVERT: HERE / "requirements-convert.txt"}


def python(environment: pathlib.Path) -> pathlib.Path:
    """The interpreter of a private environment."""
    return environment / "bin" / "python"


def ensure(environment: pathlib.Path) -> None:
    """Makes the environment with the pinned packages, unless it is there with just these."""
    requirements = REQUIREMENTS[environment]
    mark = environment / "ready"
    if mark.exists() and mark.read_bytes() == requirements.read_bytes():
        return
    print(f"installing {requirements.name} into {environment}", file=sys.stderr)
    if not python(environment).exists():
        venv.create(environment, with_pip=True)
    install = [str(python(environment)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "--requirement", str(requirements)], check=True)
    if environment == RUNTIME:
        # Its converter is a program of its own; the packages that it names are for its Python interface.
        subprocess.run([*install, "--no-deps", "pnnx==20261020"], check=True)
    mark.write_bytes(requirements.read_bytes())


def digest(*parts: bytes | str | pathlib.Path) -> str:
    """Hash of texts, bytes and the contents of files."""
    total = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, pathlib.Path) else part.encode() if isinstance(part, str) else part
        total.update(len(content).to_bytes(8, "little") + content)
    return total.hexdigest()[:16]


def versions() -> dict[str, str]:
    """The installed versions of the packages that requirements.txt names."""
    from importlib.metadata import PackageNotFoundError, version

    names = [line.split("==")[0] for line in REQUIREMENTS[RUNTIME].read_text().splitlines() if "==" in line]
    found = {}
    for name in [*names, "pnnx"]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, object]:
    """Processor, cores, kernel and load."""
    fields = dict(
        (key.strip(), value.strip()) for key, _, value in
        (line.partition(":") for line in pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()))
    wanted = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
    return {
        "processor": fields.get("model name", platform.processor()),
        "family": f"{fields.get('cpu family')}/{fields.get('model')}/{fields.get('stepping')}",
        "instructions": [flag for flag in wanted if flag in fields.get("flags", "").split()],
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def load() -> float:
    """Load average of the last minute: how many other processes want the processor."""
    return os.getloadavg()[0]


def write_json(path: pathlib.Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")
