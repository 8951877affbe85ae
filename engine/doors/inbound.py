"""The memory of large messages, bounded over all calls."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from engine.errors import Overloaded

LARGE_BYTES = 64 * 1024
"""Messages below this size are not counted. Chosen: the queue's limit on bytes of text bounds those."""

RETRY_S = 0.5
"""`retry_after_s` when the limit is reached. Chosen: a large message is decoded and answered in about this time."""


MAX_DECODED_BYTES = 128 * 1024 * 1024
"""The default of WireLimits.max_decoded_bytes. Chosen: fourteen messages of the largest size."""


@dataclass(frozen=True, slots=True)
class WireLimits:
    """The limits of messages and connections, below the limits of a request."""

    max_message_bytes: int = 9 * 1024 * 1024
    """The largest message that is read. gRPC refuses a larger one with RESOURCE_EXHAUSTED. It is a little above the
    limit of a request's texts, so that a request over that limit gets the engine's error message."""
    max_decoded_bytes: int = MAX_DECODED_BYTES
    """The sum of the sizes of the large messages of all unanswered calls."""
    max_streams_per_connection: int = 10_000
    """Concurrent calls of one connection. Further ones wait in the client."""


class InboundMemory:
    """Counts the bytes of large messages in use. Used from the event loop's thread only."""

    def __init__(self, max_bytes: int = MAX_DECODED_BYTES) -> None:
        self._max_bytes = max_bytes
        self.held_bytes = 0

    def hold(self, size_bytes: int) -> AbstractContextManager[None]:
        """Returns a context manager that counts a message while it is in use. Raises Overloaded when it is entered."""
        return nullcontext() if size_bytes < LARGE_BYTES else self._hold(size_bytes)

    @contextmanager
    def _hold(self, size_bytes: int) -> Iterator[None]:
        if self.held_bytes + size_bytes > self._max_bytes:
            raise Overloaded(
                f"the messages of unanswered calls take {self._max_bytes} bytes, the engine's limit: "
                f"retry in {RETRY_S:.2f} s, or send smaller messages",
                RETRY_S,
            )
        self.held_bytes += size_bytes
        try:
            yield
        finally:
            self.held_bytes -= size_bytes
