"""The console comes back as it was left, says so, and never trips over what it finds."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from console.actions.saved_state import Memory, SavedState
from console.model.engine import EngineSpec
from console.model.load import LoadSpec
from tests.console.conftest import Open
from tests.console.fakes import recorded, scenes

LEFT = SavedState(
    theme="light",
    mode="runs",
    zoom_s=300.0,
    log_y=True,
    load=LoadSpec(8, 16, corpus="mixed", rate=250.0),
    engine=EngineSpec(backend="onnx", precision="int8", instances=2, coalesce=False),
)


def written(path: Path, remembered: SavedState = LEFT) -> Path:
    Memory(path).keep(remembered)
    return path


def test_what_is_kept_is_found_again_and_the_folder_holds_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path / "state" / "console.json")
    assert Memory(path).found == LEFT
    assert list(path.parent.iterdir()) == [path]


def test_what_was_restored_is_said_in_the_words_of_the_command_line() -> None:
    assert SavedState().describe() == ""
    assert LEFT.describe() == (
        "engine --backend onnx --precision int8 --instances 2 --coalesce off · load --batch 8 --rate 250 "
        "--corpus mixed · theme light · mode Runs · charts show 300 s · latency on a log scale"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is damaged"),
        ("[]", "it has no version"),
        ('{"version": 1, "mode": "jukebox"}', "mode is not one of live, sweep"),
        ('{"version": 1, "load": {"batch": 0}}', "batch is out of range"),
        ('{"version": 1, "load": {"batch": true}}', "batch is not int"),
        ('{"version": 1, "load": {"rate": NaN}}', "rate is out of range"),
        ('{"version": 1, "engine": 5}', "load or engine is not an object"),
        ('{"version": 2, "mode": {}}', "written by a newer version"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_and_restores_nothing(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "console.json"
    path.write_text(text)
    memory = Memory(path)
    assert words in memory.notice
    assert memory.found == SavedState()


def test_a_newer_versions_file_is_left_as_it_is_and_a_damaged_one_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "console.json"
    for text, kept in (('{"version": 2}', False), ("{", True)):
        path.write_text(text)
        Memory(path).keep(LEFT)
        assert (path.read_text() != text) == kept


def test_fresh_restores_nothing_but_remembers_on(tmp_path: Path) -> None:
    memory = Memory(written(tmp_path / "console.json"), fresh=True)
    assert (memory.found, memory.before, memory.notice) == (SavedState(), LEFT, "")
    memory.keep(SavedState(theme="light"))
    assert Memory(memory.path).found == SavedState(theme="light")


async def test_the_console_opens_as_it_was_left_and_says_so(console: Open, tmp_path: Path) -> None:
    memory = Memory(written(tmp_path / "console.json"))
    async with console(scenes.busy(), memory=memory) as it:
        assert (it.app.theme, it.app.current_mode) == ("light", "runs")
        assert (it.app.view.span_s, it.app.view.log_y) == (300.0, True)
        assert "theme light" in it.said
        assert "Start with --fresh" in it.said
        assert it.session.calls[0][0] == "note"


async def test_what_changes_is_kept_every_three_seconds_at_most_and_on_leaving(console: Open, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "console.json")
    async with console(scenes.idle(), memory=memory) as it:
        await it.press("t", "]")
        assert not memory.path.exists()
        await it.beat(30)
        await it.app.workers.wait_for_complete()
        assert Memory(memory.path).found.theme == "light"
        assert Memory(memory.path).found.load.batch == 64
        await it.press("5", "q", "s")
        await it.app.workers.wait_for_complete()
    assert Memory(memory.path).found.mode == "log"


async def test_a_replay_is_remembered_as_runs_and_its_load_not_at_all(console: Open, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "console.json")
    async with console(scenes.busy(), experiments=recorded.experiments(), memory=memory) as it:
        await it.press("3", "j", "j", "j", "R")
        assert it.app.frame.replay is not None
        assert it.app.frame.load.spec != it.session.frame.load.spec
        await it.beat(30)
        await it.app.workers.wait_for_complete()
    kept = Memory(memory.path).found
    assert (kept.mode, kept.load) == ("runs", scenes.busy().load.spec)


async def test_a_replay_that_was_asked_for_is_shown_whatever_mode_was_left(console: Open, tmp_path: Path) -> None:
    memory = Memory(written(tmp_path / "console.json"))
    memory.restore_no_mode()
    port = recorded.experiments()
    asked = (port.runs.rows[0].run_id, 10.0)
    async with console(scenes.idle(), experiments=port, memory=memory, replay=asked) as it:
        await it.app.workers.wait_for_complete()
        await it.beat()
        assert it.app.current_mode == "replay"
        assert "×10" in it.text("header")
        assert "mode" not in it.said


async def test_an_engine_elsewhere_does_not_replace_what_is_remembered_of_ones_own(
    console: Open, tmp_path: Path
) -> None:
    memory = Memory(written(tmp_path / "console.json"))
    memory.restore_no_engine()
    remote = replace(scenes.busy(), engine=replace(scenes.BASE, remote=True))
    async with console(remote, memory=memory) as it:
        await it.press("1", "t")
        await it.beat(30)
        await it.app.workers.wait_for_complete()
    assert Memory(memory.path).found.engine == LEFT.engine


async def test_a_state_that_cannot_be_written_is_told_once(console: Open, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file" / "console.json")
    async with console(scenes.idle(), memory=memory) as it:
        for _ in range(2):
            await it.press("t")
            await it.beat(30)
            await it.app.workers.wait_for_complete()
        with_keys = [one.message for one in it.app._notifications if "cannot be saved" in one.message]
        assert len(with_keys) == 1


def test_the_file_is_plain_json_with_its_version(tmp_path: Path) -> None:
    document = json.loads(written(tmp_path / "console.json").read_text())
    assert document["version"] == 1
    assert document["load"]["batch"] == 8
