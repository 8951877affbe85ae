"""After a sweep in the console, engine, knobs and load are what they were before, and the saved state never differs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from console.model.engine import EngineSpec, EngineState
from console.model.load import LoadSpec
from console.services.sweeps import SweepRunner
from console.session.port import SessionOptions
from console.session.session import Session
from tests.unit.console.sweep.test_runner import COMMAND

SPEC = """name = "mine"
duration = "1s"
warm_up = "0s"
[grid]
backends = ["torch"]
precisions = ["fp32"]
batch = [1]
concurrency = [2]
"""
MINE = LoadSpec(batch=8, concurrency=3)
BEFORE = EngineSpec(backend="onnx", precision="fp32", coalesce=False, max_wait_ms=2.0)


@pytest_asyncio.fixture
async def session() -> AsyncIterator[Session]:
    async with Session(SessionOptions(engine=BEFORE, load=MINE, engine_command=(*COMMAND,))) as opened:
        yield opened


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "mine.toml").write_text(SPEC)
    return str(tmp_path / "mine.toml")


async def serving(session: Session) -> None:
    await session.start_engine()
    await session.wait_until_ready()
    await session.configure(coalesce=False, max_wait_ms=2.0)


async def test_engine_knobs_and_running_load_go_back_to_what_they_were(
    session: Session, source: str, tmp_path: Path
) -> None:
    await serving(session)
    await session.start_load(MINE)
    sweeps = SweepRunner(session, tmp_path / "runs.sqlite")
    await sweeps.sweep(source, resume=False)
    frame = session.frame
    assert sweeps.state is not None
    assert not sweeps.state.trouble
    assert frame.engine.effective.cell == "onnx·fp32"
    assert (frame.engine.batching.coalesce, frame.engine.batching.max_wait_ms) == (False, 2.0)
    assert (frame.load.running, frame.load.spec) == (True, MINE)
    assert session.engine_spec == BEFORE


async def test_a_load_that_was_only_set_is_set_again_and_not_started(
    session: Session, source: str, tmp_path: Path
) -> None:
    await serving(session)
    await SweepRunner(session, tmp_path / "runs.sqlite").sweep(source, resume=False)
    assert (session.frame.load.running, session.frame.load.spec) == (False, MINE)


async def test_an_engine_that_was_stopped_is_stopped_again_with_its_own_options(
    session: Session, source: str, tmp_path: Path
) -> None:
    await SweepRunner(session, tmp_path / "runs.sqlite").sweep(source, resume=False)
    assert session.frame.engine.state is EngineState.STOPPED
    assert session.engine_spec == BEFORE
    assert (session.frame.load.running, session.frame.load.spec) == (False, MINE)


async def test_while_a_sweep_runs_the_settings_of_the_user_are_known(
    session: Session, source: str, tmp_path: Path
) -> None:
    await serving(session)
    sweeps = SweepRunner(session, tmp_path / "runs.sqlite")
    running = asyncio.create_task(sweeps.sweep(source, resume=False))
    while not session.frame.load.running:  # noqa: ASYNC110 - frames have no event
        await asyncio.sleep(0.01)
    assert session.frame.load.spec != MINE
    assert sweeps.before is not None
    assert (sweeps.before.load.spec, sweeps.before.spec) == (MINE, BEFORE)
    await running
    assert not sweeps.before


async def test_a_sweep_that_ends_because_the_console_quits_does_not_prepare_an_engine_that_is_stopped_anyway(
    session: Session, source: str, tmp_path: Path
) -> None:
    await serving(session)
    sweeps = SweepRunner(session, tmp_path / "runs.sqlite")
    running = asyncio.create_task(sweeps.sweep(source, resume=False))
    while not session.frame.load.running:  # noqa: ASYNC110 - frames have no event
        await asyncio.sleep(0.01)
    sweeps.stop_now(restore=False)
    await running
    assert session.frame.engine.effective.cell == "torch·fp32"
    assert not session.frame.load.running
