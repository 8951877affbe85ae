"""When Python looks for garbage cycles: among the young objects as always, among all of them between requests.

A look at everything stops everybody, for longer the more requests wait: 0.4 s with 9,500 of them (on the machine of
ARCHITECTURE's figures), about once a second, to find next to nothing: no request leaves a cycle, answered or failed
(`tests/unit/test_garbage.py`).
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable

PERIOD_S = 1.0
LONGEST_S = 60.0
"""Under load that never pauses, everything is looked at this often: cycles there are few, but they must not pile up."""
_NEVER = 1 << 30


def freeze_start_up_objects() -> None:
    """Sets aside what start-up allocated, which mostly lives on, and leaves the rest to `collect_quietly`.

    Ten times as many new objects as usual are let come before the young are looked at: a request makes a hundred.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(7_000, 10, _NEVER)


async def collect_quietly(
    in_flight: Callable[[], int],
    ended: Callable[[], int],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    collect: Callable[[], object] = gc.collect,
) -> None:
    """Until cancelled, collects after a second without requests, if there were some before.

    `ended` counts those answered or failed.
    """
    collected = before = ended()
    since_s = 0.0
    while True:
        await sleep(PERIOD_S)
        since_s += PERIOD_S
        now = ended()
        quiet = now == before and not in_flight()
        if now != collected and (quiet or since_s >= LONGEST_S):
            collect()
            collected, since_s = now, 0.0
        before = now
