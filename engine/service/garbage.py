"""When Python looks for garbage cycles: among the young objects as always, among all of them between requests.

A look at everything stops everybody, for longer the more requests wait: 0.4 s with 9,500 of them (on the machine of
ARCHITECTURE's figures), about once a second, to find next to nothing.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable

PERIOD_S = 1.0
LONGEST_S = 60.0
"""Under load that never pauses, everything is looked at this often: cycles there are few, but they must not pile up."""
_NEVER = 1 << 30


def take_over() -> None:
    """Sets aside what start-up allocated, which lives as long as the process, and leaves the rest to `collect_quietly`.

    Ten times as many new objects as usual are let come before the young are looked at: a request makes a hundred.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(7_000, 10, _NEVER)


async def collect_quietly(
    in_flight: Callable[[], int],
    answered: Callable[[], int],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    collect: Callable[[], object] = gc.collect,
) -> None:
    """Until cancelled, collects when no request is in flight and some were answered since the last time."""
    seen, since_s = answered(), 0.0
    while True:
        await sleep(PERIOD_S)
        since_s += PERIOD_S
        if answered() != seen and (not in_flight() or since_s >= LONGEST_S):
            collect()
            seen, since_s = answered(), 0.0
