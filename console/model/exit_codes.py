"""The exit codes of `embedconsole`."""

from enum import IntEnum

EXIT_BY_SIGNAL = 128
"""Added to the signal's number when a signal ends the command, as shells do."""
EXIT_INTERRUPTED = 130


class ExitCode(IntEnum):
    """Exit codes that every command uses."""

    OK = 0
    SLO_MISSED = 1
    ERRORS = 1
    UNSTABLE = 2
    NO_TERMINAL = 2
    USAGE = 3
    CLIENT_BOUND = 4
    ENGINE_FAILED = 5
