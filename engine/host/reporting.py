"""What the engine process says: data as JSON lines on stdout, phases and log as JSON lines on stderr.

On a terminal stderr is for a person, so phases and log are plain sentences there.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO


class Reporter:
    """Owner of both output streams. No input text ever passes through here."""

    def __init__(self, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self._for_people = self._stderr.isatty()
        self._started_s = time.monotonic()

    def data(self, event: str, **fields: Any) -> None:
        """One line of data: ready, detached."""
        print(json.dumps({"event": event, **fields}), file=self._stdout, flush=True)

    def phase(self, name: str, message: str, done: int = 0, total: int = 0) -> None:
        """A step of start-up, with the seconds since the process began it."""
        elapsed_s = round(time.monotonic() - self._started_s, 3)
        fields = {"name": name, "message": message, "done": done, "total": total, "elapsed_s": elapsed_s}
        self._write("phase", fields, f"{elapsed_s:7.1f}s  {name}: {message}")

    def log(self, level: str, message: str) -> None:
        """One sentence for the log."""
        self._write("log", {"level": level, "message": message}, f"{level}: {message}")

    def error(self, code: str, message: str, fix: str = "") -> None:
        """Why the engine cannot start or go on, and the next step."""
        self._write(
            "error", {"code": code, "message": message, "fix": fix}, f"error: {message}" + (f" ({fix})" if fix else "")
        )

    def _write(self, event: str, fields: Mapping[str, Any], sentence: str) -> None:
        line = sentence if self._for_people else json.dumps({"event": event, **fields})
        print(line, file=self._stderr, flush=True)

    def capture_logging(self) -> None:
        """Sends the warnings of libraries through the same stream."""
        handler = _ReportingHandler(self)
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
        logging.captureWarnings(capture=True)


class _ReportingHandler(logging.Handler):
    """Turns log records of libraries into log lines."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[0]:
            text = f"{text} ({record.exc_info[0].__name__})"
        self._reporter.log(record.levelname.lower(), f"{record.name}: {text}")
