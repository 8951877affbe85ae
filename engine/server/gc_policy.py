"""The policy of Python's cyclic garbage collector: young generations as usual, full collections only between requests.

A full collection stops every request, for longer the more requests wait: 0.4 s with 9,500 of them, about once a second
(docs/performance.md). It finds almost nothing, because no request leaves a reference cycle, answered or failed
(`tests/unit/engine/server/test_gc_policy.py`).
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable

CHECK_PERIOD_S = 1.0
"""The interval between two checks, in seconds, and the time without requests before a full collection. Chosen."""

MAX_INTERVAL_S = 60.0
"""The interval between full collections, in seconds, under load without a pause. Chosen: few cycles accumulate."""

_YOUNG_THRESHOLD = 7_000
"""New objects before a young collection: ten times Python's default, because a request allocates about a hundred."""

_NEVER = 1 << 30


def freeze_start_up_objects() -> None:
    """Exempts the objects of the start-up from collection, and leaves full collections to `collect_when_idle`.

    Most of them live as long as the process.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_THRESHOLD, 10, _NEVER)


async def collect_when_idle(
    in_flight: Callable[[], int],
    ended: Callable[[], int],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    collect: Callable[[], object] = gc.collect,
) -> None:
    """Runs until cancelled. Collects after CHECK_PERIOD_S without requests, if there were requests since the last time.

    `in_flight`: the number of unanswered requests. `ended`: the number of requests answered or failed so far.
    """
    collected = before = ended()
    since_s = 0.0
    while True:
        await sleep(CHECK_PERIOD_S)
        since_s += CHECK_PERIOD_S
        now = ended()
        idle = now == before and not in_flight()
        if now != collected and (idle or since_s >= MAX_INTERVAL_S):
            collect()
            collected, since_s = now, 0.0
        before = now
