"""A process that runs one contender on one network: measures on request and blocks in between.

    python -m peers.worker CONTENDER VARIANT FOLDER THREADS

For every line of standard input, a number of milliseconds, runs so long and prints a line of JSON: minimum and median
microseconds, number of runs. `qcc bench --serve` speaks the same.
"""

import gc
import json
import os
import pathlib
import sys
import time

from . import contenders


def main() -> None:
    name, variant, folder, threads = sys.argv[1:]
    # Whatever the contender prints must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run = contenders.module(name).load(pathlib.Path(folder), variant, int(threads))
    for _ in range(3):
        run()
    gc.collect()
    gc.disable()
    clock = time.perf_counter_ns
    for line in sys.stdin:
        limit = float(line) * 1e6
        times: list[int] = []
        total = 0
        while total < limit or not times:
            start = clock()
            run()
            end = clock()
            times.append(end - start)
            total += end - start
        times.sort()
        report = {"minimum": times[0] / 1e3, "median": times[len(times) // 2] / 1e3, "runs": len(times)}
        print(json.dumps(report), file=answers, flush=True)


main()
