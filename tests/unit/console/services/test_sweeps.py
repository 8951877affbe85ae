"""One session carries one sweep at a time, from the moment that it is asked for."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from console.model.engine import EngineSpec
from console.model.errors import CommandRefused
from console.model.frame import Frame
from console.model.load import Load
from console.services.sweeps import SweepRunner
from console.sweep.state import SweepState

if TYPE_CHECKING:
    from console.session.session import Session

SPEC = """name = "mine"
duration = "1s"
warm_up = "0s"
[grid]
batch = [1]
"""


class BusySession:
    """A session whose load ends when the test says so, or never does."""

    def __init__(self) -> None:
        self.frame = Frame(load=Load(running=True))
        self.engine_spec = EngineSpec()
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.fault: Exception | None = None

    async def stop_load(self) -> None:
        self.asked.set()
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault


class CountedSweep:
    """Stands for a sweep: counts how many run at a time, and lasts until it is stopped."""

    running = 0
    most = 0
    stopped: asyncio.Event

    def __init__(self, *_arguments: object, **_options: object) -> None:
        self.state = SweepState("s-1", "mine", ())

    async def run(self) -> SweepState:
        CountedSweep.running += 1
        CountedSweep.most = max(CountedSweep.most, CountedSweep.running)
        await CountedSweep.stopped.wait()
        CountedSweep.running -= 1
        return self.state

    def stop_now(self, *, restore: bool = True) -> None:
        CountedSweep.stopped.set()


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("console.services.sweeps.Sweep", CountedSweep)
    monkeypatch.setattr(CountedSweep, "running", 0)
    monkeypatch.setattr(CountedSweep, "most", 0)
    (tmp_path / "mine.toml").write_text(SPEC)
    return str(tmp_path / "mine.toml")


def runner_on(session: BusySession, folder: Path) -> SweepRunner:
    CountedSweep.stopped = asyncio.Event()
    return SweepRunner(cast("Session", session), folder / "runs.sqlite")


async def test_a_second_sweep_is_refused_while_the_first_one_is_still_being_prepared(tmp_path: Path, spec: str) -> None:
    session = BusySession()
    runner = runner_on(session, tmp_path)
    first = asyncio.create_task(runner.sweep(spec, resume=False))
    await session.asked.wait()
    second = asyncio.create_task(runner.sweep(spec, resume=False))
    await asyncio.wait({second}, timeout=0.5)
    session.gate.set()
    CountedSweep.stopped.set()
    with pytest.raises(CommandRefused, match="running already"):
        await second
    await first
    assert CountedSweep.most == 1


@pytest.mark.parametrize("fault", [CommandRefused("the load does not stop"), OSError("the driver is gone")])
async def test_a_sweep_that_could_not_begin_leaves_the_place_free(tmp_path: Path, spec: str, fault: Exception) -> None:
    session = BusySession()
    session.fault = fault
    session.gate.set()
    runner = runner_on(session, tmp_path)
    with pytest.raises(type(fault)):
        await runner.sweep(spec, resume=False)
    with pytest.raises(CommandRefused, match="nothing"):
        await runner.sweep(str(tmp_path / "nothing.toml"), resume=False)
    session.fault = None
    CountedSweep.stopped.set()
    await runner.sweep(spec, resume=False)
    assert CountedSweep.most == 1


async def test_a_cancelled_preparation_leaves_the_place_free(tmp_path: Path, spec: str) -> None:
    session = BusySession()
    runner = runner_on(session, tmp_path)
    first = asyncio.create_task(runner.sweep(spec, resume=False))
    await session.asked.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    session.gate.set()
    CountedSweep.stopped.set()
    await runner.sweep(spec, resume=False)
    assert CountedSweep.most == 1


async def test_a_sweep_that_is_stopped_while_it_is_prepared_does_not_begin(tmp_path: Path, spec: str) -> None:
    session = BusySession()
    runner = runner_on(session, tmp_path)
    first = asyncio.create_task(runner.sweep(spec, resume=False))
    await session.asked.wait()
    runner.stop_now()
    session.gate.set()
    await first
    assert CountedSweep.most == 0
    with pytest.raises(CommandRefused, match="No sweep is running"):
        runner.stop_now()
