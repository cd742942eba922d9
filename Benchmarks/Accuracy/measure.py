"""Runs a command and measures it."""

import os
import subprocess
import tempfile
import time


def measure(command):
    """(seconds, peak resident MiB, standard output) of a command; ends the program with its messages if it fails."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output_file, tempfile.TemporaryFile("w+") as message_file:
        process = subprocess.Popen([str(part) for part in command], stdout=output_file, stderr=message_file)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in (output_file, message_file):
            file.seek(0)
        output, messages = output_file.read(), message_file.read()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}\nended with {process.returncode}:\n{messages}{output}")
    return seconds, usage.ru_maxrss / 1024, output


def table(rows):
    """Markdown, the first row is the header."""
    rows = [[str(cell) for cell in row] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines)
