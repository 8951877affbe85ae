"""Measures the cost of the console on a pseudo-terminal of 200x50: CPU share, latency of a key, first paint.

    python benchmarks/console_cost.py [--size 200x50] [--seconds 20] [--busy]

A fake session supplies a new frame at 10 Hz and a new interval every second, as a real one under load does, so that
only the console is measured. `--busy` keeps every core busy, as an engine does.
"""

import argparse
import fcntl
import json
import multiprocessing
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from console.session.port import SessionPort

ROOT = Path(__file__).resolve().parent.parent
ECHO_LIMIT_S = 2.0
ECHOES = ((b"-", b" 2 min"), (b"0", b" 60 s"))
"""The zoom key redraws the header and three charts. The text is unique to the header after zooming."""


def child() -> None:
    """Runs the console with a fake session on its terminal."""
    sys.path.insert(0, str(ROOT))
    from console.tui.app import run_console

    def make_session() -> "SessionPort":
        from tests.console.fakes.session import MovingSession

        return MovingSession()

    run_console(make_session, start=False)


def busy_loop() -> None:
    """Keeps a core busy."""
    while True:
        pass


class Terminal:
    """The console on a pseudo-terminal. A thread reads its output and records the times."""

    def __init__(self, columns: int, rows: int) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._master = master
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.started = time.monotonic()
        command = [sys.executable, __file__, "--child"]
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True, cwd=ROOT
        )
        os.close(slave)
        self.bytes = 0
        self.first_paint_s = 0.0
        self.chunks: list[tuple[float, bytes]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            readable, _, _ = select.select([self._master], [], [], 1.0)
            if not readable:
                continue
            try:
                got = os.read(self._master, 1 << 16)
            except OSError:
                return
            now = time.monotonic()
            self.bytes += len(got)
            if not self.first_paint_s and b"engine" in got:
                self.first_paint_s = now - self.started
            self.chunks.append((now, got))

    def press(self, key: bytes, echo: bytes) -> float:
        """Returns the seconds from the key to the output that only this key causes."""
        before = len(self.chunks)
        at = time.monotonic()
        os.write(self._master, key)
        while time.monotonic() - at < ECHO_LIMIT_S:
            for when, chunk in self.chunks[before:]:
                if echo in chunk:
                    return when - at
            time.sleep(0.001)
        return ECHO_LIMIT_S

    def close(self) -> None:
        """Stops the console with the signal of a closing terminal."""
        self.process.terminate()
        self.process.wait(10)


def measure(columns: int, rows: int, seconds: float, *, busy: bool) -> dict[str, float | str]:
    """Measures one run."""
    busy_processes = [
        multiprocessing.Process(target=busy_loop, daemon=True) for _ in range(os.cpu_count() or 1 if busy else 0)
    ]
    terminal = Terminal(columns, rows)
    time.sleep(4)
    for busy_process in busy_processes:
        busy_process.start()
    process = psutil.Process(terminal.process.pid)
    time.sleep(1)
    used, wall, written = process.cpu_times(), time.monotonic(), terminal.bytes
    time.sleep(seconds)
    after = process.cpu_times()
    elapsed = time.monotonic() - wall
    cpu = (after.user + after.system - used.user - used.system) / elapsed
    rate = (terminal.bytes - written) / elapsed
    echoes = []
    for _ in range(30):
        for key, echo in ECHOES:
            echoes.append(terminal.press(key, echo))
            time.sleep(0.137)
    for busy_process in busy_processes:
        busy_process.terminate()
    rss = process.memory_info().rss
    terminal.close()
    p95 = statistics.quantiles(echoes, n=20)[-1]
    return {
        "size": f"{columns}x{rows}",
        "first_paint_s": round(terminal.first_paint_s, 3),
        "cpu_percent_of_a_core": round(cpu * 100, 1),
        "output_kb_per_s": round(rate / 1000, 1),
        "key_echo_ms_p50": round(statistics.median(echoes) * 1000, 1),
        "key_echo_ms_p95": round(p95 * 1000, 1),
        "keys": len(echoes),
        "rss_mb": round(rss / 1e6),
        "other_load": "every core busy" if busy else "none",
    }


def main() -> None:
    """Prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--size", default="200x50")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--busy", action="store_true", help="keep every core busy during the run")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child()
        return
    columns, rows = (int(part) for part in options.size.split("x"))
    print(json.dumps(measure(columns, rows, options.seconds, busy=options.busy)))


if __name__ == "__main__":
    main()
