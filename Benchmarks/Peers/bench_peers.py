#!/usr/bin/env python3
"""Times qcc and its peers side by side and writes tables. See README.md.

    bench_peers.py [--models M,M…] [--layers L,L…] [--peers P,P…] [--threads 1,2] [--rounds N]

The first use makes the private environments beside this file. What is built is kept in .cache.
"""

import os
import sys

from peers import environment


def main() -> None:
    environment.ensure(environment.RUNTIME)
    interpreter = environment.python(environment.RUNTIME)
    if sys.prefix != str(environment.RUNTIME):
        os.execv(interpreter, [str(interpreter), *sys.argv])
    from peers import comparison

    comparison.main()


main()
