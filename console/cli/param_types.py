"""Types of command-line values. The error for an invalid value shows a valid one."""

from typing import Any

import click

from console.model.durations import MAX_DURATION_S, parse_duration_s

AUTO = 0.0
"""The value of `auto`: the duration is determined while measuring."""


class Duration(click.ParamType[float]):
    """`10s`, `1.5m`, `500ms` or a number of seconds. With `auto=True` also `auto`, which is AUTO."""

    name = "duration"

    def __init__(self, least_s: float, *, auto: bool = False) -> None:
        self._least_s = least_s
        self._auto = auto

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns seconds."""
        if isinstance(value, float):
            return value
        if self._auto and str(value).strip().lower() == "auto":
            return AUTO
        try:
            seconds = parse_duration_s(str(value))
        except ValueError as error:
            self.fail(f"{error}{', or auto' if self._auto else ''}", param, ctx)
        if not self._least_s <= seconds <= MAX_DURATION_S:
            self.fail(f"{value!r} is out of range: from {self._least_s:g}s to 2h", param, ctx)
        return seconds


class Address(click.ParamType[str]):
    """`host:port`, the host an IPv6 address only in brackets."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the address as written, after a check of its form."""
        host, _, port = str(value).rpartition(":")
        if "://" in str(value):
            rest = str(value).partition("://")[2].rstrip("/")
            self.fail(f"{value!r} is a URL: write host:port, as in {rest or '127.0.0.1:50051'}", param, ctx)
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            self.fail(f"{value!r} has an IPv6 address without brackets: write it as in [::1]:50051", param, ctx)
        if not host or not port.isdigit() or not 1 <= int(port) <= 65535:
            self.fail(f"{value!r} is not host:port with a port from 1 to 65535, as in 127.0.0.1:50051", param, ctx)
        return str(value)


class AutoOrCount(click.ParamType[int]):
    """`auto` (0) or a whole number from 1."""

    name = "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Returns the number; 0 for auto."""
        if str(value) in ("auto", "0"):
            return 0
        if not str(value).isdigit():
            self.fail(f"{value!r} is neither `auto` nor a whole number from 1", param, ctx)
        return int(value)
