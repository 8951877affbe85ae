"""A report says what was measured, how sure that is, and what to do; from the store alone, in four formats."""

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from console.cli.main import cli, main
from console.model.engine import Deployment
from console.model.load import LoadSpec
from console.report.charts import Bar, Bars, Dot, Dots, Lines, Point, Series, Span, Spans, Stack
from console.report.document import document
from console.report.html import as_html
from console.report.model import NothingToReport, ReportModel, build_report
from console.report.svg import draw, ticks
from console.store.database import Store
from console.store.selectors import load_selection, resolve_selector
from tests.unit.console.support.made import store_in
from tests.unit.console.support.made_results import keep, measured, results_in


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: every test gets a copy of its own."""
    folder = tmp_path_factory.mktemp("recorded")
    with store_in(folder) as opened:
        results_in(opened)
        return opened.path


@pytest.fixture
def store(recorded: Path, tmp_path: Path) -> Iterator[Store]:
    shutil.copy(recorded, tmp_path)
    with store_in(tmp_path) as opened:
        yield opened


def model_of(store: Store, name: str = "s-1", **asked: Any) -> ReportModel:
    return build_report(load_selection(store, resolve_selector(store, name)), [name], **asked)


def report(store: Store, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["report", *arguments, "--store", str(store.path)])


class TestWhatItSays:
    def test_deployments_are_compared_where_most_were_measured_against_fp32_on_torch(self, store: Store) -> None:
        model = model_of(store)
        assert model.chosen == "32 × 4"
        assert model.baseline is not None
        assert model.baseline.name == "torch·fp32"
        names = [one.cell.name for one in model.throughput]
        assert names == ["onnx·int8", "onnx·fp32", "openvino·bf16 → openvino·fp32", "torch·fp32", "torch·int4"]
        ratio = model.throughput[0].ratio
        assert ratio is not None
        assert ratio.value == pytest.approx(2.8, rel=0.03)
        assert ratio.verdict == "more"

    def test_load_and_baseline_may_be_chosen(self, store: Store) -> None:
        model = model_of(store, at=(8, 4), baseline="onnx·fp32")
        assert model.chosen == "8 × 4"
        assert model.baseline is not None
        assert model.baseline.name == "onnx·fp32"
        with pytest.raises(NothingToReport, match=r"--at takes one of 1x1, 1x4"):
            model_of(store, at=(7, 7))
        with pytest.raises(NothingToReport, match="--baseline takes one of torch·fp32"):
            model_of(store, baseline="tpu")

    def test_the_summary_marks_each_answer_in_words(self, store: Store) -> None:
        rows = {row.question: row for row in model_of(store).summary}
        assert rows["Can the figures be trusted"].mark == "~"
        assert "1 failed" in rows["Can the figures be trusted"].answer
        assert "onnx·int8: 1,400 texts/s" in rows["Fastest at 32 × 4"].answer
        assert rows["One text at a time"].answer == "onnx·int8: p50 4.8 ms, p95 6.7 ms (n=2,100)"
        assert (rows["Fidelity"].mark, rows["Fidelity"].words) == ("✕", "red: torch·int4")
        assert "openvino·bf16 → openvino·fp32" in rows["Did not run as asked"].answer
        assert rows["Errors"].mark == "✓"

    def test_an_slo_is_judged_by_certified_percentiles_of_steady_cells(self, store: Store) -> None:
        row = next(row for row in model_of(store, slo_p95_ms=60.0).summary if row.question == "SLO")
        assert row.mark == "✓"
        assert "fastest of them: onnx·int8 at 8 × 4" in row.answer
        assert next(row for row in model_of(store, slo_p95_ms=1.0).summary if row.question == "SLO").mark == "✕"

    def test_an_slo_that_no_steady_cell_can_prove_is_not_called_missed(self, store: Store) -> None:
        runs = load_selection(store, resolve_selector(store, "r-s-1-15"))
        row = next(row for row in build_report(runs, ["x"], slo_p95_ms=60.0).summary if row.question == "SLO")
        assert (row.mark, row.words) == ("~", "cannot be judged")

    def test_findings_are_computed_with_their_intervals(self, store: Store) -> None:
        said = "\n".join(model_of(store).findings)
        assert re.search(r"onnx·int8 is faster than onnx·fp32 at 32 × 4: 1\.5\d × \(1\.\d+ to 1\.\d+\)", said)
        assert "torch·int4 is slower than torch·fp32" in said
        assert re.search(r"With coalescing onnx·fp32 answers 4\.\d+ × .* at 1 × 32, in batches of 32\.0 texts", said)
        assert "openvino·bf16 was asked for, openvino·fp32 ran: this processor has no bf16" in said
        assert "Too far from fp32 to be recommended, by mean cosine: torch·int4 (0.9670)" in said

    def test_recommendations_come_with_evidence_and_the_commands_that_check_and_serve_them(self, store: Store) -> None:
        most = model_of(store).recommendations[0]
        assert (most.purpose, most.choice, most.sure) == ("Most texts a second", "onnx·int8", True)
        assert "mean cosine 0.9930" in most.evidence
        assert "ahead of onnx·fp32" in most.evidence
        assert most.reproduce.startswith(
            "embedconsole compare --live 'onnx fp32' 'onnx int8' --batch 32 --concurrency 4"
        )
        assert most.serve == "engine serve --backend onnx --precision int8"

    def test_a_red_deployment_is_never_recommended_however_fast(self, store: Store) -> None:
        fast = measured(Deployment("torch", "int4", "", "cpu", "fake/MiniLM", 2, 1), LoadSpec(32, 4), 9000.0)
        keep(store, replace(fast, run_id="r-fast", fidelity=0.95), 50, "s-1")
        assert all(one.choice != "torch·int4" for one in model_of(store).recommendations)

    def test_a_lead_that_the_interval_does_not_show_is_called_not_proved(self, store: Store) -> None:
        close = measured(Deployment("openvino", "int8", "", "cpu", "fake/MiniLM", 2, 1), LoadSpec(32, 4), 1405.0)
        keep(store, replace(close, run_id="r-close", fidelity=0.997), 50, "s-1")
        most = model_of(store).recommendations[0]
        assert not most.sure
        assert "not proved ahead of" in most.evidence

    def test_the_front_holds_what_nothing_beats_on_both_sides(self, store: Store) -> None:
        front = {trade.cell.name: trade.on_front for trade in model_of(store).trades}
        assert front["onnx·int8"]
        assert front["onnx·fp32"]
        assert not front["torch·int4"]

    def test_answers_of_one_burst_make_no_rate(self, store: Store) -> None:
        live = Deployment("torch", "int8", "", "cpu", "fake/MiniLM", 2, 1)
        burst = replace(measured(live, LoadSpec(32, 4), 13.0), run_id="r-burst")
        keep(store, burst, 50, "s-1")
        cell = next(cell for cell in model_of(store).cells if cell.name == "torch·int8")
        assert cell.texts_per_s is None

    def test_repeats_of_a_cell_are_one_cell_with_an_interval_of_their_own(self, store: Store) -> None:
        live = Deployment("torch", "bf16", "", "cpu", "fake/MiniLM", 2, 1)
        for number, speed in enumerate((400.0, 420.0, 380.0)):
            keep(store, replace(measured(live, LoadSpec(32, 4), speed), run_id=f"r-b{number}"), 50 + number, "s-1")
        cell = next(cell for cell in model_of(store).cells if cell.name == "torch·bf16")
        assert cell.texts_per_s == pytest.approx(400.0)
        assert cell.high == pytest.approx(400 + 4.303 * 20 / 3**0.5, rel=0.01)
        assert len(cell.runs) == 3

    def test_a_mixture_of_environments_is_told(self, store: Store) -> None:
        runs = list(load_selection(store, resolve_selector(store, "s-1")))
        runs[-1] = replace(runs[-1], environment={**runs[-1].environment, "cpu_model": "Other"})
        assert build_report(runs, ["s-1"]).mixed == ("cpu_model (2 values)",)


class TestFormats:
    def test_markdown_has_every_section_and_no_figure_below_its_floor(self, store: Store) -> None:
        text = report(store, "s-1").stdout
        for title in (
            "Executive summary", "Key findings", "Throughput at 32 × 4 against torch·fp32", "Latency",
            "Batching effect: coalescing off against on", "Speed against fidelity at 32 × 4",
            "Platform limits and capability matrix", "Recommendations", "Bottlenecks at 32 × 4, and next steps",
            "Environment", "Method, and what is not steady", "All cells",
        ):  # fmt: skip
            assert f"\n## {title}\n" in text
        slow = next(line for line in text.splitlines() if line.startswith("| torch·int4 | 32 × 4 | 78"))
        assert slow.split("|")[5].strip() == "–"
        assert "✕ failed | the engine was lost (killed by SIGKILL)" in text
        assert "\\~ unstable" in text
        assert "a CPU has no fp8" in text

    def test_json_holds_the_whole_model_with_cells_named_by_their_place(self, store: Store) -> None:
        found = json.loads(report(store, "s-1", "--format", "json").stdout)
        fastest = found["cells"][found["throughput"][0]["cell"]]
        assert fastest["name"] == "onnx·int8"
        assert fastest["latency"]["p99_ms"] is None
        assert fastest["reproduce"].startswith("embedconsole run --backend onnx --precision int8 --batch 32")
        assert found["recommendations"][0]["choice"] == "onnx·int8"

    def test_csv_has_a_line_a_cell(self, store: Store) -> None:
        rows = list(csv.DictReader(io.StringIO(report(store, "s-1", "--format", "csv").stdout)))
        assert len(rows) == len(model_of(store).cells)
        assert {row["verdict"] for row in rows} == {"ok", "unstable", "failed"}
        assert next(row for row in rows if row["verdict"] == "failed")["texts_per_s"] == ""

    def test_html_is_one_file_that_needs_nothing_else(self, store: Store, tmp_path: Path) -> None:
        path = tmp_path / "results.html"
        assert report(store, "-o", str(path)).exit_code == 0, "the last sweep, and the format by the ending"
        text = path.read_text()
        assert text.startswith("<!doctype html>")
        assert not re.search(r"<script|<link|<img|src=|@import|url\(", text)
        assert "prefers-color-scheme:dark" in text
        assert len(re.findall(r'<svg class="chart" role="img" aria-labelledby', text)) == 6

    def test_names_are_text_in_html_whatever_they_hold(self, store: Store) -> None:
        evil = Deployment("onnx", "int8", "<b>&|*", "cpu", "fake/MiniLM", 2, 1)
        keep(store, replace(measured(evil, LoadSpec(32, 4), 1000.0), run_id="r-evil"), 50, "s-1")
        text = as_html(document(model_of(store)))
        assert "<b>" not in text
        assert "&lt;b&gt;&amp;|*" in text

    def test_a_single_run_makes_a_report_too(self, store: Store) -> None:
        text = report(store, "last").stdout
        assert "1 cells from 1 runs" not in text
        assert "one cell from one run" in text
        assert "Not measured here" in text

    def test_a_file_that_cannot_be_written_is_a_usage_error(
        self, store: Store, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for arguments, says in (
            (["-o", "/nowhere/at/all.md"], "cannot be written"),
            (["--at", "32"], "batch by concurrency, as in 32x4"),
            (["nothing"], "no run, sweep or tag 'nothing'"),
        ):
            with pytest.raises(SystemExit) as ended:
                main(["report", *arguments, "--store", str(store.path)])
            assert ended.value.code == 3
            assert says in capsys.readouterr().err


class TestCharts:
    @pytest.mark.parametrize(
        "chart",
        [
            Bars("t", "texts/s", (Bar("a", 10.0, 9.0, 11.0), Bar("b", 0.0, steady=False))),
            Spans("t", "ms", (Span("a", 1.0, 2.0), Span("b", 3.0, None))),
            Lines("t", "x", "y", ("1", "4"), (Series("s", (Point("1", 1.0), Point("4", 2.0, steady=False))),)),
            Dots("t", "x", "y", (Dot("a", 1.0, 10.0, True, True), Dot("b", 1.0, 10.0, False, False))),
            Stack("t", "ms", ("queue", "infer"), (("a", (1.0, 2.0)), ("b", (0.0, 1.0)))),
        ],
    )
    def test_every_figure_is_a_mark_inside_the_picture_with_a_title(
        self, chart: Bars | Spans | Lines | Dots | Stack
    ) -> None:
        svg = ElementTree.fromstring(draw(chart, 1))  # noqa: S314 - our own
        _, _, width, height = map(float, svg.attrib["viewBox"].split())
        marks = [one for one in svg.iter() if "mark" in one.attrib.get("class", "").split()]
        assert len(marks) == chart.marks
        for mark in marks:
            x, y = (float(mark.attrib.get(name) or mark.attrib[f"c{name}"]) for name in "xy")
            assert 0 <= x <= width
            assert 0 <= y <= height
            assert mark.find("title") is not None

    @pytest.mark.parametrize(("most", "least"), [(1280, 0), (0.4, 0), (1.0, 0.96), (1.0, 0.999), (7, 0), (1e-9, 0)])
    def test_ticks_are_round_and_cover_the_figures(self, most: float, least: float) -> None:
        found = ticks(most, least)
        assert found[0] <= least + 1e-9
        assert found[-1] >= most - 1e-9
        assert 2 <= len(found) <= 8
