"""A real `engine serve` in its own process, as a console or a shell starts it."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.patience import HANGS_AFTER_S

READY_WITHIN_S = 2 * HANGS_AFTER_S
"""Includes an export, which the first start needs on a cold cache."""


_NO_TUNE = ("--no-tune",)
"""Default of the tests, which start many cells for the first time. The test of tuning overrides it."""


class EngineProcess:
    """`engine serve --port 0 …` with its stdin held as the lifeline.

    `started_by`: a shell script that starts the engine as "$@", without a lifeline. `folder`: the current folder.
    """

    def __init__(
        self,
        *flags: str,
        environment: Mapping[str, str] | None = None,
        started_by: str = "",
        folder: Path | None = None,
    ) -> None:
        self._has_lifeline = not started_by
        lifeline = ("--lifeline", "stdin") if self._has_lifeline else ()
        command = [sys.executable, "-m", "engine.cli", "serve", "--port", "0", *lifeline, *_NO_TUNE, *flags]
        self.process = subprocess.Popen(
            command if self._has_lifeline else ["/bin/sh", "-c", started_by, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
            cwd=folder,
        )
        self.events: deque[dict[str, Any]] = deque(maxlen=10_000)
        self._drainer = threading.Thread(target=self._drain_stderr, daemon=True)
        self._drainer.start()
        self.ready: dict[str, Any] = {}

    def wait_ready(self) -> "EngineProcess":
        """Waits for the ready line. Raises RuntimeError with the engine's last events if it exited."""
        timer = threading.Timer(READY_WITHIN_S, self.process.kill)
        timer.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        timer.cancel()
        if not line:
            self.process.wait()
            self._drainer.join(5)
            raise RuntimeError(f"engine ended with {self.process.returncode}: {list(self.events)[-5:]}")
        self.ready = json.loads(line)
        return self

    @property
    def address(self) -> str:
        """host:port."""
        return str(self.ready["address"])

    def close_stdin(self) -> None:
        """Closes the lifeline."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait(self, timeout_s: float = HANGS_AFTER_S) -> int:
        """Waits for the exit; returns the exit code."""
        code = self.process.wait(timeout_s)
        self._drainer.join(5)
        return code

    def stop(self) -> None:
        """Stops the engine in any state."""
        if self.process.poll() is None:
            self.close_stdin()
            if not self._has_lifeline:
                os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(HANGS_AFTER_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._drainer.join(5)

    def events_named(self, event: str) -> list[dict[str, Any]]:
        """Returns the engine's stderr events of one kind."""
        return [one for one in list(self.events) if one.get("event") == event]

    def _drain_stderr(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                self.events.append(json.loads(line))
            except ValueError:
                self.events.append({"event": "raw", "text": line})
