"""A fault of the console's own: it is shown, its traceback is in the log, and the console goes on."""

import asyncio
from collections.abc import Sequence

import pytest

from console.model.errors import CommandRefused
from console.model.modes import SweepStage
from console.services.ports import ListedRun
from tests.console.conftest import Console, Open
from tests.console.fakes import scenes
from tests.console.fakes.experiments import FakeExperiments, FakeRuns, FakeSweeps


def severity(it: Console) -> str:
    return list(it.app._notifications)[-1].severity


def log(it: Console) -> str:
    return "\n".join(line.text for line in it.session.frame.log)


async def test_the_traceback_of_a_command_is_in_the_log_that_mode_5_shows(console: Open) -> None:
    async with console(scenes.busy()) as it:
        it.session.fault = TypeError("a fault")
        await it.press("r")
        assert "TypeError: a fault" in it.said
        assert it.app.registry.key("mode_log") in it.said
        assert severity(it) == "error"
        it.session.fault = None
        await it.press("5")
        assert "TypeError: a fault" in it.text("log")
        assert "in _called" in it.text("log")


async def test_a_key_error_is_a_fault_and_no_polite_warning(console: Open) -> None:
    async with console(scenes.busy()) as it:
        it.session.fault = KeyError("spec")
        await it.press("]")
        assert "KeyError: 'spec'" in it.said
        assert severity(it) == "error"


@pytest.mark.parametrize("action_id", ["restart", "mark", "open_loop", "backend", "load_toggle"])
async def test_whatever_needs_a_session_is_refused_in_the_same_words_while_it_opens(
    console: Open, action_id: str
) -> None:
    async with console(scenes.busy()) as it:
        it.app.session = None
        await it.app.action_perform(action_id)
        await it.beat()
        assert it.said == "The session is still being opened: try again in a moment"
        assert severity(it) == "warning"


async def test_asking_for_the_session_while_it_opens_is_refused(console: Open) -> None:
    async with console(scenes.busy()) as it:
        it.app.session = None
        with pytest.raises(CommandRefused, match="still being opened"):
            _ = it.app.open_session


async def test_a_session_that_cannot_be_opened_leaves_its_traceback_in_the_log(console: Open) -> None:
    def fails() -> None:
        raise OSError("no such model")

    async with console(scenes.busy()) as it:
        it.app.session = None
        it.app._make_session = fails  # type: ignore[assignment]  # a session that fails to open
        it.app._open()
        lines = [line.text for line in it.app.frame.log]
        assert lines[0] == "opening the session failed: OSError: no such model"
        assert any("in fails" in text for text in lines)


async def test_what_was_logged_before_the_session_is_in_its_log(console: Open) -> None:
    async with console(scenes.busy()) as it:
        it.app.session = None
        it.app.supervisor.fault("the work", ValueError("early"))
        it.app._open()
        assert "the work failed: ValueError: early" in log(it)


async def test_runs_that_cannot_be_read_for_a_fault_say_so_on_the_screen(console: Open) -> None:
    class Broken(FakeRuns):
        async def runs(self) -> Sequence[ListedRun]:
            raise TypeError("a row")

    async with console(scenes.busy(), experiments=FakeExperiments(runs=Broken())) as it:
        await it.press("3")
        assert "reading the runs failed: TypeError: a row" in it.text("list")
        assert "in runs" in log(it)


async def test_a_callback_that_fails_in_the_event_loop_is_shown_and_logged(console: Open) -> None:
    async with console(scenes.busy()) as it:

        def fails() -> None:
            raise ZeroDivisionError("a callback")

        asyncio.get_running_loop().call_soon(fails)
        await it.beat()
        assert "ZeroDivisionError: a callback" in it.said
        assert "in fails" in log(it)


async def test_an_answer_that_comes_too_late_is_refused_and_the_console_goes_on(console: Open) -> None:
    class Over(FakeSweeps):
        def finish_point(self) -> None:
            raise CommandRefused("No sweep is running: {sweep_new} begins one")

    async with console(scenes.busy(), experiments=FakeExperiments(sweeps=Over())) as it:
        from console.tui.handlers import HANDLERS

        it.app.update_context(sweep_stage=SweepStage.RUNNING)
        await HANDLERS["sweep_stop"](it.app)
        await it.press("a")
        assert "No sweep is running" in it.said
        assert it.app.is_running
