"""Runs: all that was measured is found, opened, tagged, noted and deleted from the keyboard, however much it is."""

import time
from pathlib import Path

import pytest
from textual.events import Paste

from console.actions.catalog import BY_ID
from console.tui.screens.dialogs.ask import ConfirmDialog, TextDialog
from console.tui.screens.dialogs.run_details import RunDetails
from console.tui.screens.modes.runs import RunsScreen
from tests.console.conftest import Console, Open
from tests.console.fakes import recorded, scenes, sweeps


def screen_of(it: Console) -> RunsScreen:
    assert isinstance(it.app.screen, RunsScreen)
    return it.app.screen


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_every_run_is_listed_with_its_cell_load_figures_and_marks(console: Open, size: tuple[int, int]) -> None:
    async with console(scenes.busy(), size, recorded.experiments()) as it:
        await it.press("3")
        listed = it.text("list")
        assert "runs · 11" in str(it.app.screen.query_one("#list").border_title)
        for words in ("openvino·int8", "32 × 4", "905", "● .9971", "○ .9410", "402~"):
            assert words in listed
        assert "⚠ onnx·fp16 →" in listed
        marks = [text.split()[-1] if size[0] == 80 else text for text in listed.splitlines()[1:]]
        assert any("✗" in text for text in marks)


async def test_below_80x24_the_list_is_still_there_and_nothing_breaks(console: Open) -> None:
    async with console(scenes.busy(), (60, 14), recorded.experiments()) as it:
        await it.press("3", "j")
        assert "609" in it.text("list")
        assert "✓" in it.text("list")
        for size in ((20, 5), (1, 1), (300, 90), (80, 24)):
            await it.pilot.resize_terminal(*size)
            await it.beat()
        assert it.app.is_running


async def test_an_empty_store_says_what_to_do_next_and_where_it_lies(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments(0)) as it:
        await it.press("3")
        assert "No runs yet." in it.text("list")
        assert "embedconsole run" in it.text("list")
        assert "/data/runs.sqlite" in it.text("list")
        await it.press("enter")
        assert "No run is selected" in it.said


async def test_trouble_with_the_store_is_told_with_its_next_step(console: Open) -> None:
    port = recorded.experiments()
    port.runs.refusal = "the store is locked by another program: close it and try again"
    async with console(scenes.busy(), (80, 24), port) as it:
        await it.press("3")
        assert "close it and try again" in it.text("list")
        port.runs.refusal = ""
        await it.press("r")
        assert "905" in it.text("list")


async def test_the_filter_keeps_runs_with_every_word_and_without_the_others(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments()) as it:
        await it.press("3", "slash", *"int8 -client -torch", "enter")
        assert len(screen_of(it).listed) == 2
        await it.press("escape", "slash", *"#main", "enter")
        assert [run.row.tags for run in screen_of(it).listed] == [("baseline", "main")]
        await it.press("escape", "slash", *"fallback")
        assert [run.row.requested_precision for run in screen_of(it).listed] == ["fp16"]
        await it.press("escape", "slash", *"nothing at all", "enter")
        assert "esc" in it.text("list")
        await it.press("escape")
        assert len(screen_of(it).listed) == 11


async def test_ten_thousand_runs_move_and_filter_without_holding_up_a_key(console: Open) -> None:
    async with console(scenes.busy(), (200, 50), recorded.experiments(10_000)) as it:
        await it.press("3")
        screen = screen_of(it)
        assert len(screen.listed) == 10_000
        began_s = time.process_time()
        for _ in range(20):
            screen.action_page(1)
        moved_s = (time.process_time() - began_s) / 20
        assert moved_s < 0.05
        await it.press("G")
        assert "10,000 of 10,000" in str(screen.query_one("#list").border_subtitle)
        began_s = time.process_time()
        screen.filter_text = "int8 openvino"
        screen._filter()
        assert time.process_time() - began_s < 0.25
        assert 0 < len(screen.listed) < 10_000


async def test_enter_opens_a_run_whole_with_its_curves(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments()) as it:
        await it.press("3", "G", "enter")
        assert isinstance(it.app.screen, RunDetails)
        said = "\n".join("".join(span.text for span in row) for row in it.app.screen.lines(82))
        for words in (
            "onnx·fp32",
            "SLO missed",
            "95 %: 597–627",
            "p95 308",
            "n=191",
            "#baseline #main",
            "quiet machine, governor fixed",
            "AMD EPYC 7B13, 2 cores, onnxruntime 1.24.0",
            "git",
            "latency ms",
        ):
            assert words in said
        await it.press("escape")
        assert type(it.app.screen).__name__ == "RunsScreen"


async def test_a_run_that_never_ended_tells_what_its_intervals_say(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments()) as it:
        await it.press("3", "g", "enter")
        assert "still running, or interrupted" in it.text("box")
        assert "unfinished" in it.text("box")


async def test_on_a_wide_screen_the_run_under_the_cursor_is_opened_beside_the_list(console: Open) -> None:
    async with console(scenes.busy(), (200, 50), recorded.experiments()) as it:
        await it.press("3", "j", "j")
        await it.beat(18)
        assert "SIGKILL" in it.text("facts")
        await it.press("k")
        await it.beat(18)
        assert "fp16 is not executed by this CPU" in it.text("facts")


async def test_tags_are_added_and_taken_away_by_name(console: Open) -> None:
    port = recorded.experiments()
    async with console(scenes.busy(), (120, 40), port) as it:
        await it.press("3", "G", "#")
        assert isinstance(it.app.screen, TextDialog)
        assert "baseline main" in it.text("box")
        await it.press(*"fast -main", "enter")
        assert port.runs.calls == [("tag", port.runs.rows[-1].run_id, ("fast",), ("main",))]
        assert "#baseline #fast" in it.text("brief")


async def test_a_note_is_written_and_esc_writes_none(console: Open) -> None:
    port = recorded.experiments()
    async with console(scenes.busy(), (80, 24), port) as it:
        await it.press("3", "n", *"oops", "escape")
        assert port.runs.calls == []
        await it.press("n", *"quiet now", "enter")
        assert port.runs.calls == [("note", port.runs.rows[0].run_id, "quiet now")]


async def test_nothing_is_deleted_before_y_is_pressed(console: Open) -> None:
    port = recorded.experiments()
    first = port.runs.rows[0].run_id
    async with console(scenes.busy(), (80, 24), port) as it:
        await it.press("3", "d")
        assert isinstance(it.app.screen, ConfirmDialog)
        assert f"Delete {first}?" in it.text("box")
        for key in ("enter", "d", "escape"):
            await it.press(key)
        await it.press("escape")
        assert port.runs.calls == []
        await it.press("d", "y")
        assert port.runs.calls == [("delete", first)]
        assert "runs · 10" in str(it.app.screen.query_one("#list").border_title)


async def test_two_to_four_runs_are_marked_in_order_and_a_fifth_is_refused(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments()) as it:
        await it.press("3", "c")
        assert "space marks them" in it.said
        await it.press("space", "space", "space", "space", "space")
        assert "4 runs are already marked" in it.said
        assert len(it.app.experiments.compared_run_ids) == 4
        await it.press("g", "space")
        assert len(it.app.experiments.compared_run_ids) == 3


async def test_a_click_moves_to_a_run_and_a_second_one_opens_it(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments()) as it:
        await it.press("3")
        await it.pilot.click("#list", offset=(20, 4))
        await it.beat()
        assert screen_of(it).window.cursor == 2
        await it.pilot.click("#list", offset=(20, 4))
        await it.beat()
        assert isinstance(it.app.screen, RunDetails)


async def test_y_copies_the_command_that_shows_the_run(console: Open) -> None:
    port = recorded.experiments()
    async with console(scenes.busy(), (80, 24), port) as it:
        await it.press("3", "y")
        assert it.said == f"embedconsole runs show {port.runs.rows[0].run_id}"


async def test_the_list_is_read_again_when_a_cell_of_the_sweep_has_ended_and_only_then(console: Open) -> None:
    port = recorded.experiments()
    port.sweeps.state = sweeps.running(30)
    async with console(scenes.busy(), (80, 24), port) as it:
        await it.press("3")
        reads = port.runs.reads
        await it.beat(40)
        assert port.runs.reads == reads
        port.sweeps.state = sweeps.running(31)
        await it.beat(20)
        assert port.runs.reads == reads + 1


async def test_a_run_is_held_against_conditions_and_the_outcome_can_be_read(console: Open) -> None:
    port = recorded.experiments()
    async with console(scenes.busy(), (80, 24), port) as it:
        await it.press("3", "a", "ctrl+u", *"p95<9ms", "enter")
        await it.app.workers.wait_for_complete()
        await it.beat()
        assert port.runs.calls[-1][0] == "gate"
        assert port.runs.calls[-1][2:] == ("p95<9ms",)
        assert "✓ p95<9ms" in it.text("box")


async def test_a_report_of_the_marked_runs_is_written_in_the_form_of_its_ending(console: Open, tmp_path: Path) -> None:
    port = recorded.experiments()
    outcomes = {"page.doc": "is none of html", "page.md": "page.md", "./page.md": "exists already: W again"}
    async with console(scenes.busy(), (80, 24), port) as it:
        await it.press("3", "space")
        for name, outcome in outcomes.items():
            await it.press("W", "ctrl+u")
            it.app.post_message(Paste(f"{tmp_path}/{name}"))
            await it.pilot.pause()
            await it.press("enter")
            await it.app.workers.wait_for_complete()
            assert outcome in it.said
        assert (tmp_path / "page.md").read_text() == "# results as md\n"
        marked = it.app.experiments.compared_run_ids
        assert ("report", *marked, "md") in port.runs.calls
        assert it.app.cli_form(BY_ID["report"]) == f"embedconsole report {marked[0]} -o results.html"
