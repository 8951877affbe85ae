"""The exit codes of `engine`."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The command contract's codes."""

    OK = 0
    """Of `serve`: drained."""
    ABANDONED = 1
    """`serve` ended before every accepted request was answered."""
    USAGE = 3
    FAILED = 5
    """It could not start, or the command failed."""
