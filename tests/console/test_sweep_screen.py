"""Sweep: what it will take is said before it starts, the matrix fills in, and it can be paused, skipped and stopped."""

from dataclasses import replace
from itertools import pairwise

import pytest

from console.actions.catalog import BY_ID
from console.sweep.state import PointStatus
from console.tui.panels.sweep import cell
from console.tui.screens.dialogs.quit import QuitDialog
from console.tui.screens.dialogs.run_details import RunDetails
from console.tui.screens.dialogs.sweep_start import SweepDialog
from console.tui.screens.modes.sweep import SweepScreen
from tests.console.conftest import Console, Open
from tests.console.fakes import recorded, scenes, sweeps
from tests.console.fakes.experiments import FakeExperiments

SIZES = [(80, 24), (120, 40), (200, 50)]


def port_at(state: object = None) -> FakeExperiments:
    port = recorded.experiments()
    port.sweeps.state = state  # type: ignore[assignment]  # a SweepState or None
    return port


def screen_of(it: Console) -> SweepScreen:
    assert isinstance(it.app.screen, SweepScreen)
    return it.app.screen


async def test_without_a_sweep_the_screen_says_how_to_begin_one(console: Open) -> None:
    async with console(scenes.idle(), (80, 24), port_at()) as it:
        await it.press("2")
        assert "No sweep in this console yet." in it.text("matrix")
        for key in ("p", "x", "X"):
            await it.press(key)
            assert "n starts one" in it.said


@pytest.mark.parametrize("size", SIZES)
async def test_the_time_a_sweep_takes_is_said_before_it_starts(console: Open, size: tuple[int, int]) -> None:
    port = port_at()
    async with console(scenes.busy(), size, port) as it:
        await it.press("2", "n")
        assert isinstance(it.app.screen, SweepDialog)
        said = it.text("box")
        assert "8 cells" in said
        assert "about 66 s" in said
        assert "stops the running load" in said
        assert port.sweeps.calls == []
        await it.press("enter")
        assert port.sweeps.calls == [("sweep", "quick", False)]


async def test_an_unfinished_sweep_is_resumed_unless_it_shall_begin_anew(console: Open) -> None:
    port = port_at()
    async with console(scenes.idle(), (80, 24), port) as it:
        await it.press("2", "n", "down")
        assert "30 of 72 cells are already measured" in it.text("box")
        assert "about 11 min" in it.text("box")
        await it.press("tab")
        assert "about 18 min" in it.text("box")
        await it.press("tab", "enter")
        assert port.sweeps.calls == [("sweep", "seed", True)]
        assert it.app.cli_form(BY_ID["mode_sweep"]).endswith("sweep --preset seed")


async def test_a_file_is_read_and_estimated_before_a_second_enter_starts_it(console: Open) -> None:
    port = port_at()
    async with console(scenes.idle(), (80, 24), port) as it:
        await it.press("2", "n", "up", *"mine.toml", "enter")
        assert "4 cells" in it.text("box")
        assert "1 of 4 cells are already measured" in it.text("box")
        assert port.sweeps.calls == []
        await it.press("tab", "enter")
        assert port.sweeps.calls == [("sweep", "mine.toml", False)]


async def test_a_mistake_in_a_file_is_told_with_line_and_key(console: Open) -> None:
    port = port_at()
    port.sweeps.refusal = "mine.toml, line 4, grid.batch: 0: write a whole number from 1 to 100,000"
    async with console(scenes.idle(), (80, 24), port) as it:
        await it.press("2", "n", "up", "enter")
        assert "Type the path of the file" in it.text("box")
        await it.press(*"mine.toml", "enter")
        assert "line 4, grid.batch" in it.text("box")
        assert port.sweeps.calls == []


@pytest.mark.parametrize("size", SIZES)
async def test_the_matrix_fills_in_with_marks_and_fidelity_beside_speed(console: Open, size: tuple[int, int]) -> None:
    async with console(scenes.busy(), size, port_at(sweeps.running())) as it:
        await it.press("2")
        said = it.text("matrix")
        assert "fidelity" in said
        assert "● 1.000" in said
        assert "▶ 1,287" in said
        assert "240 ✓" in said or "✓" in said
        assert "31 of 72" in it.text("sweep-progress")
        assert "7 min left" in it.text("sweep-progress")
        if size == (200, 50):
            for mark in ("~", "!", "✗", "★"):
                assert mark in said
            assert "texts/s and p95 ms" in str(it.app.screen.query_one("#matrix").border_title)


async def test_fidelity_stands_in_the_column_of_its_deployment() -> None:
    from console.tui.panels.sweep.matrix import grid_of, head, widths
    from console.tui.styled_text import plain

    state = sweeps.ended("seed")
    grid = grid_of(state.points)
    assert [words[:2] for words in grid.columns[:4]] == [
        ("torch", "fp32"),
        ("torch", "fp16"),
        ("torch", "int8"),
        ("onnx", "fp32"),
    ]
    assert grid.rows[0] == "1 × 1"
    text = plain(head(grid, state, widths(grid, 114, 0))[-1])
    assert text.split() == ["fidelity", "●", "1.000", "●", "1.0000", "◐", ".9912", *["●", "1.000"] * 3]


async def test_the_cursor_follows_the_running_cell_until_it_is_moved(console: Open) -> None:
    port = port_at(sweeps.running(30))
    async with console(scenes.busy(), (200, 50), port) as it:
        await it.press("2")
        assert screen_of(it).cell_index == 30
        port.sweeps.state = sweeps.running(31)
        await it.beat()
        assert screen_of(it).cell_index == 31
        await it.press("j")
        here = screen_of(it).cell_index
        port.sweeps.state = sweeps.running(32)
        await it.beat()
        assert screen_of(it).cell_index == here
        await it.press("escape")
        assert screen_of(it).cell_index == 32


async def test_the_running_cell_is_drawn_by_the_live_charts_and_only_while_it_runs(console: Open) -> None:
    port = port_at(sweeps.running())
    async with console(scenes.busy(), (80, 24), port) as it:
        await it.press("2")
        assert it.app.screen.query_one("#throughput").display
        assert "2k" in it.text("throughput") or "1.5k" in it.text("throughput")
        port.sweeps.state = sweeps.ended()
        await it.beat()
        assert not it.app.screen.query_one("#throughput").display
        assert "ended" in it.text("sweep-progress")


async def test_pause_skip_and_stop_reach_the_runner(console: Open) -> None:
    port = port_at(sweeps.running())
    async with console(scenes.busy(), (200, 50), port) as it:
        await it.press("2")
        await it.press("p")
        port.sweeps.state = replace(sweeps.running(), paused=True)
        await it.beat()
        assert "pauses after this cell" in it.text("sweep-progress")
        assert "p Resume" in it.text("keybar")
        await it.press("p")
        await it.press("x")
        assert "Only a waiting cell" in it.said
        screen = screen_of(it)
        state = sweeps.running()
        waiting = next(place for place, one in enumerate(state.points) if one.status is PointStatus.WAITING)
        screen.follow, screen.cursor = False, screen.grid(state).find(waiting)
        await it.beat()
        await it.press("x", "X", "a", "X", "o")
        wanted = [("pause",), ("resume",), ("skip", waiting), ("finish_point",), ("stop_now",)]
        assert port.sweeps.calls == wanted


async def test_a_cell_tells_what_ran_and_enter_opens_its_run(console: Open) -> None:
    state = sweeps.ended()
    async with console(scenes.idle(), (200, 50), port_at(state)) as it:
        await it.press("2")
        screen = screen_of(it)
        failed = next(place for place, one in enumerate(state.points) if one.status is PointStatus.FAILED)
        screen.cursor = screen.grid(state).find(failed)
        await it.beat()
        assert "SIGKILL" in it.text("cell")
        screen.cursor = screen.grid(state).find(0)
        await it.beat()
        assert "texts/s" in it.text("cell")
        await it.press("enter")
        assert isinstance(it.app.screen, RunDetails)


async def test_nothing_disturbs_a_cell_that_is_being_measured(console: Open) -> None:
    async with console(scenes.busy(), (200, 50), port_at(sweeps.running())) as it:
        await it.press("2")
        await it.press("1")
        for key in ("s", "b", "]", "L", "c"):
            await it.press(key)
            assert "A sweep uses the engine" in it.said
        assert it.session.calls == []


async def test_the_sweep_goes_on_in_every_mode_and_leaving_ends_it_after_a_question(console: Open) -> None:
    port = port_at()
    port.sweeps.first = sweeps.running()
    async with console(scenes.busy(), (120, 40), port) as it:
        await it.press("2", "n", "enter", "1", "3", "2")
        assert "31 of 72" in it.text("sweep-progress")
        await it.press("q")
        assert isinstance(it.app.screen, QuitDialog)
        assert "a sweep is running" in it.text("box")
        await it.press("s")
        await it.pilot.pause()
        assert ("stop_now",) in port.sweeps.calls
        assert it.session.closed


async def test_trouble_with_the_store_stays_on_the_screen(console: Open) -> None:
    state = replace(sweeps.running(), trouble="no room for the store: the disk is full; free some space")
    async with console(scenes.busy(), (80, 24), port_at(state)) as it:
        await it.press("2")
        assert "⚠ no room for the store" in it.text("sweep-progress")


def test_the_front_holds_what_nothing_beats_in_both_speed_and_latency() -> None:
    best = cell.pareto_front(sweeps.ended().points)
    assert len(best) > 1
    for (_, texts, p95_ms), (_, slower, sooner) in pairwise(best):
        assert slower < texts
        assert sooner < p95_ms


async def test_every_size_is_drawn_and_resizing_never_ends_it(console: Open) -> None:
    async with console(scenes.busy(), (200, 50), port_at(sweeps.running())) as it:
        await it.press("2")
        for size in ((20, 5), (1, 1), (60, 14), (80, 23), (112, 30), (300, 90)):
            await it.pilot.resize_terminal(*size)
            await it.press("down", "right", "v")
        assert it.app.is_running
