"""The session on a fake engine: start, load, switch, loss, detach, and nothing left behind."""

import asyncio
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from console.model.engine import Deployment, EngineState
from console.model.errors import CommandRefused
from console.model.frame import Frame
from console.model.load import LoadSpec
from console.session.load import check_load
from console.session.port import SessionOptions
from console.session.session import Session
from tests.support.fake_engine import FakeEngine, start_server
from tests.support.patience import HANGS_AFTER_S


def options(*flags: str, **more: object) -> SessionOptions:
    command = (sys.executable, "-m", "tests.support.fake_engine", *flags)
    return SessionOptions(engine_command=command, start=True, **more)  # type: ignore[arg-type]  # named by the tests


async def until(session: Session, true: Callable[[Frame], bool]) -> Frame:
    """The first frame of which it is true; polled as a front end does."""
    async with asyncio.timeout(HANGS_AFTER_S):
        while not true(frame := session.frame):  # noqa: ASYNC110 - frames are pulled, as a front end pulls them
            await asyncio.sleep(0.01)
    return frame


async def serving(session: Session) -> Frame:
    await session.wait_until_ready()
    frame = session.frame
    assert frame.engine.state is EngineState.RUNNING, frame.engine.message
    return frame


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_start_up_shows_its_phases_and_ends_with_what_is_served() -> None:
    async with Session(options("--backend", "torch")) as session:
        frame = await serving(session)
        assert frame.engine.effective.cell == "torch·fp32"
        assert frame.engine.model.dim == 384
        assert frame.engine.batching.coalesce
        log = [line.text for line in frame.log]
        assert [text for text in log if "/3" in text] == ["prepare 1/3", "load 2/3", "warm 3/3"]
        assert any("a line that is not JSON" in text for text in log)
        frame = await until(session, lambda frame: len(frame.capabilities) > 0 and frame.engine.rss_bytes > 0)
        assert {cell.precision for cell in frame.capabilities} == {"fp32", "int8", "int4"}
        pid = frame.engine.pid
    assert not alive(pid)


async def test_a_failed_start_tells_the_engine_s_own_sentence_and_can_be_tried_again() -> None:
    async with Session(options("--fail-start", "3")) as session:
        await session.wait_until_ready()
        engine = session.frame.engine
        assert engine.state is EngineState.STOPPED
        assert engine.message == "no backend 'nope': choose torch or onnx"
        assert session.engine_exit_code == 3
        await session.start_engine()
        await session.wait_until_ready()
        assert session.frame.engine.message == engine.message


async def test_commands_that_cannot_be_carried_out_say_why_and_what_to_do() -> None:
    async with Session(SessionOptions()) as session:
        for command, expected in (
            (session.start_load(LoadSpec()), "start it first"),
            (session.stop_load(), "no load is running"),
            (session.switch(Deployment(backend="onnx")), "start it first"),
            (session.cancel_switch(), "no switch"),
            (session.stop_engine(), "nothing to stop"),
            (session.detach(), "nothing to detach"),
            (session.change_load(LoadSpec(batch=0)), "choose 1 to"),
        ):
            with pytest.raises(CommandRefused, match=expected):
                await command


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (LoadSpec(rate=-1.0), "choose up to 100,000 requests a second, or 0 for a closed loop"),
        (LoadSpec(rate=math.nan), "choose up to"),
        (LoadSpec(rate=10.0, arrival="bursty"), "choose poisson or constant"),
        (LoadSpec(ramp_s=-1.0), "choose 0 or more seconds"),
        (LoadSpec(rate=10.0, max_in_flight=0), "choose 1 to 65,536"),
    ],
)
def test_a_load_that_cannot_be_sent_is_refused_with_what_to_choose(spec: LoadSpec, expected: str) -> None:
    with pytest.raises(CommandRefused, match=expected):
        check_load(spec)


async def test_the_rate_changes_live_and_the_loop_closes_and_opens_while_it_runs() -> None:
    async with Session(options("--delay-ms", "1")) as session:
        await serving(session)
        await session.start_load(LoadSpec(1, rate=50.0))
        for spec in (LoadSpec(1, rate=200.0, ramp_s=0.1), LoadSpec(1, 2), LoadSpec(1, rate=100.0, arrival="constant")):
            await session.change_load(spec)
            assert session.frame.load.spec == spec
        await until(session, lambda frame: frame.load.lag_p99_ms is not None)
        await session.stop_load()
        assert session.frame.load.errors == {}
        assert session.frame.load.dropped == 0
        assert any("open loop, 200 requests/s poisson" in line.text for line in session.frame.log)


async def test_a_load_moves_the_figures_and_stops_clean() -> None:
    async with Session(options("--delay-ms", "1")) as session:
        await serving(session)
        await session.start_load(LoadSpec(8, 4))
        with pytest.raises(CommandRefused, match="limit of 1,024 texts"):
            await session.start_load(LoadSpec(5000, 4))
        with pytest.raises(CommandRefused, match="no such file"):
            await session.change_load(LoadSpec(8, 4, corpus="/nowhere"))
        frame = await until(session, lambda frame: frame.window.latency.n > 0 and frame.load.texts > 0)
        assert frame.load.running
        assert frame.load.warming_up
        assert frame.load.errors == {}
        assert frame.window.texts_per_s is not None
        assert frame.window.stages is not None
        assert frame.window.stages.infer_ms == pytest.approx(2.0)
        assert frame.points[-1].epoch == 1
        await session.change_load(LoadSpec(2, 2))
        await session.set_coalescing(False)
        assert session.frame.load.spec == LoadSpec(2, 2)
        assert not session.frame.engine.batching.coalesce
        await session.stop_load()
        stopped = session.frame
        assert not stopped.load.running
        assert stopped.load.requests > 0
        await until(session, lambda frame: len(frame.points) > 0 and frame.points[-1].texts_per_s is None)


async def test_a_switch_leaves_a_marker_and_a_fallback_stays_in_sight() -> None:
    async with Session(options()) as session:
        await serving(session)
        await session.switch(Deployment(backend="torch", precision="int8"))
        frame = await until(session, lambda frame: frame.engine.epoch == 2 and bool(frame.markers))
        assert frame.markers[0].label == "onnx·fp32 → torch·int8 (eff fp32)"
        assert frame.markers[0].fell_back
        assert (frame.engine.requested.precision, frame.engine.effective.precision) == ("int8", "fp32")
        assert frame.engine.warnings[0].message == "int8 is not built yet: fp32 is used"
        assert any(line.level == "warning" and "int8 is not built" in line.text for line in frame.log)
        assert frame.deltas[0].ordinal == 1
        assert session.engine_spec.precision == "int8"


async def test_a_switch_that_fails_keeps_its_reason_and_the_old_deployment() -> None:
    async with Session(options()) as session:
        await serving(session)
        with pytest.raises(CommandRefused, match="choose fp32"):
            await session.switch(Deployment(precision="int4"))
        frame = await until(session, lambda frame: frame.engine.state is EngineState.RUNNING)
        assert "onnx·fp32 continues to serve" in frame.engine.message
        assert frame.engine.effective.cell == "onnx·fp32"
        assert frame.markers == ()


async def test_a_switch_shows_its_state_refuses_a_second_one_and_can_be_cancelled() -> None:
    async with Session(options("--switch-step-s", "30")) as session:
        await serving(session)
        await session.switch(Deployment(backend="torch"))
        frame = session.frame
        assert frame.engine.state is EngineState.SWITCHING
        assert frame.engine.phase is not None
        assert frame.engine.phase.total == 6
        assert frame.engine.requested.backend == "torch"
        with pytest.raises(CommandRefused, match="in progress"):
            await session.switch(Deployment(backend="torch"))
        await session.cancel_switch()
        frame = await until(session, lambda frame: frame.engine.state is EngineState.RUNNING)
        assert (frame.engine.requested.backend, frame.engine.effective.backend) == ("onnx", "onnx")
        assert frame.markers == ()


async def test_an_engine_killed_under_load_is_lost_not_a_crash_and_a_restart_brings_it_back() -> None:
    async with Session(options()) as session:
        pid = (await serving(session)).engine.pid
        await session.start_load(LoadSpec(4, 2))
        os.kill(pid, signal.SIGKILL)
        frame = await until(session, lambda frame: frame.engine.state is EngineState.LOST)
        assert "SIGKILL" in frame.engine.message
        assert "restart it" in frame.engine.message
        frame = await until(session, lambda frame: not frame.load.running)
        assert "no longer serves" in frame.load.message
        await session.restart_engine()
        frame = await serving(session)
        assert frame.engine.pid != pid
        assert frame.load.message == "", "why the load stopped belonged to the engine that is gone"
        await session.start_load(LoadSpec(4, 2))
        await until(session, lambda frame: frame.load.requests > 0)


async def test_a_restart_brings_the_load_back() -> None:
    async with Session(options()) as session:
        pid = (await serving(session)).engine.pid
        await session.start_load(LoadSpec(4, 2))
        await session.restart_engine()
        frame = await until(session, lambda frame: frame.load.running and frame.load.requests > 0)
        assert frame.engine.pid != pid


async def test_an_engine_that_goes_silent_counts_as_lost_with_the_time() -> None:
    async with Session(options("--fault", "mute", silence_s=0.5, stop_timeout_s=0.5)) as session:
        await serving(session)
        frame = await until(session, lambda frame: frame.engine.state is EngineState.LOST)
        assert "no message for" in frame.engine.message


async def test_a_remote_engine_is_followed_reconnected_and_never_stopped_from_here() -> None:
    engine = FakeEngine()
    server, address = await start_server(engine)
    async with Session(SessionOptions(connect=address)) as session:
        assert (await serving(session)).engine.remote
        for command in (session.stop_engine(), session.restart_engine(), session.start_engine(), session.detach()):
            with pytest.raises(CommandRefused, match="was not started here"):
                await command
        await server.stop(0)
        frame = await until(session, lambda frame: frame.engine.state is EngineState.LOST)
        assert "check it on its own host" in frame.engine.message
        again, _ = await start_server(FakeEngine(backend="torch"), int(address.rpartition(":")[2]))
        frame = await until(session, lambda frame: frame.engine.state is EngineState.RUNNING)
        assert frame.engine.effective.backend == "torch"
        await again.stop(0)


async def test_a_detached_engine_lives_on_and_is_told_how_to_be_stopped(tmp_path: Path) -> None:
    async with Session(options("--log-folder", str(tmp_path))) as session:
        await serving(session)
        await session.start_load(LoadSpec(4, 2))
        left = await session.detach()
        assert not session.frame.load.running
    assert alive(left.pid)
    assert left.log_path == str(tmp_path / f"engine-{left.pid}.log")
    async with Session(SessionOptions(connect=left.address)) as session:
        await serving(session)
    os.kill(left.pid, signal.SIGTERM)


async def test_a_console_killed_with_sigkill_leaves_no_process_behind() -> None:
    script = """
import asyncio, sys
from console.model.load import LoadSpec
from console.session.session import Session
from console.session.port import SessionOptions

async def main():
    command = (sys.executable, "-m", "tests.support.fake_engine")
    async with Session(SessionOptions(engine_command=command, start=True)) as session:
        await session.wait_until_ready()
        await session.start_load(LoadSpec(4, 2))
        print(session.frame.engine.pid, session.driver_pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
    console = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert console.stdout is not None
    children = [psutil.Process(int(pid)) for pid in (await asyncio.to_thread(console.stdout.readline)).split()]
    assert len(children) == 2
    console.kill()
    console.wait()
    console.stdout.close()
    _, left = await asyncio.to_thread(psutil.wait_procs, children, HANGS_AFTER_S)
    assert left == []
