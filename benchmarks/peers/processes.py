"""The processes of a round, seen from the parent: start, ask, weigh, end. Each is ended by its own id."""

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
from benchmarks.peers.line import Measured, Order

START_WITHIN_S = 180.0
ANSWER_WITHIN_S = 240.0
"""Beside the window itself: a slow window stretches, and its last requests are waited for."""
END_WITHIN_S = 10.0
_ENVIRONMENT = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


class Failed(Exception):
    """A contender's process died, said no, or took too long; the message holds its last words."""


class Process:
    """A child that holds on to our end of its stdin and ends when that closes."""

    def __init__(self, command: Sequence[str], *, cwd: Path = ROOT, extra: Mapping[str, str] | None = None) -> None:
        self.started_s = time.monotonic()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd,
            env={**os.environ, **_ENVIRONMENT, **(extra or {})}, start_new_session=True,
        )  # fmt: skip
        # All three are pipes: Popen's types cannot know.
        self._stdin: Any = self._process.stdin
        self._stdout: Any = self._process.stdout
        self._stderr: Any = self._process.stderr
        self._said: deque[str] = deque(maxlen=20)
        threading.Thread(target=self._drain, daemon=True).start()

    @property
    def pid(self) -> int:
        """For psutil."""
        return self._process.pid

    def alive_or_raise(self) -> None:
        """Raises Failed when it has ended."""
        if self._process.poll() is not None:
            raise Failed(f"ended with {self._process.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        """The end of its stderr."""
        return " ".join("".join(self._said).split())[-600:]

    def read_line(self, within_s: float) -> dict[str, Any]:
        """The next JSON line on its stdout. Raises Failed; the process is ended when it took too long."""
        timer = threading.Timer(within_s, self._process.kill)
        timer.start()
        try:
            line = self._stdout.readline()
        finally:
            timer.cancel()  # also when interrupted: this process would not end before the timer does
        if not line:
            raise Failed(f"no answer ({self._process.wait()}): {self.last_words()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def write_line(self, order: Mapping[str, Any]) -> None:
        """Raises Failed when nobody reads."""
        try:
            print(json.dumps(order), file=self._stdin, flush=True)
        except OSError as error:
            raise Failed(f"it no longer listens: {self.last_words()}") from error

    def drain_stdout(self) -> None:
        """For a process whose stdout says nothing that we need."""
        threading.Thread(target=self._stdout.read, daemon=True).start()

    def let_go(self) -> None:
        """Lets it end, without waiting for that."""
        with suppress(OSError):  # it was not reading any more
            self._stdin.close()

    def stop(self) -> None:
        """Ends it, whatever state it is in."""
        if self._process.poll() is None:
            self.let_go()
            try:
                self._process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def _drain(self) -> None:
        for line in self._stderr:
            self._said.append(line)


class Child(Process):
    """A process of ours that speaks `line.py`."""

    def __init__(self, python: Path, module: str, *arguments: str) -> None:
        super().__init__([str(python), "-m", f"benchmarks.peers.{module}", *arguments])
        self.read_line(START_WITHIN_S)
        self.ready_after_s = time.monotonic() - self.started_s

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, 384) float32. Raises Failed."""
        raw = base64.b64decode(self._ask({"vectors": list(texts)})["vectors"])
        return np.frombuffer(raw, "<f4").reshape(len(texts), -1)

    def load(self, order: Order) -> Measured:
        """Raises Failed."""
        return Measured(**self._ask({"load": asdict(order)}, order.window_s)["load"])

    def _ask(self, order: Mapping[str, Any], window_s: float = 0.0) -> dict[str, Any]:
        self.write_line(order)
        answer = self.read_line(window_s + ANSWER_WITHIN_S)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer


def cpu_s(pid: int) -> float:
    """User and system seconds of a process and what it started."""
    spent = 0.0
    for one in _tree(pid):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += times.user + times.system
    return spent


def rss_bytes(pid: int) -> int:
    """Resident memory of a process and what it started."""
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
