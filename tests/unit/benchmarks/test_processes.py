"""The processes of a round, managed by the parent."""

import sys
import threading

import pytest

from benchmarks.peers.processes import Process


def test_a_parent_that_is_interrupted_while_it_waits_for_an_answer_exits_at_once() -> None:
    class Interrupted:
        def readline(self) -> str:
            raise KeyboardInterrupt

    process = Process([sys.executable, "-c", "input()"])
    try:
        process._stdout.close()
        process._stdout = Interrupted()
        with pytest.raises(KeyboardInterrupt):
            process.read_line(within_s=1000.0)
        timers = [one for one in threading.enumerate() if isinstance(one, threading.Timer)]
        for timer in timers:  # the interpreter waits for such a thread before it exits
            timer.join(5.0)
        assert not [timer for timer in timers if timer.is_alive()]
    finally:
        for left in threading.enumerate():
            if isinstance(left, threading.Timer):
                left.cancel()
        process.stop()
