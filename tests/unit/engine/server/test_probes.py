"""The live deployment is probed when its schedule says so, whichever deployment that is at the time."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from engine.scheduling import Health, ProbeSchedule
from engine.server.health import CHECK_PERIOD_S, probe_when_due


async def test_the_deployment_that_is_live_is_probed_when_nothing_shows_that_it_works() -> None:
    probed: list[str] = []
    now_s = 0.0

    def scheduler(name: str) -> Any:
        return SimpleNamespace(health=Health(), probe=lambda: probed.append(name))

    first, second = scheduler("first"), scheduler("second")

    async def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds
        if now_s > 30 * CHECK_PERIOD_S:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await probe_when_due(
            lambda: first if now_s <= 15 * CHECK_PERIOD_S else second,
            ProbeSchedule(10 * CHECK_PERIOD_S, lambda: now_s),
            sleep=sleep,
        )
    assert probed == ["first", "second"]
