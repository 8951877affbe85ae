"""Marks, pinned figures, one tile alone, panning, jumping: looking closely without losing anything."""

from dataclasses import replace

import pytest

from console.model.load import LoadSpec
from console.tui.jump_targets import DIALOGS, MODE_TARGETS, TILES
from console.tui.screens.dialogs.ask import TextDialog
from console.tui.screens.dialogs.load import LoadDialog
from console.tui.widgets.tile import Tile
from tests.console.conftest import Console, Open
from tests.console.fakes import scenes


def charts_end(it: Console) -> float | None:
    """In session seconds; None where they follow the newest interval."""
    return it.app.view.until_s


async def test_a_mark_stands_where_the_key_was_pressed_however_long_its_words_take(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("m")
        it.session.frame = replace(it.session.frame, now_s=195.0)
        await it.press(*"gc off", "enter")
        assert it.session.calls == [("mark", "gc off", 180.0)]
        assert "M1" in it.text("throughput")


async def test_a_mark_needs_no_words_and_esc_makes_none(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("m", "escape")
        assert it.session.calls == []
        await it.press("m")
        assert isinstance(it.app.screen, TextDialog)
        await it.press("enter")
        assert it.session.calls == [("mark", "", 180.0)]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_pinned_figures_show_the_change_beside_each_figure_until_they_are_unpinned(
    console: Open, size: tuple[int, int]
) -> None:
    async with console(scenes.busy(), size) as it:
        await it.press("w")
        frame = scenes.busy()
        latency = replace(frame.window.latency, p95_ms=frame.window.latency.p95_ms and 29.7, n=700)
        it.session.frame = replace(frame, window=replace(frame.window, texts_per_s=643.7, latency=latency))
        await it.beat()
        shown = it.text("now")
        assert "−50 %" in shown
        assert "+50 %" in shown
        assert "err" in shown
        await it.press("w")
        assert "−50 %" not in it.text("now")


async def test_a_change_of_too_few_requests_is_provisional(console: Open) -> None:
    async with console(scenes.few()) as it:
        await it.press("w")
        assert "p95 ~+0 %" in it.text("now")
        assert "p50 +0 %" in it.text("now")


async def test_without_figures_there_is_nothing_to_pin(console: Open) -> None:
    async with console(scenes.idle()) as it:
        await it.press("w")
        assert "L starts the load" in it.said


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (50, 12)])
async def test_each_tile_can_have_the_screen_to_itself_also_where_there_was_no_room_for_it(
    console: Open, size: tuple[int, int]
) -> None:
    async with console(scenes.busy(), size) as it:
        for place in TILES:
            it.app.update_view(maximised=place.tile)
            await it.pilot.pause()
            await it.beat(5)
            panels = [tile for tile in it.app.screen.query(Tile) if tile.has_class("panel") and tile.region.area]
            assert [tile.id for tile in panels] == [place.tile]
            assert panels[0].region.width == size[0]
            assert panels[0].region.height >= size[1] - 4
            assert it.text(place.tile)
        assert "z Back" in it.text("keybar")
        await it.press("escape")
        assert it.app.view.maximised == ""
        assert it.app.screen.query_one("#now").region.area
        await it.press("z", "l", "z", "z", "m")
        assert it.app.view.maximised == "matrix"


async def test_panning_goes_back_by_half_a_chart_and_comes_home_to_now(console: Open) -> None:
    async with console(scenes.busy()) as it:
        before = it.text("throughput")
        await it.press("left")
        assert charts_end(it) == 150.0
        assert "00:30 back" in it.text("header")
        assert "S1" in it.text("throughput")
        assert it.text("throughput") != before
        await it.press("left", "left", "left", "left")
        assert charts_end(it) == 61.0
        assert "This is the start of the data: - shows a longer time" in it.said
        await it.press("right", "right", "right", "right")
        assert charts_end(it) is None
        assert it.text("throughput") == before
        await it.press("left", "0")
        assert it.text("throughput") == before


async def test_panned_charts_stay_while_the_figures_go_on(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("left")
        frame = scenes.busy()
        later = scenes.points(count=184)
        it.session.frame = replace(frame, points=later, points_version=184)
        await it.beat()
        assert "00:34 back" in it.text("header")


async def test_o_makes_an_open_loop_of_what_the_closed_one_reached_and_back(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("o")
        assert it.session.calls == [("change_load", LoadSpec(rate=32.0))]
        assert "32 requests/s" in it.said
        await it.press("o")
        assert it.session.calls[1] == ("change_load", LoadSpec())
    async with console(scenes.idle()) as it:
        await it.press("o")
        assert it.session.calls == []
        assert "No rate is known yet: l sets one" in it.said


async def test_one_letter_jumps_to_any_mode_tile_or_dialog_from_anywhere(console: Open) -> None:
    letters = [place.letter for place in (*MODE_TARGETS, *DIALOGS, *TILES)]
    assert len(letters) == len(set(letters))
    async with console(scenes.busy(), (80, 24)) as it:
        await it.press("5", "ctrl+o")
        shown = it.text("box")
        assert all(place.name in shown for place in (*MODE_TARGETS, *DIALOGS, *TILES))
        await it.press("a")
        assert isinstance(it.app.screen, LoadDialog)
        await it.press("escape", "ctrl+o", "m")
        assert (it.app.current_mode, it.app.view.maximised) == ("live", "matrix")
        await it.press("ctrl+o", "3")
        assert it.app.current_mode == "runs"
