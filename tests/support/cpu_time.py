"""What programs cost in CPU time, for rules that hold on a slow and on a busy machine.

A rule compares two costs on the same machine: a program's and that of what it cannot do without.
"""

import os
import subprocess
import sys
from collections.abc import Sequence


def cpu_s(command: Sequence[str]) -> float:
    """Processor seconds of a child from its start to its end, whatever else the machine did meanwhile.

    Raises CalledProcessError where it fails.
    """
    before = os.times()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def least_cpu_s(code: str, *arguments: str, times: int = 3) -> float:
    """Of a few runs of a Python program: caches that were cold and neighbours on the core only ever add."""
    return min(cpu_s([sys.executable, "-c", code, *arguments]) for _ in range(times))
