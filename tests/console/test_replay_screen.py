"""A stored run is replayed on a Live screen of its own; the live engine goes on, and nothing there can disturb it."""

from dataclasses import replace

import pytest
from textual.geometry import Size

from console.actions.action import REPLAY
from console.actions.keymap import parse_keymap
from console.model.engine import Batching, EngineState
from console.tui.panels.live.engine import engine
from console.tui.screens.dialogs.details import DetailsDialog
from console.tui.screens.dialogs.load import LoadDialog
from console.tui.styled_text import plain
from console.tui.view import View
from tests.console.conftest import Console, Open
from tests.console.fakes import recorded, scenes

RUN = "r-20261123-100000-3fa2"
BEGIN = ("3", "G", "R")


def header(it: Console) -> str:
    return it.text("header")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_the_first_lines_say_what_is_replayed_how_fast_and_what_goes_on(
    console: Open, size: tuple[int, int]
) -> None:
    async with console(scenes.busy(), size, recorded.experiments()) as it:
        await it.press(*BEGIN)
        await it.later(8.0)
        assert f"REPLAY {RUN} ×1 00:08/00:12" in header(it)
        assert "LIVE" not in header(it)
        assert "engine running, load on" in it.text("replay")
        assert "n=96" in str(it.app.screen.query_one("#now").border_title)


async def test_time_runs_at_the_chosen_speed_stops_and_goes_on(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments()) as it:
        await it.press(*BEGIN, "greater_than_sign", "greater_than_sign")
        await it.later(1.0)
        assert "×5 00:05/00:12" in header(it)
        await it.press("space")
        await it.later(30.0)
        assert "00:05/00:12" in header(it)
        assert "paused" in it.text("replay")
        await it.press("right", "less_than_sign")
        assert "×2 00:10/00:12" in header(it)
        await it.press("left", "space")
        await it.later(60.0)
        assert "ended" in it.text("replay")
        await it.press("space")
        assert "00:00/00:12" in header(it)


async def test_keys_and_clicks_that_act_on_an_engine_say_why_they_do_not(console: Open) -> None:
    async with console(scenes.busy(), (200, 50), recorded.experiments()) as it:
        await it.press(*BEGIN)
        for key in ("s", "r", "b", "p", "x", "c", "k", "l", "L", "]", "{"):
            await it.press(key)
            assert "1 shows the live engine" in it.said
        assert it.session.calls == []
        assert "REPLAYED" in it.text("engine")
        assert "Restart" not in it.text("engine")
        assert "[ ]" not in it.text("load")


def test_an_item_cap_that_a_run_has_not_kept_is_not_shown_as_none_allowed() -> None:
    frame = replace(scenes.busy(), engine=replace(scenes.BASE, batching=Batching(512, 0)))
    shown = "\n".join(plain(row) for row in engine(frame, View(), Size(40, 12)).lines)
    assert "coalescing  ≤ 512 tok" in shown


async def test_esc_goes_back_to_runs_and_1_to_the_live_engine(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments()) as it:
        await it.press(*BEGIN)
        assert it.app.current_mode == REPLAY
        await it.press("escape")
        assert it.app.current_mode == "runs"
        await it.press("R", "1")
        assert it.app.frame.replay is None
        assert "▶ LIVE" in header(it)


async def test_a_frozen_screen_is_thawed_so_that_a_replay_is_never_taken_for_it(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments()) as it:
        await it.press("space", *BEGIN, "1")
        assert it.app.frame.engine == it.session.frame.engine
        assert "▶ LIVE" in header(it)


async def test_a_live_engine_that_is_lost_meanwhile_is_told_of(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments()) as it:
        await it.press(*BEGIN)
        it.session.frame = replace(it.session.frame, engine=replace(it.session.frame.engine, state=EngineState.LOST))
        await it.beat()
        assert "engine lost" in it.text("replay")
        assert it.text("alarm") == ""


async def test_quitting_asks_about_the_live_engine(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments()) as it:
        await it.press(*BEGIN, "q")
        assert "keeps serving at 127.0.0.1:50051" in it.text("box")
        await it.beat(12)
        assert "keeps serving at 127.0.0.1:50051" in it.text("box")


async def test_y_copies_the_command_that_replays_at_this_speed(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments()) as it:
        await it.press(*BEGIN, "greater_than_sign", "y")
        assert it.said == f"embedconsole runs replay {RUN} --speed 2"


async def test_another_run_is_drawn_at_once_where_the_first_one_was(console: Open) -> None:
    async with console(scenes.busy(), (200, 50), recorded.experiments()) as it:
        await it.press(*BEGIN, "end", "escape", "k", "R", "end")
        assert "onnx int8" in header(it)
        assert "torch" not in it.text()


async def test_a_tile_of_the_replay_can_be_alone_and_esc_shows_all_of_them_before_it_leaves(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments()) as it:
        await it.press("z", "t", *BEGIN)
        assert it.app.view.maximised == ""
        await it.press("z", "l")
        assert (it.app.current_mode, it.app.view.maximised) == (REPLAY, "latency")
        assert f"REPLAY {RUN}" in header(it)
        await it.press("escape")
        assert (it.app.current_mode, it.app.view.maximised) == (REPLAY, "")
        await it.press("z", "e", "1")
        assert (it.app.current_mode, it.app.view.maximised) == ("live", "")
        await it.press("3", "R", "escape")
        assert it.app.current_mode == "runs"


async def test_a_jump_to_a_tile_stays_in_the_replay_and_one_to_what_acts_on_the_engine_leaves_it(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments()) as it:
        await it.press(*BEGIN, "ctrl+o", "m")
        assert (it.app.current_mode, it.app.view.maximised) == (REPLAY, "matrix")
        await it.press("ctrl+o", "i")
        assert it.app.current_mode == REPLAY
        assert isinstance(it.app.screen, DetailsDialog)
        await it.press("escape", "ctrl+o", "a")
        assert it.app.current_mode == "live"
        assert isinstance(it.app.screen, LoadDialog)
        assert it.app.frame.replay is None
        await it.press("escape", "3", "R", "ctrl+o", "1")
        assert it.app.current_mode == "live"


async def test_live_figures_that_are_pinned_are_compared_with_the_replay_until_they_are_unpinned(console: Open) -> None:
    async with console(scenes.busy(), (200, 50), recorded.experiments()) as it:
        await it.press("w", *BEGIN)
        await it.later(8.0)
        assert "%" in it.text("now")
        await it.press("w")
        assert it.app.view.pinned is None
        await it.press("home", "w")
        assert "→ seeks to a later one" in it.said


async def test_what_the_replay_says_names_the_keys_in_force(console: Open) -> None:
    keys = 'mode_live = "f6"\nreplay_leave = "x"\nreplay_slower = "s"\nengine = "f7"'
    async with console(
        scenes.busy(), (120, 40), recorded.experiments(), registry=parse_keymap(keys, "keymap.toml")
    ) as it:
        await it.press(*BEGIN, "f7")
        assert it.said == "This is a replay: F6 shows the live engine, where F7 acts; x returns to Runs"
        assert "F6 Live" in it.text("replay")
        await it.press("end", *[">"] * 7)
        assert it.said == "The replay already runs at ×60: s makes it slower"
        await it.press("x")
        assert it.app.current_mode == "runs"
