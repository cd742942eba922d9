"""Peers that believe to be on a processor with AVX2 and nothing newer.

ONNX Runtime, XNNPACK and ncnn choose their kernels by CPUID and have no option for it, and the processor here cannot be
told to trap CPUID. So private copies of the packages get their CPUID instructions replaced by an invalid opcode of the
same length, which a preloaded library (mask_cpuid.c) answers without AVX-512, AVX-VNNI and AMX. It works for every library
that asks the processor itself; OpenVINO's oneDNN too.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig

from .environment import CACHE, HERE, REQUIREMENTS, RUNTIME, digest

PACKAGES = ("onnxruntime", "openvino", "ai_edge_litert", "ncnn", "MNN", "_mnncengine*", "mnn.libs", "ncnn.libs")
UNUSED = (
    "libopenvino*_gpu_*", "libopenvino*_npu_*", "libLiteRtWebGpu*", "vendors", "__pycache__",
    *(f"*{name}_frontend.so*" for name in ("gguf", "jax", "paddle", "pytorch", "tensorflow", "lite")))
CPUID, INVALID = b"\x0f\xa2", b"\x06\xa2"


def environment() -> dict[str, str]:
    """Variables under which a worker's packages are the patched ones and qcc uses its AVX2 kernels."""
    folder = _patched_packages()
    return {"PYTHONPATH": str(folder), "LD_PRELOAD": str(folder / "mask_cpuid.so"), "QCC_CPU": "avx2"}


def _patched_packages() -> pathlib.Path:
    source = HERE / "peers" / "mask_cpuid.c"
    folder = CACHE / f"avx2-{digest(source, pathlib.Path(__file__), REQUIREMENTS[RUNTIME])}"
    if folder.exists():
        return folder
    print("  patching copies of the peers' libraries", file=sys.stderr, flush=True)
    working = folder.with_suffix(".building")
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(working / "mask_cpuid.so"), str(source)], check=True)
    packages = pathlib.Path(sysconfig.get_paths()["purelib"])
    for pattern in PACKAGES:
        for package in packages.glob(pattern):
            if package.is_dir():
                shutil.copytree(package, working / package.name, ignore=shutil.ignore_patterns(*UNUSED))
            else:
                shutil.copy(package, working / package.name)
    for library in sorted(working.rglob("*.so*")):
        if library.name != "mask_cpuid.so":
            _patch(library)
    working.rename(folder)
    return folder


def _patch(library: pathlib.Path) -> None:
    """Replaces the CPUID instructions that the disassembly shows; the same bytes elsewhere stay."""
    content = bytearray(library.read_bytes())
    if CPUID not in content:
        return
    with subprocess.Popen(["objdump", "--disassemble", str(library)], stdout=subprocess.PIPE) as disassembler:
        listing = subprocess.run(["grep", "-w", "cpuid"], stdin=disassembler.stdout, capture_output=True, text=True).stdout
    addresses = [int(match, 16) for match in re.findall(r"^\s*([0-9a-f]+):\t0f a2\s+\tcpuid", listing, re.MULTILINE)]
    sections = _sections(library)
    for address in addresses:
        start, size, offset = next(section for section in sections if section[0] <= address < section[0] + section[1])
        position = address - start + offset
        if content[position : position + 2] != CPUID:
            raise RuntimeError(f"{library.name}: no CPUID at {address:x}")
        content[position : position + 2] = INVALID
    library.write_bytes(content)


def _sections(library: pathlib.Path) -> list[tuple[int, int, int]]:
    """Address, size and file offset of each section."""
    listing = subprocess.run(["objdump", "--section-headers", "--wide", str(library)], capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^\s*\d+\s+\S+\s+([0-9a-f]+)\s+([0-9a-f]+)\s+[0-9a-f]+\s+([0-9a-f]+)\s.*CODE", listing, re.MULTILINE)
    return [(int(address, 16), int(size, 16), int(offset, 16)) for size, address, offset in rows]
