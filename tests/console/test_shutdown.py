"""Leaving does all that there is to do, says what of it failed, and takes no longer than it may."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from console.model.engine import Engine, EngineState
from console.model.frame import Frame
from console.tui.shutdown import Shutdown

if TYPE_CHECKING:
    from console.tui.app_port import AppPort

STOPPED = "embedconsole: load stopped, engine 4121 stopped"


class Steps:
    """An app whose steps of leaving fail, or never end, as a test says; it notes those that were begun."""

    def __init__(self, **faults: BaseException | None) -> None:
        self.begun: list[str] = []
        self.exit_code: int | None = None
        self.failure = ""
        self.view = SimpleNamespace(frozen=False)
        self.frame = Frame(engine=Engine(state=EngineState.RUNNING, pid=4121))
        self.session = SimpleNamespace(frame=self.frame, close=self._step("close"), detach=self._step("detach"))
        self.keep_state = self._step("keep")
        self.end_sweep = self._step("end_sweep")
        self.end_recording = self._step("end_recording", "Recorded as r-1")
        self.let_go = asyncio.Event()
        self.closing: asyncio.Task[None] | None = None
        self._faults = faults

    def _step(self, name: str, answer: Any = None) -> Callable[[], Coroutine[Any, Any, Any]]:
        async def step() -> Any:
            self.begun.append(name)
            if name in self._faults:
                fault = self._faults[name]
                if fault is not None:
                    raise fault
                while not self.let_go.is_set():  # not even where it is cancelled
                    with suppress(asyncio.CancelledError):
                        await self.let_go.wait()
            return answer or SimpleNamespace(
                address="127.0.0.1:50051", pid=4121, log_path="log", stop_command="kill 4121"
            )

        return step

    def run_worker(self, work: Coroutine[Any, Any, None], *, exit_on_error: bool) -> None:
        self.closing = asyncio.create_task(work)

    def exit(self, code: int) -> None:
        self.exit_code = code


async def left(app: Steps, limit_s: float = 60.0) -> Shutdown:
    """After the console has been left with its engine stopped."""
    shutdown = Shutdown(cast("AppPort", app), app.keep_state, step_limit_s=limit_s)
    shutdown._on_answer("stop")
    assert app.closing is not None
    await asyncio.wait({app.closing}, timeout=10)
    in_time = app.closing.done()
    app.let_go.set()
    assert in_time, "it takes no longer than its steps may"
    return shutdown


async def test_all_steps_are_taken_in_turn_and_the_message_is_what_was_asked_for() -> None:
    app = Steps()
    shutdown = await left(app)
    assert app.begun == ["keep", "end_sweep", "end_recording", "close"]
    assert (shutdown.exit_message, app.exit_code) == (f"{STOPPED}\nembedconsole: Recorded as r-1", 0)


@pytest.mark.parametrize("failing", ["keep", "end_sweep", "end_recording", "close"])
@pytest.mark.parametrize("fault", [OSError("no room"), TimeoutError(), asyncio.CancelledError()])
async def test_a_step_that_fails_keeps_none_from_being_taken_and_is_told(failing: str, fault: BaseException) -> None:
    app = Steps(**{failing: fault})
    shutdown = await left(app)
    assert app.begun == ["keep", "end_sweep", "end_recording", "close"]
    assert type(fault).__name__ in shutdown.exit_message
    assert app.exit_code == 0


async def test_every_failure_is_told_and_what_was_not_done_is_not_claimed() -> None:
    app = Steps(keep=OSError("disk full"), end_sweep=RuntimeError("stuck"), close=OSError("no such process"))
    message = (await left(app)).exit_message
    for part in ("disk full", "stuck", "no such process"):
        assert part in message
    assert "engine 4121 stopped" not in message


async def test_what_is_done_is_still_said_where_something_else_failed() -> None:
    message = (await left(Steps(end_sweep=RuntimeError("stuck")))).exit_message
    assert message.startswith(STOPPED)
    assert "stuck" in message


@pytest.mark.parametrize("hanging", ["keep", "end_sweep", "end_recording", "close"])
async def test_a_step_that_never_ends_is_left_behind_and_told(hanging: str) -> None:
    app = Steps(**{hanging: None})
    shutdown = await left(app, limit_s=0.02)
    assert app.begun == ["keep", "end_sweep", "end_recording", "close"]
    assert "0.02 s" in shutdown.exit_message
    assert app.exit_code == 0


async def test_an_engine_is_left_running_though_the_sweep_does_not_end() -> None:
    app = Steps(end_sweep=None)
    shutdown = Shutdown(cast("AppPort", app), app.keep_state, step_limit_s=0.02)
    detaching = asyncio.create_task(shutdown._detach())
    await asyncio.wait({detaching}, timeout=10)
    in_time = detaching.done()
    app.let_go.set()
    assert in_time
    assert app.begun[:2] == ["end_sweep", "detach"]
    assert app.closing is not None
    await app.closing
    assert "keeps running at 127.0.0.1:50051" in shutdown.exit_message
    assert "ending the sweep" in shutdown.exit_message
