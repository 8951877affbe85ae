"""The page of a report: the command that measured it, links from runs to their rows, what is not covered, its title."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.cli.main import cli
from console.model.engine import Deployment
from console.model.load import LoadSpec
from console.report.build import report_text
from console.report.document import document
from console.report.model import build_report
from console.report.render.html import as_html
from console.store.database import Store
from console.store.selectors import load_selection, resolve_selector
from console.store.write import begin_sweep
from console.sweep.spec import PRESETS, preset
from tests.unit.console.support.made import store_in
from tests.unit.console.support.made_results import keep, measured, results_in
from tests.unit.frozen.recorded import RECORDED

FP32 = Deployment("onnx", "fp32", "", "cpu", "fake/MiniLM", 2, 1)
INT8 = Deployment("onnx", "int8", "", "cpu", "fake/MiniLM", 2, 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_in(tmp_path) as opened:
        yield opened


def swept(store: Store, name: str, text: str) -> None:
    begin_sweep(store, "s-1", name, "2026-11-23T10:00:00Z", 1, 0, text)
    for number, (live, load) in enumerate((live, load) for live in (FP32, INT8) for load in (LoadSpec(32, 4),)):
        keep(store, replace(measured(live, load, 900.0 + 500 * number), run_id=f"r-{number}"), number, "s-1")


class TestTheCommandOnTop:
    @pytest.mark.parametrize("name", PRESETS)
    def test_a_preset_is_named(self, store: Store, name: str) -> None:
        swept(store, name, preset(name).text)
        head = report_text(store, ["s-1"], "md").split("\n## ")[0]
        assert f"Measured with:\n\n    embedconsole sweep --preset {name}\n" in head

    def test_a_sweep_that_only_bears_the_name_of_a_preset_is_a_file(self, store: Store) -> None:
        swept(store, "quick", 'name = "quick"\n')
        assert "    embedconsole sweep quick.toml\n" in report_text(store, ["s-1"], "md")

    def test_a_run_is_named_with_its_load_and_duration(self, store: Store) -> None:
        keep(store, replace(measured(INT8, LoadSpec(8, 2), 900.0), run_id="r-one"), 1)
        head = report_text(store, ["r-one"], "md").split("\n## ")[0]
        command = "embedconsole run --backend onnx --precision int8 --batch 8 --concurrency 2 --duration 10s"
        assert f"Measured with:\n\n    {command}\n" in head

    @pytest.mark.parametrize(
        ("name", "command"),
        [
            (
                "max-load",
                "embedconsole max-load --slo-p95 60 --closed --backend onnx --precision int8 --recipe smoothed",
            ),
            ("live: onnx fp32 | onnx int8", "embedconsole compare --live 'onnx fp32' 'onnx int8' --batch 8"),
            ("int8-or-not", "embedconsole sweep int8-or-not.toml"),
        ],
    )
    def test_a_search_and_a_live_comparison_are_not_called_sweeps(
        self, tmp_path: Path, name: str, command: str
    ) -> None:
        with Store.open(Path(shutil.copy(RECORDED / "runs.sqlite", tmp_path))) as opened:
            assert f"    {command}" in report_text(opened, [name], "md").split("\n## ")[0]


class TestLinks:
    def test_every_run_that_the_page_names_leads_to_its_row(self, store: Store) -> None:
        results_in(store)
        html = as_html(document(build_report(load_selection(store, resolve_selector(store, "s-1")), ["s-1"])))
        targets = re.findall(r'<a id="([^"]+)">', html)
        links = re.findall(r'<a href="#(r-[^"]+)">([^<]+)</a>', html)
        assert len(targets) == len(set(targets)) == 25
        assert links
        assert all(target == text and target in targets for target, text in links)
        recommendations = html.split('id="recommendations"')[1].split("</section>")[0]
        assert '<a href="#r-s-1-08">r-s-1-08</a>' in recommendations

    def test_a_cell_of_several_runs_is_the_target_of_each(self, store: Store) -> None:
        begin_sweep(store, "s-1", "made", "2026-11-23T10:00:00Z", 1, 0, "")
        for number in range(3):
            keep(store, replace(measured(INT8, LoadSpec(32, 4), 900.0), run_id=f"r-{number}"), number, "s-1")
        html = report_text(store, ["s-1"], "html")
        assert '<td class="run"><a id="r-0"></a><a id="r-1"></a><a id="r-2"></a>r-2 (+2)</td>' in html


class TestTheEnd:
    def test_what_was_not_measured_is_listed_last_with_its_command_and_has_no_section(self, store: Store) -> None:
        swept(store, "made", "")
        page = document(build_report(load_selection(store, resolve_selector(store, "s-1")), ["s-1"]))
        assert page.sections[-1].title == "Not covered"
        assert not [one.title for one in page.sections if one.title.startswith(("Effect of", "Throughput vs"))]
        text = report_text(store, ["s-1"], "md").split("## Not covered")[1]
        for what, command in (
            ("Effect of coalescing", "embedconsole compare --live 'onnx int8 coalesce=off' 'onnx int8'"),
            ("Latency of a single text", "embedconsole run --backend onnx --precision int8 --batch 1 --concurrency 1"),
            ("Fidelity to fp32", "embedconsole sweep --preset throughput"),
            ("Highest rate within a latency target", "embedconsole max-load --backend onnx --precision int8"),
        ):
            assert what in text
            assert command in text

    def test_what_was_measured_is_not_called_missing(self, store: Store) -> None:
        results_in(store)
        text = report_text(store, ["s-1"], "md").split("## Not covered")[1]
        assert "coalescing" not in text
        assert "Latency of a single text" not in text


class TestTheTitle:
    def test_title_replaces_the_heading_and_the_model_and_machine_stay_in_json(self, store: Store) -> None:
        swept(store, "made", "")
        arguments = ["report", "s-1", "--title", "Is <int8> worth it?", "--store", str(store.path)]
        assert CliRunner().invoke(cli, arguments).stdout.startswith("# Is <int8> worth it?\n")
        html = CliRunner().invoke(cli, [*arguments, "--format", "html"]).stdout
        assert "<title>Is &lt;int8&gt; worth it?</title>" in html
        found = json.loads(CliRunner().invoke(cli, [*arguments, "--format", "json"]).stdout)
        assert (found["title"], found["heading"]) == ("fake/MiniLM on Fake CPU, 2 cores", "Is <int8> worth it?")

    def test_without_one_the_model_and_the_machine_are_the_title(self, store: Store) -> None:
        swept(store, "made", "")
        text = report_text(store, ["s-1"], "md")
        assert text.startswith("# Embedding engine results: fake/MiniLM on Fake CPU, 2 cores\n")


def test_json_has_the_answer_with_its_cells(store: Store) -> None:
    swept(store, "made", "")
    found = json.loads(report_text(store, ["s-1"], "json"))
    assert found["answer"]["number"] == "1.6 ×"
    assert found["answer"]["confidence"] == "high"
    assert [found["cells"][index]["name"] for index in found["answer"]["cells"]] == ["onnx·int8", "onnx·fp32"]
    assert found["made_by"] == ["embedconsole sweep made.toml"]
