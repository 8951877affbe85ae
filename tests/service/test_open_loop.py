"""The open loop on a fake engine: it keeps its schedule, measures a backlog, and counts every dropped arrival."""

import asyncio
from itertools import pairwise

import pytest

from console.analysis.steady_state import percentiles, rates
from console.analysis.validity import check_littles_law, send_lag
from console.load.protocol import Interval
from console.model.load import LoadSpec
from tests.service.load_rig import Rig

SERVICE_S = 0.02
CAPACITY = 1 / SERVICE_S


def p50_ms(interval: Interval) -> float:
    return percentiles([interval.answers], certified=False).p50_ms or 0.0


async def seconds_of_load(rig: Rig, spec: LoadSpec, count: int) -> list[Interval]:
    driver = await rig.load(spec)
    await rig.events.until(lambda: len(rig.events.intervals) == count)
    whole = list(rig.events.intervals)
    await driver.stop(timeout_s=0.5)
    return whole


async def test_under_overload_open_loop_latency_grows_with_the_backlog(rig: Rig) -> None:
    rig.engine.delay_s, rig.engine.one_at_a_time = SERVICE_S, asyncio.Lock()
    spec = LoadSpec(batch=1, rate=2 * CAPACITY, arrival="constant")
    intervals = await seconds_of_load(rig, spec, 3)
    medians = [p50_ms(interval) for interval in intervals]
    assert all(later > earlier + 200 for earlier, later in pairwise(medians))  # half a second more each second
    assert intervals[-1].in_flight > CAPACITY
    found = rates(intervals)
    assert found is not None
    latency = percentiles([interval.answers for interval in intervals], certified=False)
    judged = check_littles_law(intervals, spec, found.requests_per_s, latency)
    assert not judged.stable
    assert "does not keep up" in judged.reason


async def test_under_the_same_overload_closed_loop_latency_does_not_grow(rig: Rig) -> None:
    rig.engine.delay_s, rig.engine.one_at_a_time = SERVICE_S, asyncio.Lock()
    intervals = await seconds_of_load(rig, LoadSpec(batch=1, concurrency=8), 3)
    for interval in intervals[1:]:
        turn_ms = interval.duration_s * 1000 / interval.answers.requests
        assert p50_ms(interval) < 1.5 * 8 * turn_ms, "everybody waits for the eight that are in flight, and no longer"
    assert all(interval.send_lag is None and interval.dropped == 0 for interval in intervals)


async def test_an_engine_that_keeps_up_gets_what_was_scheduled_and_nothing_is_late(rig: Rig) -> None:
    rate = 50.0
    intervals = await seconds_of_load(rig, LoadSpec(batch=2, rate=rate, arrival="constant"), 2)
    passed_s = intervals[-1].end_s - intervals[0].start_s
    arrived = sum(interval.arrivals for interval in intervals)
    answered = sum(interval.answers.requests for interval in intervals)
    assert arrived == pytest.approx(rate * passed_s, rel=0.15)
    assert answered == arrived - intervals[-1].in_flight
    lag = send_lag(intervals)
    assert lag is not None
    assert lag.p50_ms is not None
    assert lag.p50_ms < 1000 / rate, "sent before the next is due"


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
async def test_an_arrival_that_finds_too_many_unanswered_is_dropped_and_counted(rig: Rig, stream: bool) -> None:
    rig.engine.delay_s = 0.2
    await seconds_of_load(rig, LoadSpec(batch=1, rate=200.0, arrival="constant", max_in_flight=10, stream=stream), 1)
    assert rig.engine.most_in_flight <= 10
    dropped = rig.events.total(lambda interval: interval.dropped)
    assert dropped > 100, "at most 50 a second are answered"
    assert rig.engine.calls + dropped == rig.events.total(lambda interval: interval.arrivals)
    assert rig.events.stopped.errors == {}


async def test_the_rate_can_change_while_it_runs_and_the_loop_can_close_and_open_again(rig: Rig) -> None:
    driver = await rig.load(LoadSpec(batch=1, rate=100.0, arrival="constant"))
    await rig.answered(20)
    for spec in (
        LoadSpec(batch=2, rate=400.0, arrival="constant"),
        LoadSpec(batch=2, rate=400.0, stream=True),
        LoadSpec(batch=2, concurrency=3),
        LoadSpec(batch=1, rate=300.0, workload="pairs"),
        LoadSpec(batch=1, rate=300.0, ramp_s=0.5),
    ):
        await driver.change(spec)
        await rig.answered(30)
    await driver.stop()
    assert rig.events.stopped.errors == {}
    assert rig.events.stopped.requests == rig.engine.counters.requests
    assert rig.events.stopped.texts == rig.engine.counters.texts
    assert rig.events.stopped.abandoned == 0


@pytest.mark.parametrize(
    "spec",
    [LoadSpec(batch=1, rate=60.0, arrival="constant", ramp_s=2.0), LoadSpec(batch=1, concurrency=20, ramp_s=2.0)],
    ids=["rate", "concurrency"],
)
async def test_a_ramp_rises_to_what_was_asked_for(rig: Rig, spec: LoadSpec) -> None:
    rig.engine.delay_s = 0.2  # far from what the engine and the driver can do
    first, second, third = await seconds_of_load(rig, spec, 3)
    assert first.mean_in_flight < 0.6 * second.mean_in_flight
    assert second.mean_in_flight < 0.95 * third.mean_in_flight
    assert rig.events.stopped.errors == {}
