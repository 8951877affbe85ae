"""What every front end uses: one session with an engine and a load, and the frames it publishes."""

from console.ports import CommandRefused, Detached, SessionOptions
from console.session.core import Session

__all__ = ["CommandRefused", "Detached", "Session", "SessionOptions"]
