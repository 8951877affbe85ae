"""Faults inside the session: each is logged and shown, and the session continues."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from console.model.engine import CellState, Deployment, EngineState, Phase
from console.model.errors import CommandRefused
from console.model.frame import Frame
from console.session import from_wire
from console.session import session as core
from console.session.control_client import ControlClient, EngineRefusal
from console.session.engine_process import phase_of
from console.session.port import SessionOptions
from console.session.session import Session
from engine.api import embed_pb2
from tests.support.fake_engine import FakeEngine, start_server
from tests.unit.console.session.test_session import options, serving, until

NEW = 9
"""A number that no enum of this console names."""


class NewerEngine(FakeEngine):
    """Sends a value that this console does not know in every enum."""

    async def GetStatus(self, request: embed_pb2.GetStatusRequest, context: Any) -> embed_pb2.Status:  # noqa: N802 - the wire's name
        status = await super().GetStatus(request, context)
        status.state = NEW  # type: ignore[assignment]  # that is the point
        return status

    async def GetCapabilities(self, request: embed_pb2.GetCapabilitiesRequest, context: Any) -> embed_pb2.Capabilities:  # noqa: N802 - the wire's name
        found = await super().GetCapabilities(request, context)
        found.cells[1].state = NEW  # type: ignore[assignment]  # that is the point
        return found

    async def Watch(self, request: embed_pb2.WatchRequest, context: Any) -> AsyncIterator[embed_pb2.Frame]:  # noqa: N802 - the wire's name
        async for frame in super().Watch(embed_pb2.WatchRequest(interval_ms=20), context):
            frame.state = NEW  # type: ignore[assignment]  # that is the point
            frame.queue.hdr_v2 = b"no histogram"
            yield frame

    async def Switch(self, request: embed_pb2.SwitchRequest, context: Any) -> AsyncIterator[embed_pb2.SwitchEvent]:  # noqa: N802 - the wire's name
        async for event in super().Switch(request, context):
            if event.state == embed_pb2.CUT_OVER:
                yield embed_pb2.SwitchEvent(state=NEW, message="something new", effective=event.effective)  # type: ignore[arg-type]  # that is the point
            yield event


def log_lines(frame: Frame, words: str, level: str = "") -> list[str]:
    return [line.text for line in frame.log if words in line.text and level in ("", line.level)]


def without_pauses(session: Session) -> None:
    """Restarts at once: the pause is tested with the supervisor."""
    session._supervisor._sleep = lambda _pause_s: asyncio.sleep(0)


async def test_what_a_newer_engine_says_is_shown_as_unknown_said_once_and_followed_on() -> None:
    server, address = await start_server(NewerEngine())
    async with Session(SessionOptions(connect=address)) as session:
        await serving(session)
        frame = await until(session, lambda frame: len(frame.capabilities) > 0 and len(session.samples) > 3)
        assert frame.engine.state is EngineState.RUNNING
        assert frame.capabilities[1].state is CellState.UNKNOWN
        assert [notice.code for notice in frame.engine.warnings] == [from_wire.UNKNOWN_STATE]
        await session.switch(Deployment(backend="torch"))
        await session.wait_until_switched()
        frame = session.frame
        assert frame.engine.effective.backend == "torch"
        assert frame.engine.message == ""
        assert len(frame.markers) == 1
        for enum in ("ServingState", "CellState", "SwitchState"):
            assert len(log_lines(frame, f"the engine sent {enum} {NEW}", "warning")) == 1
        assert log_lines(frame, "failed") == []
    await server.stop(0)


def test_every_enum_of_the_wire_that_is_shown_has_a_word_for_an_unknown_value() -> None:
    event = embed_pb2.SwitchEvent(state=NEW, message="something new")  # type: ignore[arg-type]  # that is the point
    assert from_wire.switch_phase(event).name == f"unknown ({NEW})"
    assert not from_wire.is_cut_over(NEW)
    assert from_wire.capability(embed_pb2.CapabilityCell(state=NEW)).state is CellState.UNKNOWN  # type: ignore[arg-type]  # the same
    assert from_wire.fidelity(embed_pb2.FidelityEvent(grade=NEW))["grade"] is None  # type: ignore[arg-type]  # the same
    assert from_wire.fidelity(embed_pb2.FidelityEvent(grade=embed_pb2.RED))["grade"] == "red"


def test_a_phase_with_a_number_that_is_none_is_still_a_phase() -> None:
    assert phase_of({"name": "load", "done": float("nan"), "total": float("inf")}).total == 0


async def test_a_switch_that_the_console_cannot_follow_is_a_failure_with_its_reason() -> None:
    server, address = await start_server(FakeEngine())

    def broken(_phase: Phase, _requested: Deployment) -> None:
        raise ValueError("enum has no name defined for value 9")

    async with Session(SessionOptions(connect=address)) as session:
        await serving(session)
        session._switcher._engine.set_switch_phase = broken  # type: ignore[method-assign, assignment]  # a fault
        with pytest.raises(CommandRefused, match="following the switch to torch failed: ValueError"):
            await session.switch(Deployment(backend="torch"))
        await session.wait_until_switched()
        frame = session.frame
        assert frame.engine.state is EngineState.RUNNING
        assert "following the switch to torch failed" in frame.engine.message
        assert log_lines(frame, "following a switch failed: ValueError", "error")
        assert log_lines(frame, "in broken")
        with pytest.raises(CommandRefused, match="following the switch"):
            await session.switch(Deployment(backend="torch"))
    await server.stop(0)


async def test_a_follower_that_fails_is_seen_as_a_lost_engine_and_follows_again() -> None:
    server, address = await start_server(FakeEngine())
    async with Session(SessionOptions(connect=address)) as session:
        gate = asyncio.Event()

        async def pause(_pause_s: float) -> None:
            await gate.wait()

        session._supervisor._sleep = pause
        await serving(session)
        apply = session._engine._apply_frame

        def broken(_frame: embed_pb2.Frame) -> None:
            raise ValueError("not a histogram")

        session._engine._apply_frame = broken  # type: ignore[method-assign, assignment]  # a fault
        frame = await until(session, lambda frame: frame.engine.state is EngineState.LOST)
        assert "following the engine failed: ValueError: not a histogram" in frame.engine.message
        assert log_lines(frame, "in broken")
        session._engine._apply_frame = apply  # type: ignore[method-assign]  # mended
        gate.set()
        frame = await until(session, lambda frame: frame.engine.state is EngineState.RUNNING)
        assert frame.engine.message == ""
    await server.stop(0)


async def test_the_heartbeat_goes_on_after_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "HEARTBEAT_S", 0.001)
    beaten = asyncio.Event()
    beats = 0

    def gap(_time_s: float) -> None:
        nonlocal beats
        beats += 1
        if beats == 1:
            raise ZeroDivisionError("a beat")
        beaten.set()

    session = Session(SessionOptions())
    without_pauses(session)
    session._metrics.gap = gap  # type: ignore[method-assign, assignment]  # a fault
    async with session, asyncio.timeout(20):
        await beaten.wait()
    assert log_lines(session.frame, "the session's heartbeat failed: ZeroDivisionError: a beat", "error")
    assert log_lines(session.frame, "in gap")


async def test_background_work_that_fails_is_logged() -> None:
    async with Session(SessionOptions()) as session:

        async def broken() -> None:
            raise KeyError("spec")

        session._in_background("stopping the engine", broken())
        frame = await until(
            session, lambda frame: bool(log_lines(frame, "stopping the engine failed: KeyError", "error"))
        )
        assert log_lines(frame, "in broken")


class Counted:
    """Every connection that is opened, and whether it was closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened: list[ControlClient] = []
        self.closed: list[ControlClient] = []
        opens, closes = ControlClient.__init__, ControlClient.close

        def init(control: ControlClient, *arguments: Any) -> None:
            self.opened.append(control)
            opens(control, *arguments)

        async def close(control: ControlClient) -> None:
            await closes(control)
            self.closed.append(control)

        monkeypatch.setattr(ControlClient, "__init__", init)
        monkeypatch.setattr(ControlClient, "close", close)


async def test_the_connection_to_an_engine_is_closed_however_the_engine_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    async with Session(options()) as session:
        pid = (await serving(session)).engine.pid
        os.kill(pid, signal.SIGKILL)
        await until(session, lambda frame: frame.engine.state is EngineState.LOST and bool(counted.closed))
        await session.restart_engine()
        await serving(session)
        await session.restart_engine()
        await serving(session)
        session._engine._on_ready({"address": session.frame.engine.address})  # says it twice
        await until(session, lambda frame: len(counted.closed) == 3)
        assert len(counted.opened) == 4
    assert counted.closed == counted.opened


async def test_a_call_on_a_connection_that_is_closed_says_so_and_cancels_nobody() -> None:
    server, address = await start_server(FakeEngine(fault="mute"))
    control = ControlClient(address)
    first = asyncio.Event()

    async def watch() -> None:
        async with aclosing(control.watch(1000)) as frames:
            async for _ in frames:
                first.set()

    watching = asyncio.create_task(watch())
    await first.wait()
    await control.close()
    with pytest.raises(EngineRefusal, match="the connection was closed"):
        await watching
    with pytest.raises(EngineRefusal, match="the connection was closed"):
        await control.status()
    await server.stop(0)
