"""The dialogs: what each one says before it is answered, and what its answer does."""

from dataclasses import replace

import pytest

from console.model.engine import Batching, EngineState, ServingPlan
from console.model.frame import Frame
from console.model.load import LoadSpec
from console.tui.screens.dialogs.load import LoadDialog
from console.tui.screens.dialogs.switch import SwitchDialog
from console.tui.screens.modes.live import LiveScreen
from console.tui.widgets.tile import Tile
from tests.console.conftest import Open
from tests.console.fakes import scenes


async def test_a_cell_that_falls_back_says_to_what_and_why_before_it_is_chosen(console: Open) -> None:
    async with console(scenes.busy(), (80, 24)) as it:
        await it.press("b", "right", "right", "right")
        said = it.text("box")
        assert "onnx·int8 falls back to onnx·fp32" in said
        assert "onnx int8 is not built in this version" in said
        assert "→ use fp32" in said
        assert it.session.calls == []
        await it.press("enter")
        assert it.session.calls == [("switch", "onnx", "int8", False)]
        assert isinstance(it.app.screen, LiveScreen)


async def test_hjkl_move_as_the_arrows_do_and_the_edges_hold(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("p", "k", "k", "h", "l", "enter")
        assert it.session.calls == [("switch", "torch", "bf16", False)]


async def test_x_makes_the_switch_strict_and_says_what_that_means(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("b", "right", "x")
        assert "would be refused" in it.text("box")
        await it.press("enter")
        assert it.session.calls == [("switch", "onnx", "bf16", True)]


async def test_an_unavailable_cell_cannot_be_chosen(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("b", "down", "enter")
        assert isinstance(it.app.screen, SwitchDialog)
        assert "not available here" in it.text("box")
        assert it.session.calls == []


async def test_a_click_moves_to_a_cell_and_a_second_one_chooses_it(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("b")
        row = next(y for y, text in enumerate(it.text("box").splitlines()) if text.startswith("torch"))
        at = it.text("box").splitlines()[row].index("●")
        for _ in range(2):
            await it.pilot.click("#box", offset=(at + 3, row + 1))
            await it.beat()
        assert it.session.calls == [("switch", "torch", "fp32", False)]


async def test_x_cancels_a_running_switch(console: Open) -> None:
    async with console(scenes.switching()) as it:
        assert "SWITCHING" in it.text("progress")
        assert "cancel" in it.text("progress")
        await it.press("x")
        assert it.session.calls == [("cancel_switch",)]


def planned() -> Frame:
    frame = scenes.busy()
    plan = ServingPlan(2, 1, 512, 64, 12, texts_per_s=322)
    knobs = Batching(max_batch_tokens=512, max_batch_items=64)
    engine = replace(frame.engine, plan=plan, batching=knobs)
    return replace(frame, engine=replace(engine, effective=replace(engine.effective, instances=2, threads=1)))


async def test_a_knob_shows_what_auto_stands_for_and_tells_only_what_was_turned(console: Open) -> None:
    async with console(planned(), (80, 24)) as it:
        await it.press("k", "down", "down")
        assert "auto 512" in it.text("box")
        assert "measured here, 322 texts/s" in it.text("box")
        await it.press("right", "down", "4", "0", "enter")
        assert it.session.calls == [("configure", {"max_batch_tokens": 1024, "max_batch_items": 40})]


async def test_a_turned_bound_goes_back_to_auto_and_counts_change_by_a_switch(console: Open) -> None:
    fixed = planned()
    turned = replace(fixed, engine=replace(fixed.engine, batching=Batching(max_batch_tokens=2048, max_batch_items=64)))
    async with console(turned) as it:
        await it.press("k", "1", "down", "2", "down", "a", "enter")
        assert it.session.calls == [("configure", {"max_batch_tokens": 0}), ("switch", "", "", False)]
    async with console(turned) as it:
        await it.press("k", "9", "escape")
        assert it.session.calls == []


async def test_the_load_form_types_turns_and_starts(console: Open) -> None:
    async with console(scenes.idle(), (80, 24)) as it:
        await it.press("l", "8", "down", "right", "down", "down", "right", "down", "right", "down", "right", "enter")
        spec = LoadSpec(batch=8, concurrency=8, workload="pairs", corpus="mixed", stream=True)
        assert it.session.calls == [("start_load", spec)]


async def test_the_load_form_takes_a_path_with_every_letter(console: Open) -> None:
    async with console(scenes.idle()) as it:
        await it.press("l", *["down"] * 4, "left", "down", *"/data/xajklh.txt", "enter")
        assert it.session.calls == [("start_load", LoadSpec(corpus="/data/xajklh.txt"))]


async def test_a_file_corpus_without_a_path_is_not_accepted(console: Open) -> None:
    async with console(scenes.idle()) as it:
        await it.press("l", *["down"] * 4, "left", "up", "enter")
        assert isinstance(it.app.screen, LoadDialog)
        assert "needs a path" in it.text("box")


async def test_a_running_load_is_changed_not_restarted_and_x_stops_it(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("l", "right", "enter")
        assert it.session.calls == [("change_load", LoadSpec(batch=64))]
        await it.press("l", "x")
        assert it.session.calls[-1] == ("stop_load",)


async def test_a_rate_opens_the_loop_and_none_closes_it_again(console: Open) -> None:
    async with console(scenes.idle()) as it:
        await it.press("l", "down", "down", *"250", "down", "right", "enter")
        assert it.session.calls == [("start_load", LoadSpec(rate=250.0, arrival="constant"))]
    opened = replace(scenes.busy(), load=replace(scenes.busy().load, spec=LoadSpec(rate=250.0)))
    async with console(opened) as it:
        await it.press("l", "down", "down", "right", "enter")
        await it.press("l", "down", "down", "0", "enter")
        assert it.session.calls == [("change_load", LoadSpec(rate=500.0)), ("change_load", LoadSpec())]


async def test_numbers_stay_within_their_limits(console: Open) -> None:
    async with console(scenes.idle()) as it:
        await it.press("l", *"99999", "enter")
        assert it.session.calls == [("start_load", LoadSpec(batch=1024))]


async def test_details_show_every_warning_with_its_fix_its_code_and_the_evidence(console: Open) -> None:
    async with console(scenes.fallback(), (80, 24)) as it:
        await it.press("i")
        said = " ".join(it.text("box").split())
        assert scenes.NOT_BUILT.message in said
        assert scenes.NOT_BUILT.fix in said
        assert scenes.NOT_BUILT.code in said
        assert scenes.BASE.evidence in said


async def test_nothing_is_asked_where_nothing_runs(console: Open) -> None:
    async with console(scenes.stopped()) as it:
        await it.press("q")
        assert it.session.closed
        assert it.app.return_code == 0


async def test_stop_closes_the_session_and_says_so_afterwards(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("q", "enter")
        assert it.session.closed
        assert it.app.shutdown.exit_message == "embedconsole: load stopped, engine 4121 stopped"


async def test_leaving_it_running_detaches_and_says_where_it_is_and_how_to_stop_it(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("ctrl+c", "d")
        assert it.session.calls == [("detach",)]
        assert "127.0.0.1:50051" in it.app.shutdown.exit_message
        assert "kill 4121" in it.app.shutdown.exit_message


async def test_cancel_goes_on(console: Open) -> None:
    async with console(scenes.busy()) as it:
        await it.press("q", "c")
        assert isinstance(it.app.screen, LiveScreen)
        assert not it.session.closed


async def test_an_engine_that_is_lost_at_the_end_is_exit_code_5(console: Open) -> None:
    async with console(scenes.lost()) as it:
        await it.press("q")
        assert it.app.return_value == 5


async def test_a_remote_engine_is_left_alone(console: Open) -> None:
    frame = replace(scenes.busy(), engine=replace(scenes.BASE, remote=True))
    async with console(frame) as it:
        await it.press("q")
        assert "keeps running" in it.text("box")
        assert "Leave it running" not in it.text("box")
        await it.press("escape")
        it.session.frame = replace(frame, load=replace(frame.load, running=False))
        await it.press("q")
        assert it.session.closed


async def test_a_session_that_cannot_be_opened_is_told_on_the_screen(console: Open) -> None:
    async with console(scenes.busy()) as it:
        it.app.session = None

        def fails() -> None:
            raise OSError("no such model [x]")

        it.app._make_session = fails  # type: ignore[assignment]  # a session that fails to open
        it.app._open()
        await it.beat()
        assert it.app.frame.engine.state is EngineState.LOST
        assert "no such model [x]" in it.text("alarm")
        await it.press("r")
        assert "still being opened" in it.said


@pytest.mark.parametrize("key", ["b", "question_mark", "i", "k", "l", "m", "q"])
async def test_the_screen_behind_a_dialog_goes_on_moving(console: Open, key: str) -> None:
    async with console(scenes.busy()) as it:
        live = it.app.screen
        await it.press(key)
        assert it.app.screen is not live
        load = replace(it.session.frame.load, texts=987_654)
        it.session.frame = replace(it.session.frame, load=load)
        await it.beat()
        assert "987,654" in "\n".join(tile.text for tile in live.query(Tile))
        await it.press("escape")
