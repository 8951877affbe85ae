"""Options of a gRPC channel to an engine."""

import ipaddress
from collections.abc import Iterable
from typing import Any


def is_loopback(address: str) -> bool:
    """Whether the address, host:port, is on this machine."""
    host = address.rpartition(":")[0].strip("[]") or address
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or address.startswith("unix:")


def channel_options(address: str, options: Iterable[tuple[str, Any]] = ()) -> list[tuple[str, Any]]:
    """Returns the options of a channel to the address. A proxy in the environment is never used for this machine."""
    return [*options, *([("grpc.enable_http_proxy", 0)] if is_loopback(address) else [])]
