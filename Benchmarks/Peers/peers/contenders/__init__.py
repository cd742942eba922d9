"""The contenders: qcc and its peers. Each file says how one quantizes a network and how it is run."""

import importlib
import pathlib
from importlib.metadata import version
from typing import Callable, Protocol

from ..environment import digest
from ..networks import Network
from . import qcc

NAMES = {"qcc": "qcc", "onnxruntime": "onnx_runtime", "openvino": "open_vino", "litert": "lite_rt", "mnn": "mnn", "ncnn": "ncnn"}


class Contender(Protocol):
    """What a contender's module has."""

    PACKAGES: tuple[str, ...]
    """What is installed for it; other versions build anew."""

    VARIANTS: tuple[str, ...]
    """Ways to run a network: a width and what else makes a difference, such as `int8 u8s8`; `float` is among them."""

    def build(self, network: Network, variant: str, folder: pathlib.Path) -> None:
        """Writes into an empty folder what `load` or `command` needs; fails with an exception that says why."""
        ...

    def load(self, folder: pathlib.Path, variant: str, threads: int) -> Callable[[], object]:
        """A function that runs one sample, from floats to floats. The variables that threads obey are set already."""
        ...


def module(name: str) -> Contender:
    return importlib.import_module(f"{__name__}.{NAMES[name]}")  # type: ignore[return-value]


def key(name: str) -> str:
    """Changes with a contender's file and packages, and with the program qcc: then everything is built anew."""
    packages = ",".join(f"{package}=={version(package)}" for package in module(name).PACKAGES)
    program = [qcc.executable()] if name == "qcc" else []
    return digest(pathlib.Path(__file__).parent / f"{NAMES[name]}.py", packages, *program)
