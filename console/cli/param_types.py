"""Types of command-line values. The error for an invalid value shows a valid one."""

import ipaddress
import re
from typing import Any

import click

from console.model.durations import MAX_DURATION_S, parse_duration_s

AUTO = 0.0
"""The value of `auto`: the duration is determined while measuring."""

_EXAMPLE = "127.0.0.1:50051"


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
    """`host:port`: a host name, an IPv4 address, or an IPv6 address in brackets; `dns:///` may stand before it."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the address as written, after a check of its form."""
        text = str(value).removeprefix("dns:///")
        host = text.rpartition(":")[0]
        if "://" in text:
            rest = text.partition("://")[2].rstrip("/")
            valid = rest if _is_address(rest) else _EXAMPLE
            self.fail(f"{value!r} is a URL: write host:port, as in {valid}", param, ctx)
        if _is_ip_address(host.partition("%")[0], 6):
            self.fail(f"{value!r} is not host:port: write an IPv6 address in brackets, as in [::1]:50051", param, ctx)
        if not _is_address(text):
            self.fail(f"{value!r} is not host:port with a port from 1 to 65535, as in {_EXAMPLE}", param, ctx)
        return str(value)


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return _is_host(host) and bool(re.fullmatch(r"[0-9]{1,5}", port)) and 1 <= int(port) <= 65535


def _is_host(text: str) -> bool:
    """Whether the text can name a host (RFC 1123, with the underscore that some networks use)."""
    if text.startswith("[") and text.endswith("]"):
        return _is_ip_address(text[1:-1].partition("%")[0], 6)
    if re.fullmatch(r"[0-9.]+", text):
        return _is_ip_address(text, 4)
    labels = text.removesuffix(".").split(".")
    return len(text) <= 253 and all(re.fullmatch(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", label) for label in labels)


def _is_ip_address(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


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
