"""What every front end uses: one session with an engine and a load, and the frames it publishes."""

from typing import TYPE_CHECKING

from console.session.port import CommandRefused, Detached, SessionOptions

if TYPE_CHECKING:
    from console.session.core import Session

__all__ = ["CommandRefused", "Detached", "Session", "SessionOptions"]


def __getattr__(name: str) -> object:
    """Imports the session, and with it gRPC, when it is first asked for: `supervise` is used without it."""
    if name == "Session":
        from console.session.core import Session

        return Session
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
