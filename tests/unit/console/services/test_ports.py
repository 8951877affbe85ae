"""What the console's modes stand on, for real: the store asked in threads, and a sweep on a session that is open."""

import asyncio
import sys
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path

import pytest

from console.model.errors import CommandRefused
from console.services.ports import ExperimentsPort
from console.services.runs import RunLibrary
from console.services.sweeps import Experiments, SweepRunner
from console.session.port import SessionOptions
from console.session.session import Session
from console.store.write import begin_run
from console.sweep.state import PointStatus, SweepState
from tests.unit.console.support.made import GOOD, record, start_of, store_in

COMMAND = (sys.executable, "-m", "tests.support.fake_engine", "--delay-ms", "5")
SPEC = """# Two cells, three of them later.
name = "mine"
duration = "1s"
warm_up = "0s"
[grid]
backends = "onnx"
precisions = "fp32"
batch = [1, 2]
"""


def port_in(folder: Path) -> tuple[ExperimentsPort, Session]:
    session = Session(SessionOptions(engine_command=COMMAND))
    return Experiments(session, folder / "runs.sqlite"), session


async def test_runs_are_listed_opened_tagged_noted_and_deleted(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        record(store)
        begin_run(store, start_of(replace(GOOD, run_id="r-2"), "2026-11-23T11:00:00Z"))
    library = RunLibrary(tmp_path / "runs.sqlite")
    assert [run.row.run_id for run in await library.runs()] == ["r-2", "r-1"]
    assert "unfinished" in (await library.runs())[0].words
    await library.tag("r-1", ["main", "slow"], [])
    await library.tag("r-1", [], ["slow"])
    await library.note("r-1", "quiet machine")
    opened = await library.run("r-1")
    assert opened.run.row.tags == ("main",)
    assert [text for _, text in opened.run.notes] == ["quiet machine"]
    assert opened.report["verdict"] == "ok"
    assert len(opened.points) == 3
    assert opened.points[0].n == 100
    assert "#main" in (await library.runs())[1].words
    await library.delete(["r-1", "r-2"])
    assert await library.runs() == []


async def test_a_report_and_a_gate_are_those_of_the_command_line(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        record(store)
    library = RunLibrary(tmp_path / "runs.sqlite")
    assert "r-1" in await library.report(["r-1"], "csv")
    assert "p50<1h" in str(await _refused(library.gate("r-1", ["p50<1h"])))
    assert "gate ok" in await library.gate("r-1", ["errors<=2"])
    assert "no-such" in str(await _refused(library.report(["no-such"], "md")))


async def _refused(question: Awaitable[str]) -> CommandRefused:
    with pytest.raises(CommandRefused) as refused:
        await question
    return refused.value


async def test_trouble_with_the_store_is_a_refusal_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "runs.sqlite").write_text("this is no store, but long enough to look like one\n" * 100)
    library = RunLibrary(tmp_path / "runs.sqlite")
    with pytest.raises(CommandRefused, match="move it away"):
        await library.runs()
    with store_in(tmp_path / "other") as store:
        record(store)
    other = RunLibrary(tmp_path / "other" / "runs.sqlite")
    with pytest.raises(CommandRefused, match="is not a tag"):
        await other.tag("r-1", ["not a tag"], [])


async def test_an_offer_says_how_long_it_takes_and_what_is_measured_already(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(SPEC)
    port, _ = port_in(tmp_path)
    offer = await port.sweeps.offer(str(tmp_path / "mine.toml"))
    assert (offer.name, offer.points, offer.deployments, offer.measured) == ("mine", 2, 1, 0)
    assert offer.expected_s == offer.rest_s > 2
    assert offer.about == "Two cells, three of them later."
    assert [(await port.sweeps.offer(name)).points > 5 for name in port.sweeps.presets] == [True] * 4
    (tmp_path / "mine.toml").write_text(SPEC.replace("batch = [1, 2]", "batch = [0]"))
    with pytest.raises(CommandRefused, match=r"line 8, grid\.batch"):
        await port.sweeps.offer(str(tmp_path / "mine.toml"))


async def test_a_sweep_runs_on_the_open_session_and_is_known_again_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SPEC)
    port, session = port_in(tmp_path)
    first, take = asyncio.Event(), SweepRunner._changed

    def changed(runner: SweepRunner, state: SweepState) -> None:
        take(runner, state)
        if state.count(PointStatus.DONE):
            first.set()

    monkeypatch.setattr(SweepRunner, "_changed", changed)
    async with session:
        running = asyncio.create_task(port.sweeps.sweep(str(path), resume=False))
        await first.wait()
        with pytest.raises(CommandRefused, match="running already"):
            await port.sweeps.sweep(str(path), resume=False)
        port.sweeps.stop_now()
        await running
        state = port.sweeps.state
        assert state is not None
        assert state.ended
        assert [one.status for one in state.points] == [PointStatus.DONE, PointStatus.SKIPPED]
        with pytest.raises(CommandRefused, match="No sweep is running"):
            port.sweeps.pause()
        offer = await port.sweeps.offer(str(path))
        assert offer.measured == 1
        assert offer.rest_s < offer.expected_s
        await port.sweeps.sweep(str(path), resume=True)
        state = port.sweeps.state
        assert state is not None
        assert [one.status for one in state.points] == [PointStatus.DONE] * 2
    recorded = await port.runs.runs()
    assert len(recorded) >= 2
    assert {run.row.origin for run in recorded} == {"measured"}, "Live records no load of a sweep"
