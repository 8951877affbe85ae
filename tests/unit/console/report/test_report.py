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
from console.report.model import NothingToReport, ReportModel, build_report
from console.report.render.html import as_html
from console.report.render.svg import WIDTH, draw, ticks
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


def marks_of(element: ElementTree.Element) -> set[str]:
    """The kinds of mark that are drawn: each colour, what is hollow, and each kind of line."""
    styles = {style for one in element.iter() for style in one.attrib.get("class", "").split()}
    return {style for style in styles if re.fullmatch(r"c\d|hollow|whisker|span|front|line", style)}


def report(store: Store, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["report", *arguments, "--store", str(store.path)])


class TestWhatItSays:
    def test_deployments_are_compared_where_most_were_measured_against_fp32_on_torch(self, store: Store) -> None:
        model = model_of(store)
        assert model.chosen == "32 × 4"
        assert model.baseline is not None
        assert model.baseline.name == "torch·fp32"
        names = [one.row.name for one in model.throughput]
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
        assert "ONNX Runtime, int8: 1,400 texts/s" in rows["Highest throughput at batch 32, 4 in flight"].answer
        assert rows["Lowest single-text latency"].answer == "ONNX Runtime, int8: p50 4.8 ms, p95 6.7 ms (n=2,100)"
        assert (rows["Fidelity"].mark, rows["Fidelity"].words) == ("✕", "red, not recommended: PyTorch, int4")
        assert "OpenVINO, bf16 → OpenVINO, fp32" in rows["Fallbacks"].answer
        assert rows["Errors"].mark == "✓"

    def test_an_slo_is_judged_by_certified_percentiles_of_steady_cells(self, store: Store) -> None:
        model = model_of(store, slo_p95_ms=60.0)
        row = next(row for row in model.summary if row.question == "SLO")
        assert row.mark == "✓"
        assert model.answer.claim.startswith("Serve ONNX Runtime, int8: 1,120 texts/s at batch 8, 4 in flight with p95")
        assert next(row for row in model_of(store, slo_p95_ms=1.0).summary if row.question == "SLO").mark == "✕"

    def test_an_slo_that_no_steady_cell_can_prove_is_not_called_missed(self, store: Store) -> None:
        runs = load_selection(store, resolve_selector(store, "r-s-1-15"))
        row = next(row for row in build_report(runs, ["x"], slo_p95_ms=60.0).summary if row.question == "SLO")
        assert (row.mark, row.words) == ("~", "cannot be judged")

    def test_findings_are_computed_with_their_intervals(self, store: Store) -> None:
        sentences = "\n".join(model_of(store).findings)
        int8 = (
            r"ONNX Runtime, int8 is ahead of the next fastest at batch 32, 4 in flight, ONNX Runtime, fp32: 1\.5\d × "
        )
        assert re.search(int8 + r"\(1\.\d+ to 1\.\d+\)", sentences)
        assert "PyTorch, int4 is slower than PyTorch, fp32" in sentences
        coalescing = (
            r"Coalescing gives ONNX Runtime, fp32 4\.\d+ × .* at batch 1, 32 in flight, in batches of 32\.0 texts"
        )
        assert re.search(coalescing, sentences)
        assert "OpenVINO, bf16 was requested, OpenVINO, fp32 ran: this processor has no bf16" in sentences

    def test_recommendations_come_with_evidence_and_the_commands_that_check_and_serve_them(self, store: Store) -> None:
        most = model_of(store).recommendations[0]
        assert (most.purpose, most.choice, most.sure) == ("Highest throughput", "onnx·int8", True)
        assert "mean cosine 0.9930" in most.evidence
        assert "ahead of ONNX Runtime, fp32" in most.evidence
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
        front = {trade.row.name: trade.on_front for trade in model_of(store).trades}
        assert front["onnx·int8"]
        assert front["onnx·fp32"]
        assert not front["torch·int4"]

    def test_answers_of_one_burst_make_no_rate(self, store: Store) -> None:
        live = Deployment("torch", "int8", "", "cpu", "fake/MiniLM", 2, 1)
        burst = replace(measured(live, LoadSpec(32, 4), 13.0), run_id="r-burst")
        keep(store, burst, 50, "s-1")
        row = next(row for row in model_of(store).rows if row.name == "torch·int8")
        assert row.texts_per_s is None

    def test_repeats_of_a_cell_are_one_cell_with_an_interval_of_their_own(self, store: Store) -> None:
        live = Deployment("torch", "bf16", "", "cpu", "fake/MiniLM", 2, 1)
        for number, speed in enumerate((400.0, 420.0, 380.0)):
            keep(store, replace(measured(live, LoadSpec(32, 4), speed), run_id=f"r-b{number}"), 50 + number, "s-1")
        row = next(row for row in model_of(store).rows if row.name == "torch·bf16")
        assert row.texts_per_s == pytest.approx(400.0)
        assert row.high == pytest.approx(400 + 4.303 * 20 / 3**0.5, rel=0.01)
        assert len(row.runs) == 3

    def test_a_fact_of_the_environment_that_differs_between_runs_is_named(self, store: Store) -> None:
        runs = list(load_selection(store, resolve_selector(store, "s-1")))
        runs[-1] = replace(runs[-1], environment={**runs[-1].environment, "cpu_model": "Other"})
        assert build_report(runs, ["s-1"]).mixed == ("cpu_model (2 values)",)


class TestFormats:
    def test_markdown_has_every_section_and_no_figure_below_its_floor(self, store: Store) -> None:
        text = report(store, "s-1").stdout
        for title in (
            "Findings", "Recommendations", "Throughput at batch 32, 4 in flight (baseline: PyTorch, fp32)", "Latency",
            "Effect of coalescing: off vs on", "Throughput vs fidelity at batch 32, 4 in flight",
            "Bottlenecks and next steps", "Platform limits and capability matrix", "All cells", "Environment", "Method",
            "Not covered",
        ):  # fmt: skip
            assert f"\n## {title}\n" in text
        slow = next(
            line for line in text.splitlines() if line.startswith("| PyTorch, int4 | batch 32, 4 in flight | 78")
        )
        assert slow.split("|")[5].strip() == "–"
        assert "| ONNX Runtime, fp32, batch 64, 8 in flight | the engine was lost (killed by SIGKILL) |" in text
        assert "\\~ unstable" in text
        assert "a CPU has no fp8" in text

    def test_json_holds_each_cell_once_and_its_index_elsewhere(self, store: Store) -> None:
        found = json.loads(report(store, "s-1", "--format", "json").stdout)
        fastest = found["cells"][found["throughput"][0]["cell"]]
        assert fastest["name"] == "onnx·int8"
        assert fastest["latency"]["p99_ms"] is None
        assert fastest["reproduce"].startswith("embedconsole run --backend onnx --precision int8 --batch 32")
        assert found["recommendations"][0]["choice"] == "onnx·int8"
        assert fastest["speed_sound"] is True
        assert [found["cells"][index]["verdict"] for index in found["unsound"]] == ["failed", "unstable"]

    def test_csv_has_a_line_a_cell(self, store: Store) -> None:
        rows = list(csv.DictReader(io.StringIO(report(store, "s-1", "--format", "csv").stdout)))
        assert len(rows) == len(model_of(store).rows)
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
        assert text.count("<b>") == text.count(":</b>"), "the page has no other tag than its own"
        assert "&lt;b&gt;&amp;|*" in text

    def test_a_single_run_makes_a_report_too(self, store: Store) -> None:
        text = report(store, "last").stdout
        assert "1 cells from 1 runs" not in text
        assert "one cell from one run" in text
        assert text.index("## Not covered") > text.index("## Method")
        assert "Comparison with another deployment:" in text.split("## Not covered")[1]

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

    @pytest.mark.parametrize(
        ("chart", "texts"),
        [
            (Bars("t", "texts/s", (Bar("a", 10.0),)), ["deployment"]),
            (
                Bars("t", "u", (Bar("a", 10.0, 9.0, 11.0, highlighted=True), Bar("b", 9.0, 1.0, 50.0, steady=False))),
                ["deployment", "baseline", "not steady (~)", "95 % interval", "95 % interval, cut off"],
            ),
            (Spans("t", "ms", (Span("a", 1.0, None),)), ["p50"]),
            (
                Spans("t", "ms", (Span("a", 1.0, 2.0, high_steady=False),)),
                ["p50", "p95", "p50 to p95", "not steady"],
            ),
            (Lines("t", "x", "y", ("1",), (Series("s", (Point("1", 1.0, steady=False),)),)), ["s", "not steady"]),
            (Lines("t", "x", "y", ("1",), (Series("s", (Point("1", 1.0),)),)), ["s"]),
            (Dots("t", "x", "y", (Dot("a", 1.0, 1.0, True, True),)), ["on the Pareto front"]),
            (
                Dots("t", "x", "y", (Dot("a", 1.0, 1.0, True, True), Dot("b", 0.9, 2.0, False, True),
                                     Dot("c", 0.9, 1.0, True, False))),
                ["on the Pareto front", "dominated", "not steady", "Pareto front"],
            ),
            (Stack("t", "ms", ("queue", "infer"), (("a", (0.0, 2.0)),)), ["infer"]),
        ],
    )  # fmt: skip
    def test_the_legend_names_each_mark_that_the_chart_holds_and_no_other(
        self, chart: Bars | Spans | Lines | Dots | Stack, texts: list[str]
    ) -> None:
        svg = ElementTree.fromstring(draw(chart, 1))  # noqa: S314 - our own
        legend = next(one for one in svg.iter("g") if one.attrib["class"] == "legend")
        assert [one.text for one in legend.iter("text")] == texts
        assert marks_of(svg) - marks_of(legend) == set()

    def test_a_long_legend_wraps_inside_the_picture(self) -> None:
        series = tuple(Series(f"a deployment with a long name {n}", (Point("1", 1.0),)) for n in range(6))
        svg = ElementTree.fromstring(draw(Lines("t", "x", "y", ("1",), series), 1))  # noqa: S314 - our own
        legend = next(one for one in svg.iter("g") if one.attrib["class"] == "legend")
        places = [(float(one.attrib["x"]), float(one.attrib["y"])) for one in legend.iter("text")]
        assert len(set(places)) == 6
        assert all(x + 6.6 * 26 <= WIDTH for x, _ in places)
        lowest = max(y for _, y in places)
        marks = [one for one in svg.iter() if "mark" in one.attrib.get("class", "").split()]
        assert min(float(one.attrib["cy"]) for one in marks) > lowest

    @pytest.mark.parametrize(("most", "least"), [(1280, 0), (0.4, 0), (1.0, 0.96), (1.0, 0.999), (7, 0), (1e-9, 0)])
    def test_ticks_are_round_and_cover_the_figures(self, most: float, least: float) -> None:
        found = ticks(most, least)
        assert found[0] <= least + 1e-9
        assert found[-1] >= most - 1e-9
        assert 2 <= len(found) <= 8
