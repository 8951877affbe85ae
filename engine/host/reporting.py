"""Output of the engine process: data as JSON lines on stdout, phases and log as JSON lines on stderr.

If stderr is a terminal, phases and log are plain sentences.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from io import TextIOWrapper
from typing import Any, TextIO

from engine.host.log_limit import RepetitionLimit


def open_standard_streams() -> None:
    """Opens /dev/null for each standard stream that the parent has closed, and makes output never fail to encode.

    Without it the next file or socket would get the number of the closed stream, and what is printed would go there.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as the process
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as above
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


class Reporter:
    """Owner of both output streams. It never receives input texts."""

    def __init__(self, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self._is_terminal = self._stderr.isatty()
        self._started_s = time.monotonic()

    def data(self, event: str, **fields: Any) -> None:
        """Writes one line of data, e.g. ready or detached."""
        print(json.dumps({"event": event, **fields}), file=self._stdout, flush=True)

    def phase(self, name: str, message: str, done: int = 0, total: int = 0) -> None:
        """Reports a step of start-up, with the seconds since the process started."""
        elapsed_s = round(time.monotonic() - self._started_s, 3)
        fields = {"name": name, "message": message, "done": done, "total": total, "elapsed_s": elapsed_s}
        self._write("phase", fields, f"{elapsed_s:7.1f}s  {name}: {message}")

    def log(self, level: str, message: str) -> None:
        """Writes one sentence to the log."""
        self._write("log", {"level": level, "message": message}, f"{level}: {message}")

    def error(self, code: str, message: str, fix: str = "") -> None:
        """Reports why the engine cannot start or continue, and the next step in `fix`."""
        print(self.error_line(code, message, fix), file=self._stderr, flush=True)

    def error_line(self, code: str, message: str, fix: str = "") -> str:
        """Returns the line that `error` writes."""
        sentence = f"error: {message}" + (f" ({fix})" if fix else "")
        return self._line("error", {"code": code, "message": message, "fix": fix}, sentence)

    def _write(self, event: str, fields: Mapping[str, Any], sentence: str) -> None:
        print(self._line(event, fields, sentence), file=self._stderr, flush=True)

    def _line(self, event: str, fields: Mapping[str, Any], sentence: str) -> str:
        return sentence if self._is_terminal else json.dumps({"event": event, **fields})

    def capture_logging(self) -> None:
        """Redirects warnings of libraries to the same stream, repetitions at a limited rate."""
        handler = _ReportingHandler(self)
        handler.addFilter(RepetitionLimit())
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
        logging.captureWarnings(capture=True)


class _ReportingHandler(logging.Handler):
    """Converts log records of libraries to log lines."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[0]:
            text = f"{text} ({record.exc_info[0].__name__})"
        self._reporter.log(record.levelname.lower(), f"{record.name}: {text}")
