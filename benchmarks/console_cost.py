"""What the console costs: CPU share of its own process, key to echo, first paint. On a pseudo-terminal of 200x50.

    python benchmarks/console_cost.py [--size 200x50] [--seconds 20] [--busy]

A made-up session gives it a new frame at 10 Hz and a new interval each second, as a real one under load would, so
that what is measured is the console and nothing else. `--busy` keeps every core busy meanwhile, as an engine does.
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
from dataclasses import replace
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
ECHO_LIMIT_S = 2.0
KEYS = (b"v", b"-", b"+", b"0")
"""Each of them changes what the screen shows."""


def child() -> None:
    """The console with a made-up session, on the terminal it was given."""
    sys.path.insert(0, str(ROOT))
    from console.tui.app import run_console

    def make_session() -> object:
        from tests.console import scenes
        from tests.console.fake_session import FakeSession

        class Moving(FakeSession):
            """Ten different frames a second."""

            @property
            def frame(self) -> object:  # type: ignore[override]
                """A frame for this tenth of a second."""
                tenth = int(time.monotonic() * 10)
                if tenth != self._tenth:
                    self._tenth, self._now = tenth, moved(self._base, tenth)
                return self._now

            @frame.setter
            def frame(self, frame: object) -> None:
                self._base, self._now, self._tenth = frame, frame, 0

        def moved(frame: scenes.Frame, tenth: int) -> scenes.Frame:
            second = tenth // 10
            window, latency = frame.window, frame.window.latency
            wobble = 1 + ((tenth * 7919) % 100 - 50) / 1000
            shifted = points[second % 60 : second % 60 + 600]
            last = shifted[-1].time_s
            return replace(
                frame,
                now_s=last,
                engine=replace(frame.engine, uptime_s=second, queued_items=tenth % 60, cpu_cores=wobble * 1.6),
                load=replace(frame.load, elapsed_s=second, requests=tenth * 4, texts=tenth * 128),
                window=replace(
                    window,
                    texts_per_s=window.texts_per_s * wobble,
                    trend=wobble - 1,
                    latency=replace(
                        latency, n=1200 + tenth % 40, p50_ms=12 * wobble, p95_ms=20 * wobble, p99_ms=26 * wobble
                    ),
                ),
                points=shifted,
                points_version=second,
                markers=tuple(replace(marker, time_s=last - 30) for marker in frame.markers),
            )

        points = scenes.points(count=700, switch_at=200)
        return Moving(scenes.fallback())

    run_console(make_session, start=False)


def burn() -> None:
    """Keeps a core busy."""
    while True:
        pass


class Terminal:
    """The console on a pseudo-terminal; a thread reads what it writes and notes when."""

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
        self.marks: list[tuple[float, int]] = []
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
            self.marks.append((now, len(got)))

    def press(self, key: bytes) -> float:
        """Seconds from the key to the burst that echoes it: a help box, which no clock draws."""
        before = len(self.marks)
        at = time.monotonic()
        os.write(self._master, key)
        while time.monotonic() - at < ECHO_LIMIT_S:
            if any(size >= 1500 for _, size in self.marks[before:]):
                return next(t for t, size in self.marks[before:] if size >= 1500) - at
            time.sleep(0.0005)
        return ECHO_LIMIT_S

    def close(self) -> None:
        """Asks it to leave, as a closing terminal would."""
        self.process.terminate()
        self.process.wait(10)


def measure(columns: int, rows: int, seconds: float, *, busy: bool) -> dict[str, float | str]:
    """One run."""
    burners = [multiprocessing.Process(target=burn, daemon=True) for _ in range(os.cpu_count() or 1 if busy else 0)]
    terminal = Terminal(columns, rows)
    time.sleep(4)
    for burner in burners:
        burner.start()
    process = psutil.Process(terminal.process.pid)
    time.sleep(1)
    used, wall, written = process.cpu_times(), time.monotonic(), terminal.bytes
    time.sleep(seconds)
    after = process.cpu_times()
    elapsed = time.monotonic() - wall
    cpu = (after.user + after.system - used.user - used.system) / elapsed
    rate = (terminal.bytes - written) / elapsed
    echoes = []
    for _ in range(15):
        for key in (b"?", b"\x1b"):
            echoes.append(terminal.press(key))
            time.sleep(0.237)
    for burner in burners:
        burner.terminate()
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
    parser.add_argument("--busy", action="store_true", help="keep every core busy meanwhile")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child()
        return
    columns, rows = (int(part) for part in options.size.split("x"))
    print(json.dumps(measure(columns, rows, options.seconds, busy=options.busy)))


if __name__ == "__main__":
    main()
