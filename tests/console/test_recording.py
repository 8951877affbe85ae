"""A load of Live is recorded: the screen says so, and a key names, keeps or discards the run."""

from dataclasses import replace

import pytest

from console.model.recording import LiveRecording
from tests.console.conftest import Console, Open
from tests.console.fakes import scenes
from tests.console.fakes.experiments import FakeExperiments

RUN = "r-20261123-100000-3fa2"
RECORDS = LiveRecording(RUN, running=True)


def recording(state: LiveRecording = RECORDS) -> FakeExperiments:
    port = FakeExperiments()
    port.live.state = state
    return port


def header(it: Console) -> str:
    return it.text("header")


def now_title(it: Console) -> str:
    return str(it.app.screen.query_one("#now").border_title)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((80, 24), "rec ● "),
        ((120, 40), "run …3fa2 rec ● "),
        ((200, 50), "run …3fa2 rec ● "),
        ((240, 50), f"run {RUN} rec ● "),
    ],
)
async def test_the_header_says_that_the_load_is_recorded(console: Open, size: tuple[int, int], shown: str) -> None:
    async with console(scenes.busy(), size, recording()) as it:
        assert shown in header(it)
        if size[0] == 80:
            assert f"rec ● {RUN}" in now_title(it)


async def test_a_load_that_is_not_recorded_shows_no_mark_and_trouble_shows_another(console: Open) -> None:
    port = recording(LiveRecording())
    async with console(scenes.busy(), (80, 24), port) as it:
        assert "rec" not in header(it)
        port.live.state = replace(RECORDS, trouble="the disk is full")
        await it.beat()
        assert "rec ⚠" in header(it)
        port.live.state = replace(RECORDS, discarded=True)
        await it.beat()
        assert "rec ○" in header(it)


async def test_the_end_of_a_recording_is_told_once_with_the_key(console: Open) -> None:
    port = recording()
    async with console(scenes.busy(), (80, 24), port) as it:
        notice = f"Recorded as {RUN}: {{live_run}} names or discards it"
        port.live.state = replace(RECORDS, running=False, notices=1, notice=notice)
        await it.beat()
        assert it.said == f"Recorded as {RUN}: n names or discards it"
        shown = len(it.app._notifications)
        await it.beat()
        assert len(it.app._notifications) == shown
        assert "rec" not in header(it)


async def test_the_key_names_keeps_and_discards(console: Open) -> None:
    port = recording()
    async with console(scenes.busy(), (80, 24), port) as it:
        await it.press("n")
        assert f"{RUN} is being recorded." in it.text("box")
        await it.press("n", *"int8", "enter")
        assert it.said == f"{RUN} is named #int8"
        await it.press("n", "d")
        assert it.said == f"{RUN} is deleted when the load stops. n keeps it"
        await it.press("n", "k")
        assert it.said == f"{RUN} is kept"
        await it.press("n", "c", "n", "escape")
        assert port.live.calls == [("name", "int8"), ("discard",), ("keep",)]


async def test_without_a_recorded_run_the_key_says_what_to_do(console: Open) -> None:
    port = recording(LiveRecording())
    async with console(scenes.busy(), (80, 24), port) as it:
        await it.press("n")
        assert it.said == "No load was recorded yet: L starts one"
        port.live.state = replace(RECORDS, running=False, discarded=True)
        await it.beat()
        await it.press("n")
        assert "was discarded" in it.said
        assert port.live.calls == []
