"""The exit codes of `engine`."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes, part of the interface of the commands."""

    OK = 0
    """Success; `serve`: every accepted request was answered."""
    ABANDONED = 1
    """`serve`: it ended before every accepted request was answered."""
    USAGE = 3
    """The command line is wrong."""
    FAILED = 5
    """The command failed; `serve`: it could not start."""
    WATCHDOG = 6
    """`serve`: its event loop hung, for example in a forward pass that it ran inline. Restart it."""
