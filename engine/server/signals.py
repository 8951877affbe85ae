"""Which signals a process may handle: those that its parent has not told it to ignore."""

import signal
from collections.abc import Iterator


def not_ignored(*numbers: signal.Signals) -> Iterator[signal.Signals]:
    """Yields the signals that are not ignored.

    `nohup`, `trap '' HUP` and a shell's background jobs start a program with signals ignored so that they do not end
    it. A handler would undo this.
    """
    return (number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN)
