"""CPU time of programs, for rules that also hold on a slow or busy machine.

A rule compares two costs on the same machine: that of a program, and that of its indispensable part.
"""

import os
import subprocess
import sys
from collections.abc import Sequence


def cpu_s(command: Sequence[str]) -> float:
    """Returns the CPU seconds of a child process from start to exit. Raises CalledProcessError if it fails."""
    before = os.times()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def least_cpu_s(code: str, *arguments: str, times: int = 3) -> float:
    """Returns the minimum CPU seconds of a few runs of a Python program: cold caches and other load only add time."""
    return min(cpu_s([sys.executable, "-c", code, *arguments]) for _ in range(times))
