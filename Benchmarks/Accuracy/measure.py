"""Runs a command and measures it."""

import pathlib
import subprocess
import sys
import tempfile

# A process of its own: the peak memory of a child is at least that of the process that started it.
LAUNCHER = """
import os, sys, time
started = time.monotonic()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
with open(sys.argv[1], "w") as file:
    print(time.monotonic() - started, usage.ru_maxrss / 1024, file=file)
sys.exit(abs(os.waitstatus_to_exitcode(status)))
"""


def measure(command):
    """(seconds, peak resident MiB, standard output) of a command; RuntimeError with its messages if it fails."""
    command = [str(part) for part in command]
    with tempfile.TemporaryDirectory() as folder:
        figures = pathlib.Path(folder) / "figures"
        process = subprocess.run([sys.executable, "-I", "-S", "-c", LAUNCHER, str(figures), *command], capture_output=True, text=True)
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}\nended with {process.returncode}:\n{process.stderr}{process.stdout}")
        seconds, memory = map(float, figures.read_text().split())
    return seconds, memory, process.stdout


def table(rows):
    """Markdown, the first row is the header."""
    rows = [[str(cell) for cell in row] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines)
