"""The policy of returning freed memory to the system: after the process has grown, and not while it is steady.

glibc keeps freed memory. gRPC alone keeps hundreds of MiB after 40 large messages, also of those it refuses.
"""

import asyncio
from collections.abc import Awaitable, Callable

CHECK_PERIOD_S = 1.0
"""The interval between two checks, in seconds. Chosen."""

GROWTH_BYTES = 64 * 1024 * 1024
"""Growth of the resident memory after which the heap is trimmed. Chosen: several times what usual requests take."""

DELAYS_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Times between the trims after growth, in seconds. Several, because memory is returned only once the calls that use it
have ended. A trim takes up to 0.2 s of a thread of its own."""


async def trim_after_growth(
    resident_bytes: Callable[[], int],
    trim: Callable[[], object],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Runs until cancelled. Trims after each of DELAYS_S when the resident memory has grown by GROWTH_BYTES."""
    trimmed_bytes = resident_bytes()
    due: list[float] = []
    while True:
        await sleep(due[0] if due else CHECK_PERIOD_S)
        if resident_bytes() - trimmed_bytes > GROWTH_BYTES:
            due = list(DELAYS_S)
        if due:
            due.pop(0)
            await asyncio.to_thread(trim)
            trimmed_bytes = resident_bytes()
