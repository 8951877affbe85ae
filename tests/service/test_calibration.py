"""The ceiling of the load generator: measured with its real process against a server that does nothing, and stored."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from console.load.null_server import start_server
from console.load.protocol import Command, Start, Tick
from console.measure.driver_ceiling import Ceiling, Ceilings, ceiling_of, measure_ceiling, shape_of
from console.model.load import LoadSpec
from console.session.driver_process import DriverProcess
from tests.service.load_rig import Events, loaded
from tests.support.patience import HANGS_AFTER_S
from tests.unit.console.support.intervals import second


@pytest.mark.parametrize(
    "spec",
    [LoadSpec(8, 4), LoadSpec(8, 4, stream=True), LoadSpec(8, 4, workload="pairs")],
    ids=["unary", "stream", "pairs"],
)
async def test_the_null_server_s_replies_pass_for_an_engine_s(spec: LoadSpec) -> None:
    server, address = await start_server(spec.batch, 16)
    events = Events()
    driver = await loaded(address, spec, events)
    await events.until(lambda: any(isinstance(event, Tick) and event.requests > 10 for event in events.all))
    await driver.stop()
    await server.stop(0)
    assert events.stopped.errors == {}


async def test_the_ceiling_is_measured_once_and_then_known_and_leaves_no_process_behind(tmp_path: Path) -> None:
    load = LoadSpec(8, 4)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    ceilings = Ceilings(tmp_path)
    assert ceilings.known(load) is None
    measured = await measure_ceiling(load)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    ceilings.keep(load, measured)
    assert measured.requests_per_s > 0
    assert measured.cpu_us_per_request > 0
    assert Ceilings(tmp_path).known(load) == measured
    assert Ceilings(tmp_path).known(replace(load, batch=9)) is None
    assert Ceilings(tmp_path).known(load, dim=768) is None


def test_the_highest_ceiling_is_kept_because_a_busy_machine_measures_a_lower_one(tmp_path: Path) -> None:
    ceilings, load = Ceilings(tmp_path), LoadSpec(8, 4)
    for requests_per_s in (1000.0, 2000.0, 500.0):
        ceilings.keep(load, Ceiling(requests_per_s, 300.0))
    assert ceilings.known(load) == Ceiling(2000.0, 300.0)


def test_a_cache_that_cannot_be_read_is_as_if_it_were_empty(tmp_path: Path) -> None:
    ceilings = Ceilings(tmp_path)
    ceilings.keep(LoadSpec(8, 4), Ceiling(1000.0, 300.0))
    (kept,) = tmp_path.rglob("*.json")
    for content in ("", "[]", "{", '{"texts unary batch 8 concurrency 4 dim 384": {"nope": 1}}'):
        kept.write_text(content)
        assert ceilings.known(LoadSpec(8, 4)) is None


def test_the_ceiling_is_of_a_shape_of_load_whatever_its_texts_and_its_rate() -> None:
    assert shape_of(LoadSpec(8, 4, corpus="mixed", seed=3), 384) == shape_of(LoadSpec(8, 4), 384)
    assert shape_of(LoadSpec(8, 4, rate=10.0), 384) == shape_of(LoadSpec(8, 9, rate=500.0), 384)
    assert len({shape_of(s, 384) for s in (LoadSpec(8, 4), LoadSpec(8, 4, stream=True), LoadSpec(9, 4))}) == 3
    assert shape_of(LoadSpec(8, 4), 768) != shape_of(LoadSpec(8, 4), 384)


def test_requests_and_cpu_make_the_ceiling_and_the_share_of_it() -> None:
    ceiling = ceiling_of([second(0, 1000, cpu_cores=0.5), second(1, 3000, cpu_cores=0.5)])
    assert ceiling == Ceiling(2000.0, 250.0)
    assert ceiling.share(500.0) == 0.25


def test_the_null_server_ends_with_its_lifeline() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "console.load.null_server", "4", "16"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert b"ready" in child.stdout.readline()
    child.communicate(timeout=HANGS_AFTER_S)
    assert child.returncode == 0


async def test_a_calibration_leaves_no_process_behind(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    await measure_ceiling(LoadSpec(1, 1))
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


async def test_a_calibration_whose_driver_does_not_end_as_it_should_ends_the_null_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop, before = DriverProcess.stop, children()

    async def fail(driver: DriverProcess, timeout_s: float = 3.0) -> None:
        await stop(driver, timeout_s)
        raise OSError("no such process")

    monkeypatch.setattr(DriverProcess, "stop", fail)
    with pytest.raises(OSError, match="no such process"):
        await measure_ceiling(LoadSpec(1, 1))
    assert children() <= before


async def test_a_calibration_that_is_cancelled_and_cancelled_again_leaves_no_process_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent, send, before = asyncio.Event(), DriverProcess.send, children()

    def noted(driver: DriverProcess, command: Command) -> None:
        send(driver, command)
        if isinstance(command, Start):
            sent.set()

    monkeypatch.setattr(DriverProcess, "send", noted)
    calibrating = asyncio.create_task(measure_ceiling(LoadSpec(1, 1)))
    await sent.wait()
    for _ in range(3):
        calibrating.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await calibrating
    assert children() <= before


async def test_a_calibration_that_is_cancelled_while_a_process_starts_leaves_none_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starting, to_thread = asyncio.Event(), asyncio.to_thread
    opened: list[asyncio.Task[subprocess.Popen[bytes]]] = []

    async def noted(*work: Any, **more: Any) -> Any:
        opened.append(asyncio.create_task(to_thread(*work, **more)))
        starting.set()
        return await asyncio.shield(opened[-1])

    monkeypatch.setattr("console.session.child_process.asyncio.to_thread", noted)
    calibrating = asyncio.create_task(measure_ceiling(LoadSpec(1, 1)))
    await starting.wait()
    calibrating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calibrating
    processes = await asyncio.gather(*opened)
    ended = [process.poll() is not None for process in processes]
    for process in processes:
        process.kill()
    assert ended == [True]
