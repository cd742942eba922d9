"""Times contenders alternately: every one waits in a process of its own, stopped while it is not its turn."""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import dataclass, field

from .artefacts import Artefact
from .contenders import qcc
from .environment import HERE

START_SECONDS = 120
ANSWER_SECONDS = 60


@dataclass
class Timing:
    """Microseconds of a contender's runs of one sample."""

    artefact: Artefact
    minima: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)
    runs: int = 0
    failure: str = ""

    @property
    def minimum(self) -> float:
        return min(self.minima, default=float("inf"))

    @property
    def median(self) -> float:
        ordered = sorted(self.medians)
        return ordered[len(ordered) // 2] if ordered else float("inf")


class Worker:
    """A contender's process: answers to a number of milliseconds with a line of JSON."""

    def __init__(self, artefact: Artefact, threads: int, cores: list[int], environment: dict[str, str]) -> None:
        self.timing = Timing(artefact)
        if artefact.contender == "qcc":
            command = qcc.command(artefact.folder, threads)
        else:
            command = [sys.executable, "-m", "peers.worker", artefact.contender, artefact.variant, str(artefact.folder), str(threads)]

        def prepare() -> None:
            os.sched_setaffinity(0, cores)
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no stopped process is left behind

        # Libraries take the number of threads from here where they do not from their own options.
        variables = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONDONTWRITEBYTECODE": "1", **environment}
        self.process = subprocess.Popen(
            command, cwd=HERE, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=prepare, bufsize=0)
        self.stopped = False
        if self.ask(0, START_SECONDS) is not None:
            self.stop()

    @property
    def alive(self) -> bool:
        return not self.timing.failure

    def ask(self, milliseconds: float, limit: float = ANSWER_SECONDS) -> dict[str, float] | None:
        """Nothing if the process has failed."""
        assert self.process.stdin and self.process.stdout
        if self.stopped:
            self.process.send_signal(signal.SIGCONT)
            self.stopped = False
        try:
            self.process.stdin.write(f"{milliseconds}\n".encode())
            answer = self._line(limit)
            return json.loads(answer)
        except (OSError, ValueError, TimeoutError) as error:
            self.fail(error)
            return None

    def _line(self, limit: float) -> bytes:
        assert self.process.stdout
        if not select.select([self.process.stdout], [], [], limit)[0]:
            raise TimeoutError(f"no answer for {limit} s")
        return self.process.stdout.readline()

    def slice(self, milliseconds: float) -> None:
        """One turn, counted."""
        answer = self.ask(milliseconds)
        if answer is not None:
            self.timing.minima.append(answer["minimum"])
            self.timing.medians.append(answer["median"])
            self.timing.runs += int(answer["runs"])
            self.stop()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        self.stopped = True

    def fail(self, error: Exception) -> None:
        assert self.process.stderr
        self.process.kill()
        lines = self.process.stderr.read().decode(errors="replace").strip().splitlines()
        self.timing.failure = (lines[-1] if lines else str(error))[:200] + f" (exit {self.process.wait()})"

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream
            stream.close()


def alternate(
    artefacts: list[Artefact], threads: int, cores: list[int], rounds: int, milliseconds: float,
    environment: dict[str, str] | None = None,
) -> list[Timing]:
    """Timings of all contenders: in every round each has one slice, the first of which does not count."""
    built = [artefact for artefact in artefacts if not artefact.failure]
    workers = [Worker(artefact, threads, cores, environment or {}) for artefact in built]
    try:
        for turn in range(rounds + 1):
            for worker in workers:
                if worker.alive and turn == 0:
                    if worker.ask(milliseconds) is not None:
                        worker.stop()
                elif worker.alive:
                    worker.slice(milliseconds)
    finally:
        for worker in workers:
            worker.end()
    failed = [Timing(artefact, failure=artefact.failure) for artefact in artefacts if artefact.failure]
    return [worker.timing for worker in workers] + failed


