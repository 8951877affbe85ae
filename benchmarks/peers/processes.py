"""The processes of a round, managed by the parent: start, request, measure, stop."""

import base64
import json
import os
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.peers.environments import ROOT
from benchmarks.peers.line import Measurement, Order

START_WITHIN_S = 180.0
ANSWER_WITHIN_S = 240.0
"""Timeout in addition to the window, which may be extended and then waits for its last requests."""
END_WITHIN_S = 10.0
_ENVIRONMENT = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


class Failed(Exception):
    """The process of a contender died, reported an error, or took too long. The message has its last output."""


class Process:
    """A child process that exits when its stdin is closed."""

    def __init__(self, command: Sequence[str], *, cwd: Path = ROOT, extra: Mapping[str, str] | None = None) -> None:
        self.started_s = time.monotonic()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd,
            env={**os.environ, **_ENVIRONMENT, **(extra or {})}, start_new_session=True,
        )  # fmt: skip
        # All three are pipes, which Popen's types do not express.
        self._stdin: Any = self._process.stdin
        self._stdout: Any = self._process.stdout
        self._stderr: Any = self._process.stderr
        self._said: deque[str] = deque(maxlen=20)
        threading.Thread(target=self._drain, daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def check_alive(self) -> None:
        """Raises Failed if the process has exited."""
        if self._process.poll() is not None:
            raise Failed(f"ended with {self._process.returncode}: {self.stderr_tail()}")

    def stderr_tail(self) -> str:
        """Returns the end of its stderr."""
        return " ".join("".join(self._said).split())[-600:]

    def read_line(self, within_s: float) -> dict[str, Any]:
        """Returns the next JSON line of its stdout. Raises Failed, and kills the process after the timeout."""
        timer = threading.Timer(within_s, self._process.kill)
        timer.start()
        try:
            line = self._stdout.readline()
        finally:
            timer.cancel()  # also when interrupted, because a running timer would delay the exit of this process
        if not line:
            raise Failed(f"no answer ({self._process.wait()}): {self.stderr_tail()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def write_line(self, order: Mapping[str, Any]) -> None:
        """Writes a JSON line to its stdin. Raises Failed when the process does not read it."""
        try:
            print(json.dumps(order), file=self._stdin, flush=True)
        except OSError as error:
            raise Failed(f"it has closed its stdin: {self.stderr_tail()}") from error

    def drain_stdout(self) -> None:
        """Discards the stdout of the process."""
        threading.Thread(target=self._stdout.read, daemon=True).start()

    def close_stdin(self) -> None:
        """Closes its stdin, so that it exits; does not wait."""
        with suppress(OSError):  # it does not read any more
            self._stdin.close()

    def stop(self) -> None:
        """Stops the process in any state."""
        if self._process.poll() is None:
            self.close_stdin()
            try:
                self._process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def _drain(self) -> None:
        for line in self._stderr:
            self._said.append(line)


class Child(Process):
    """A child process that uses the protocol of `line.py`."""

    def __init__(self, python: Path, module: str, *arguments: str) -> None:
        super().__init__([str(python), "-m", f"benchmarks.peers.{module}", *arguments])
        self.read_line(START_WITHIN_S)
        self.ready_after_s = time.monotonic() - self.started_s

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns vectors, (n, 384) float32. Raises Failed."""
        raw = base64.b64decode(self._ask({"vectors": list(texts)})["vectors"])
        return np.frombuffer(raw, "<f4").reshape(len(texts), -1)

    def load(self, order: Order) -> Measurement:
        """Raises Failed."""
        return Measurement(**self._ask({"load": asdict(order)}, order.window_s)["load"])

    def _ask(self, order: Mapping[str, Any], window_s: float = 0.0) -> dict[str, Any]:
        self.write_line(order)
        answer = self.read_line(window_s + ANSWER_WITHIN_S)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer


def cpu_s(pid: int) -> float:
    """Returns the user and system CPU seconds of a process and its descendants."""
    spent = 0.0
    for one in _tree(pid):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += times.user + times.system
    return spent


def rss_bytes(pid: int) -> int:
    """Returns the resident memory of a process and its descendants."""
    total = 0
    for one in _tree(pid):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
