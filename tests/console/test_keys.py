"""Each key does what the key bar says, or says why it cannot."""

from dataclasses import replace

import pytest

from console.actions.catalog import ACTIONS
from console.model.load import LoadSpec
from console.tui.screens.dialogs.details import DetailsDialog
from console.tui.screens.dialogs.help import HelpDialog
from console.tui.screens.dialogs.load import LoadDialog
from console.tui.screens.dialogs.quit import QuitDialog
from console.tui.screens.dialogs.switch import SwitchDialog
from console.tui.screens.modes.live import LiveScreen
from console.tui.screens.modes.log import LogScreen
from console.tui.widgets.chart_tile import ChartTile
from tests.console.conftest import Open
from tests.console.fakes import scenes


async def test_a_command_key_asks_the_session_once(console: Open) -> None:
    calls: dict[str, tuple[object, ...]] = {
        "r": ("restart_engine",),
        "c": ("set_coalescing", False),
        "[": ("change_load", LoadSpec(batch=16)),
        "]": ("change_load", LoadSpec(batch=32)),
        "{": ("change_load", LoadSpec(concurrency=2)),
        "}": ("change_load", LoadSpec(concurrency=4)),
        "L": ("stop_load",),
    }
    async with console(scenes.busy()) as it:
        for key, call in calls.items():
            it.session.calls.clear()
            await it.press(key)
            assert it.session.calls == [call]


async def test_s_stops_an_idle_engine_and_asks_first_while_a_load_runs(console: Open) -> None:
    async with console(scenes.idle()) as it:
        await it.press("s")
        assert it.session.calls == [("stop_engine",)]
    async with console(scenes.busy()) as it:
        for mode in ("1", "3"):
            await it.press(mode, "s")
            assert "Stop the engine?" in it.text("box")
            await it.press("escape")
            assert it.session.calls == []
        await it.press("s", "y")
        assert it.session.calls == [("stop_engine",)]


async def test_pressing_twice_doubles_twice(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("]", "]")
        assert it.session.frame.load.spec.batch == 128


async def test_s_starts_a_stopped_engine_and_l_starts_the_load_of_an_idle_one(console: Open) -> None:
    async with console(scenes.stopped()) as it:
        await it.press("s")
        assert it.session.calls == [("start_engine",)]
    async with console(scenes.idle()) as it:
        await it.press("L")
        assert it.session.calls == [("start_load", LoadSpec())]


async def test_a_key_that_cannot_act_now_says_why_and_asks_nothing(console: Open) -> None:
    async with console(scenes.stopped()) as it:
        for key in ("b", "p", "x", "c", "L"):
            await it.press(key)
            assert "s starts it" in it.said or "starts one" in it.said
        assert it.session.calls == []
        assert isinstance(it.app.screen, LiveScreen)


async def test_what_the_session_refuses_is_said_as_it_stands(console: Open) -> None:
    async with console(scenes.busy()) as it:
        it.session.refusal = "The corpus [bold]x[/] cannot be read: check its path"
        await it.press("]")
        assert it.said == "The corpus [bold]x[/] cannot be read: check its path"


async def test_a_fault_in_a_command_does_not_end_the_console(console: Open) -> None:
    async with console(scenes.busy()) as it:
        it.session.fault = OSError("pipe")
        await it.press("r")
        assert "OSError: pipe" in it.said
        assert it.app.is_running


async def test_zoom_goes_from_30_s_to_all_and_back_and_0_resets(console: Open) -> None:
    async with console(scenes.busy()) as it:
        seen = []
        for key in ("+", "+", "-", "-", "-", "-", "-", "0"):
            await it.press(key)
            seen.append(it.app.view.span_name)
        assert seen == ["30 s", "30 s", "60 s", "2 min", "5 min", "all", "all", "60 s"]
        assert "60 s" in it.text("header")


async def test_v_puts_latency_on_a_log_scale_and_nothing_else(console: Open) -> None:
    async with console(scenes.busy()) as it:
        before = it.text("throughput")
        await it.press("v")
        assert "log" in str(it.app.screen.query_one("#latency", ChartTile).border_title)
        assert it.text("throughput") == before


async def test_freeze_stops_drawing_but_not_collecting_and_says_how_far_behind_it_is(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("space")
        it.session.frame = replace(scenes.lost(), now_s=scenes.busy().now_s + 12)
        await it.beat()
        assert "FROZEN 00:12 behind" in it.text("header")
        assert "RUNNING" in it.text("engine")
        await it.press("space")
        assert "LOST" in it.text("engine")


async def test_charts_are_drawn_only_when_an_interval_has_come(console: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(scenes.busy()) as it:
        drawn: list[str] = []
        monkeypatch.setattr(ChartTile, "put", lambda tile, _picture: drawn.append(str(tile.id)))
        for uptime in range(20):
            frame = scenes.busy()
            it.session.frame = replace(frame, engine=replace(frame.engine, uptime_s=uptime))
            await it.beat(1)
        assert drawn == []
        it.session.frame = replace(scenes.busy(), points_version=181)
        await it.beat(6)
        assert sorted(drawn) == ["latency", "queue", "throughput"]


async def test_nothing_is_drawn_on_a_mode_that_another_one_covers(
    console: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console(scenes.busy()) as it:
        live = it.app.screen
        await it.press("2")
        shown: list[object] = []
        monkeypatch.setattr(type(live), "show", lambda *_: shown.append(1))
        it.session.frame = scenes.lost()
        await it.beat(12)
        assert shown == []


DIALOGS = {
    "b": SwitchDialog,
    "p": SwitchDialog,
    "l": LoadDialog,
    "i": DetailsDialog,
    "question_mark": HelpDialog,
    "q": QuitDialog,
    "ctrl+c": QuitDialog,
}


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (50, 12)])
async def test_each_dialog_opens_at_every_size_and_esc_leaves_everything_as_it_was(
    console: Open, size: tuple[int, int]
) -> None:
    async with console(scenes.fallback(), size) as it:
        for key, dialog in DIALOGS.items():
            await it.press(key)
            assert it.app.screen.__class__.__name__ == dialog.__name__
            assert it.text()
            await it.press("escape")
            assert type(it.app.screen).__name__ == "LiveScreen"
        assert it.session.calls == []


async def test_y_copies_the_command_and_shows_it(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("y")
        command = "embedconsole run --backend onnx --precision fp32 --batch 32 --concurrency 4 --duration 60s --json"
        assert it.app.clipboard == command
        assert it.said == command


async def test_t_goes_through_three_themes_and_each_can_draw_every_role(console: Open) -> None:
    async with console(scenes.fallback()) as it:
        names = []
        for _ in range(4):
            names.append(it.app.theme)
            await it.press("t")
        assert names == ["dark", "light", "high-contrast", "dark"]


async def test_help_lists_every_action_and_the_palette_offers_what_can_be_done(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("question_mark")
        shown = "\n".join("".join(span.text for span in row) for row in it.app.screen.lines(170))  # type: ignore[attr-defined]  # the help dialog
        assert all(action.title in shown for action in ACTIONS)
        assert "embedconsole run --backend onnx" in shown
        await it.press("escape", "ctrl+p")
        assert type(it.app.screen).__name__ == "CommandPalette"
        await it.press("escape")


async def test_a_palette_row_performs_its_action(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("ctrl+p", *"halve the batch")
        await it.pilot.pause(0.5)
        await it.press("enter", "enter")
        await it.pilot.pause()
        assert ("change_load", LoadSpec(batch=16)) in it.session.calls


async def test_a_click_on_the_key_bar_performs_the_action(console: Open) -> None:
    async with console(scenes.busy(), (80, 24)) as it:
        column = it.text("keybar").index("Load")
        await it.pilot.click("#keybar", offset=(column, 0))
        await it.beat()
        assert isinstance(it.app.screen, LoadDialog)


async def test_5_and_1_change_the_mode(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("5")
        assert type(it.app.screen) is LogScreen
        assert "5 Log" in it.text("header")
        await it.press("1")
        assert type(it.app.screen).__name__ == "LiveScreen"


async def test_ctrl_c_copies_a_selection_instead_of_asking_to_quit(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.pilot.mouse_down("#events", offset=(2, 1))
        await it.pilot.hover("#events", offset=(40, 1))
        await it.pilot.mouse_up("#events", offset=(40, 1))
        await it.press("ctrl+c")
        assert isinstance(it.app.screen, LiveScreen)
        assert "12:02:00" in it.app.clipboard
