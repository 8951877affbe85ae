"""A measured figure says load, date and method; only figures under the same load stand beside each other."""

from dataclasses import replace

import pytest

from console.measure.result import as_json, recorded_cosine
from console.model.engine import MEASURED, WHEN_LOADED, CapabilityCell, CellState, Cosine, PeakThroughput
from console.services.measured_cells import CellThroughput, MeasuredCells
from console.session.from_wire import capability
from console.tui.panels import marks
from console.tui.panels.live.measured import throughput_lines
from console.tui.styled_text import plain
from engine.api import embed_pb2
from tests.console.conftest import Open
from tests.console.fakes import recorded, scenes
from tests.unit.console.support.made import GOOD

PEAK = PeakThroughput(1541.0, 5.0, 1_764_150_000.0, 32.0, 4.0)
CELL = CapabilityCell("onnx", "int8", "cpu", CellState.NATIVE, peak=PEAK, texts_per_s=1541.0)
KEY = ("onnx", "int8", "", "cpu")
NOW = CellThroughput("r-20261128-134500-abcd", "2026-11-28T13:45:00Z", "32 × 4", 355.0, 42.1, True)
OTHER = replace(NOW, load="1 × 4", texts_per_s=124.0, steady=False)


def text(measured: MeasuredCells | None) -> list[str]:
    return [plain(row) for row in throughput_lines(CELL, measured)]


def test_a_figure_under_the_present_load_comes_from_the_store_and_hides_the_peak() -> None:
    (line,) = text(MeasuredCells("32 × 4", {KEY: NOW}, {KEY: OTHER}))
    assert line == "at this load (32 × 4): 355 texts/s, p95 42.1 ms · run …abcd, 28 Nov 13:45"


def test_a_figure_under_another_load_is_named_as_that() -> None:
    assert text(MeasuredCells("32 × 4", {}, {KEY: OTHER})) == [
        "at this load (32 × 4): not measured",
        "at another load (1 × 4): 124~ texts/s, p95 42.1 ms · run …abcd, 28 Nov 13:45",
    ]


def test_without_a_run_the_peak_says_method_load_and_date() -> None:
    first, second = text(MeasuredCells("32 × 4"))
    assert first == "at this load (32 × 4): not measured"
    assert second.startswith("best 5 s while it last served: 1,541 texts/s with 32 texts a request, 4 in flight")
    assert second.endswith("26 Nov 09:40")


def test_a_speed_whose_load_is_not_known_is_not_shown() -> None:
    assert throughput_lines(replace(CELL, peak=None), None) == []


@pytest.mark.parametrize(
    ("cosine", "words"),
    [
        (Cosine(0.9953, WHEN_LOADED, 24), "cosine 0.9953 of 24 texts when loaded"),
        (Cosine(0.9966, MEASURED, 576), "fidelity 0.9966 measured on 576 texts"),
        (Cosine(0.9966), "cosine 0.9966 to fp32"),
    ],
)
def test_a_cosine_has_its_method_and_its_number_of_texts(cosine: Cosine, words: str) -> None:
    assert str(cosine) == words


def test_the_engine_s_message_keeps_method_texts_and_peak_and_an_older_engine_has_none() -> None:
    message = embed_pb2.CapabilityCell(
        backend="onnx", fidelity=0.9953, fidelity_texts=24, fidelity_method=embed_pb2.WHEN_LOADED,
        peak=embed_pb2.PeakThroughput(texts_per_s=1541, window_s=5, at_unix_s=1, texts_per_request=32),
    )  # fmt: skip
    cell = capability(message)
    assert cell.cosine == Cosine(0.9953, WHEN_LOADED, 24)
    assert cell.peak == PeakThroughput(1541.0, 5.0, 1.0, 32.0, 0.0)
    assert capability(embed_pb2.CapabilityCell(backend="onnx", fidelity=0.9953)).cosine == Cosine(0.9953)


def test_a_run_records_how_its_cosine_was_obtained() -> None:
    loaded = Cosine(0.9953, WHEN_LOADED, 24)
    report = as_json(replace(GOOD, fidelity=0.9953, cosine=loaded))
    assert report["fidelity"] == {"cosine_mean": 0.9953, "n": 24, "method": "when_loaded"}
    assert recorded_cosine(0.9953, report["fidelity"]) == loaded
    assert recorded_cosine(0.9966, {"overlap_at_10": 0.94, "n": 576}).method == MEASURED


def test_a_cosine_when_loaded_has_no_grade() -> None:
    assert plain(marks.cosine(0.9953, WHEN_LOADED)) == "◌ .9953"
    assert plain(marks.cosine(0.9953, MEASURED)) == "● .9953"


async def test_the_switch_dialog_shows_the_store_s_figure_at_the_present_load(console: Open) -> None:
    port, scene = recorded.experiments(), scenes.busy()
    live = scene.engine.effective
    cell = CapabilityCell(live.backend, live.precision, live.device, CellState.NATIVE, live.recipe, peak=PEAK)
    cell = replace(cell, fidelity=0.9953, fidelity_method=WHEN_LOADED, fidelity_texts=24)
    port.runs.measured = MeasuredCells("32 × 4", {(live.backend, live.precision, live.recipe, live.device): NOW})
    async with console(replace(scene, capabilities=(cell,)), (80, 24), port) as it:
        await it.press("b")
        await it.app.workers.wait_for_complete()
        await it.beat()
        assert "at this load (32 × 4): 355 texts/s, p95 42.1 ms" in it.text("box")
        assert "cosine 0.9953 of 24 texts when loaded" in it.text("box")
        assert "last measured here" not in it.text("box")
        await it.press("escape", "i")
        assert "0.9953 of 24 texts when loaded" in it.text("box")
