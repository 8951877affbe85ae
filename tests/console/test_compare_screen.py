"""Compare: ratios with their uncertainty and a mark, what differs, and a warning where the machines do."""

import json
from pathlib import Path

import pytest

from console.compare.side_by_side import side_by_side
from console.store.opened_run import OpenedRun
from console.tui.screens.dialogs.run_details import RunDetails
from tests.console.conftest import Console, Open
from tests.console.fakes import recorded, scenes


def run_at(ordinal: int) -> OpenedRun:
    """As recorded: 0 onnx fp32, 1 onnx int8 (on another environment), 2 torch fp32, 4 openvino int8."""
    rows, whole = recorded.recorded()
    return whole[rows[len(rows) - 1 - ordinal].run_id]


async def compared(it: Console, *ordinals: int) -> None:
    """Marks them in this order and goes to Compare."""
    it.app.update_context(compared_run_ids=tuple(run_at(ordinal).run.row.run_id for ordinal in ordinals))
    await it.press("4")
    await it.app.workers.wait_for_complete()
    await it.beat(12)


def test_a_run_against_itself_is_the_same_in_every_figure() -> None:
    found = side_by_side([run_at(0), run_at(0)])
    said = {row.name: row.versus[1] for row in found.figures}
    assert said["texts/s"] is not None
    assert said["texts/s"].ratio == pytest.approx(1.0)
    assert said["texts/s"].verdict in {"same", "undecided"}
    assert not any(row.differs for row in found.config)
    assert found.environment == ()
    assert found.warnings == ()


def test_faster_is_better_for_throughput_and_worse_for_latency_the_other_way_round() -> None:
    found = side_by_side([run_at(0), run_at(4), run_at(2)])
    by_name = {row.name: row for row in found.figures}
    marks = {name: [one.verdict if one else None for one in by_name[name].versus] for name in ("texts/s", "p50 ms")}
    assert marks == {"texts/s": [None, "better", "worse"], "p50 ms": [None, "better", "worse"]}
    ratio = by_name["texts/s"].versus[1]
    assert ratio is not None
    assert ratio.ratio == pytest.approx(905 / 612, rel=0.05)
    assert ratio.margin is not None


def test_a_percentile_below_its_floor_is_not_compared() -> None:
    found = side_by_side([run_at(0), run_at(3)])
    p95 = next(row for row in found.figures if row.name == "p95 ms")
    assert p95.versus == (None, None)


def test_another_environment_and_another_load_are_warned_of() -> None:
    found = side_by_side([run_at(0), run_at(7)])
    said = " ".join(found.warnings)
    assert "not the same environment (onnxruntime)" in said
    assert "not the same load" in said
    assert "run 2 (client bound)" in said
    assert [row.name for row in found.environment] == ["onnxruntime"]


async def test_without_runs_the_screen_says_how_to_choose_them(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments()) as it:
        await it.press("4")
        assert "No runs to compare yet." in it.text("compared")
        await it.press("x")
        assert "space marks them" in it.said


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
async def test_runs_marked_in_the_list_stand_side_by_side(console: Open, size: tuple[int, int]) -> None:
    async with console(scenes.busy(), size, recorded.experiments()) as it:
        await it.press("3", "G", "space", *"kkkk", "space", "c")
        await it.app.workers.wait_for_complete()
        await it.beat(12)
        said = it.text("compared")
        for words in ("baseline", "▲ faster", "1.48×", "onnx·fp32", "openvino·int8"):
            assert words in said
        await it.press("y")
        assert it.said.startswith("embedconsole compare r-20261123-100000")


async def test_another_baseline_turns_the_ratios_and_a_run_can_be_taken_out(console: Open) -> None:
    async with console(scenes.busy(), (200, 50), recorded.experiments()) as it:
        await compared(it, 0, 4, 2)
        await it.press("right", "b")
        await it.app.workers.wait_for_complete()
        await it.beat(12)
        assert it.app.experiments.compared_run_ids[0] == run_at(4).run.row.run_id
        assert "▼ slower" in it.text("compared")
        await it.press("right", "x")
        await it.app.workers.wait_for_complete()
        await it.beat(12)
        assert len(it.app.experiments.compared_run_ids) == 2
        await it.press("enter")
        assert isinstance(it.app.screen, RunDetails)


async def test_only_what_differs_is_shown_until_all_is_asked_for(console: Open) -> None:
    async with console(scenes.busy(), (200, 50), recorded.experiments()) as it:
        await compared(it, 0, 1)
        said = it.text("compared")
        assert "≠ onnx·int8·static" in said
        assert "onnxruntime" in said
        assert "environment  ⚠ differs" in said
        assert "max tokens" not in said
        await it.press("v")
        assert "max tokens" in it.text("compared")


async def test_a_run_that_is_gone_is_told(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments()) as it:
        it.app.update_context(compared_run_ids=("r-gone", "r-too"))
        await it.press("4")
        await it.beat(12)
        assert "no run 'r-gone'" in it.text("compared")


async def test_what_is_shown_is_exported_as_json_csv_and_svg_and_nothing_is_written_over(
    console: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with console(scenes.busy(), (120, 40), recorded.experiments()) as it:
        await it.press("3", "slash", *"int8 -client -torch", "enter")
        for letter, name in (("j", "a.json"), ("c", "a.csv"), ("s", "a.svg"), ("j", "a.json")):
            await it.press("e", letter, "ctrl+u", *name, "enter")
            await it.beat()
        assert "exists already" in it.said
        objects = json.loads((tmp_path / "a.json").read_text())
        assert [one["effective"]["precision"] for one in objects] == ["int8", "int8"]
        lines = (tmp_path / "a.csv").read_text().splitlines()
        assert len(lines) == 3
        assert "effective.precision" in lines[0].split(",")
        assert "<svg" in (tmp_path / "a.svg").read_text()
        await compared(it, 0, 4)
        await it.press("e", "j", "ctrl+u", *"b.json", "enter")
        await it.beat()
        ratios = json.loads((tmp_path / "b.json").read_text())[1]["ratios"]
        assert ratios["texts/s"]["verdict"] == "better"


async def test_where_nothing_is_shown_the_export_says_so(console: Open) -> None:
    async with console(scenes.busy(), (80, 24), recorded.experiments()) as it:
        await it.press("2", "e", "j", "enter")
        await it.beat()
        assert "no rows to export" in it.said
