"""A report begins with its answer: one sentence, one number, and how far to trust it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console.analysis.steady_state import Judgement
from console.measure.measurement import Measurement
from console.model.engine import Deployment
from console.model.load import LoadSpec, Percentiles
from console.report.answer import Answer
from console.report.document import document
from console.report.model import ReportModel, build_report
from console.report.render.html import as_html
from console.report.render.md import as_markdown
from console.store.database import Store
from console.store.selectors import load_selection, resolve_selector
from console.store.write import begin_sweep
from tests.unit.console.support.made import SHAKY, store_in
from tests.unit.console.support.made_results import keep, measured

FP32 = Deployment("onnx", "fp32", "", "cpu", "fake/MiniLM", 2, 1)
INT8 = Deployment("onnx", "int8", "smoothed", "cpu", "fake/MiniLM", 2, 1)
TORCH = Deployment("torch", "fp32", "", "cpu", "fake/MiniLM", 2, 1)
AT = LoadSpec(32, 4)
SHORT = Judgement(False, "too short to judge", short=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_in(tmp_path) as opened:
        begin_sweep(opened, "s-1", "made", "2026-11-23T10:00:00Z", 1, 0, "")
        yield opened


def reported(store: Store, *measurements: Measurement, **asked: Any) -> ReportModel:
    for number, measurement in enumerate(measurements):
        keep(store, replace(measurement, run_id=f"r-{number}"), number, "s-1")
    return build_report(load_selection(store, resolve_selector(store, "s-1")), ["s-1"], **asked)


def answered(store: Store, *measurements: Measurement, **asked: Any) -> Answer:
    return reported(store, *measurements, **asked).answer


def fp32() -> Measurement:
    return replace(measured(FP32, AT, 600.0), fidelity=1.0)


def int8() -> Measurement:
    return replace(measured(INT8, AT, 1380.0), fidelity=0.9953)


class TestWhatToServe:
    def test_the_fastest_is_served_with_its_gain_over_the_baseline_and_its_fidelity(self, store: Store) -> None:
        answer = answered(store, fp32(), int8())
        assert answer.sentence == (
            "Serve ONNX Runtime, int8 (smoothed): 2.3 × the throughput of fp32 at cosine 0.995; high confidence."
        )
        assert answer.number == "2.3 ×"
        assert answer.about.startswith("the throughput of ONNX Runtime, fp32 (95 % interval 2.")
        assert answer.about.endswith(", at batch 32, 4 in flight")
        assert answer.serve == "engine serve --backend onnx --precision int8 --recipe smoothed"
        assert answer.check.startswith("embedconsole compare --live 'onnx fp32' 'onnx int8 recipe=smoothed'")

    def test_another_runtimes_baseline_is_named_in_full(self, store: Store) -> None:
        torch = measured(TORCH, AT, 500.0)
        assert "the throughput of PyTorch, fp32 at cosine" in answered(store, torch, int8()).sentence

    def test_a_grade_that_is_not_green_is_said(self, store: Store) -> None:
        assert "at cosine 0.985 (amber);" in answered(store, fp32(), replace(int8(), fidelity=0.985)).sentence

    def test_a_fidelity_that_nobody_measured_is_said(self, store: Store) -> None:
        assert ", fidelity not measured;" in answered(store, fp32(), replace(int8(), fidelity=None)).sentence

    def test_a_red_deployment_is_not_served_however_fast(self, store: Store) -> None:
        torch, red = measured(TORCH, AT, 500.0), replace(int8(), fidelity=0.9)
        answer = answered(store, torch, fp32(), red)
        assert answer.claim.startswith("Serve ONNX Runtime, fp32: 1.2 × the throughput of PyTorch, fp32")

    def test_a_baseline_that_leads_is_kept(self, store: Store) -> None:
        answer = answered(store, measured(FP32, AT, 900.0), replace(int8(), rates=measured(INT8, AT, 450.0).rates))
        assert answer.claim.startswith("Serve ONNX Runtime, fp32: ")
        assert answer.claim.endswith(" the throughput of ONNX Runtime, int8 (smoothed), the next fastest")

    def test_one_that_is_as_fast_as_the_baseline_is_no_reason_to_change(self, store: Store) -> None:
        answer = answered(store, fp32(), measured(INT8, AT, 606.0))
        assert answer.claim == (
            "Keep ONNX Runtime, fp32: ONNX Runtime, int8 (smoothed) is as fast, with 1.00 × its throughput"
        )
        assert answer.serve == "engine serve --backend onnx --precision fp32"

    def test_where_no_other_is_measured_the_figure_is_the_answer(self, store: Store) -> None:
        answer = answered(store, int8())
        assert answer.sentence == (
            "ONNX Runtime, int8 (smoothed) embeds 1,380 texts/s at batch 32, 4 in flight, cosine 0.995; high"
            " confidence."
        )
        assert answer.number == "1,380 texts/s"

    def test_where_each_is_red_nothing_is_served(self, store: Store) -> None:
        answer = answered(store, replace(int8(), fidelity=0.9))
        assert answer.claim.startswith("No deployment at batch 32, 4 in flight can be recommended")
        assert answer.serve == ""


class TestUnderATarget:
    def trials(self) -> list[Measurement]:
        made = [measured(INT8, LoadSpec(8, 1, rate=rate), 8 * rate) for rate in (70.0, 118.0, 140.0)]
        made[2] = replace(made[2], latency=Percentiles(1400, 300, 300, 700, 800.0, 900.0, 990.0))
        return [replace(one, fidelity=0.9953, spec=replace(one.spec, slo_p95_ms=40.0)) for one in made]

    def test_the_highest_rate_that_meets_it_is_the_answer(self, store: Store) -> None:
        answer = answered(store, *self.trials())
        assert answer.claim.startswith("ONNX Runtime, int8 (smoothed) holds 118 requests/s, batch 8, with p95 ")
        assert answer.claim.endswith(" ms, within the target of 40 ms, cosine 0.995")
        assert answer.number == "118 requests/s"

    def test_a_target_that_nothing_meets_names_the_lowest_latency_and_serves_nothing(self, store: Store) -> None:
        answer = answered(store, *self.trials(), slo_p95_ms=0.5)
        assert answer.claim.startswith("Nothing measured meets p95 ≤ 0.5 ms: the lowest is p95 ")
        assert answer.serve == ""

    def test_a_target_without_a_p95_is_open(self, store: Store) -> None:
        answer = answered(store, measured(INT8, AT, 250.0), slo_p95_ms=50.0)
        assert answer.sentence == (
            "Whether p95 stays within 50 ms is not known: no cell has enough requests; low confidence, measure longer."
        )

    def test_at_a_rate_without_a_target_the_lowest_latency_is_the_answer(self, store: Store) -> None:
        load = LoadSpec(1, 1, rate=50.0)
        slow = replace(measured(FP32, load, 50.0), latency=Percentiles(500, 30.0, 30.0, 38.0, 40.0, None, 50.0))
        answer = answered(store, slow, measured(INT8, load, 50.0))
        assert answer.claim.startswith(
            "Serve ONNX Runtime, int8 (smoothed): the lowest latency at batch 1, 50 requests/s"
        )


class TestConfidence:
    def test_a_run_that_was_too_short_makes_it_low_and_says_how_long_settles_it(self, store: Store) -> None:
        answer = answered(store, fp32(), replace(int8(), throughput_judgement=SHORT))
        assert answer.confidence == "low"
        assert answer.sentence.endswith("; low confidence, 11 s a cell would settle it.")

    def test_a_run_that_was_long_enough_and_not_steady_makes_it_medium(self, store: Store) -> None:
        answer = answered(store, fp32(), replace(int8(), throughput_judgement=SHAKY))
        assert (answer.confidence, answer.reason) == (
            "medium",
            "a run was not steady, a quieter machine would settle it",
        )

    def test_a_load_generator_that_was_the_limit_makes_it_low(self, store: Store) -> None:
        answer = answered(store, fp32(), replace(int8(), saturated=True))
        assert (answer.confidence, answer.reason) == ("low", "the load generator was the limit")

    def test_requests_that_fail_make_it_low(self, store: Store) -> None:
        answer = answered(store, fp32(), replace(int8(), errors={"INTERNAL": 20}))
        assert (answer.confidence, answer.reason) == ("low", "requests failed")

    def test_runs_of_several_environments_make_it_low(self, store: Store) -> None:
        reported(store, fp32(), int8())
        runs = list(load_selection(store, resolve_selector(store, "s-1")))
        runs[-1] = replace(runs[-1], environment={**runs[-1].environment, "cpu_model": "Other"})
        answer = build_report(runs, ["s-1"], baseline="onnx·fp32").answer
        assert (answer.confidence, answer.reason) == ("low", "the runs come from different environments")


class TestThePage:
    def test_the_first_sentence_of_every_form_is_the_answer(self, store: Store) -> None:
        model = reported(store, fp32(), int8())
        page = document(model)
        sentence = "Serve ONNX Runtime, int8 (smoothed): 2.3 × the throughput of fp32 at cosine 0.995"
        assert as_markdown(page).split("\n\n")[1].startswith(f"**{sentence}")
        html = as_html(page)
        first = html[html.index("<h1>") :].split("</h1>")[1]
        assert first.lstrip().startswith(f'<div class="answer good">\n<p class="sentence">{sentence}')
        assert '<span class="number">2.3 ×</span>' in first

    def test_no_section_states_the_answers_comparison_again(self, store: Store) -> None:
        model = reported(store, fp32(), int8())
        page = as_markdown(document(model))
        assert model.findings == ()
        stated = page.split("## Findings")[1].split("## Throughput")[0]
        assert "2.3" not in stated
        assert "Highest throughput" not in stated, "the answer recommends that very cell"

    def test_recommendations_that_stand_on_one_result_share_a_line(self, store: Store) -> None:
        loads = LoadSpec(1, 16), LoadSpec(1, 1)
        made = [measured(one, load, speed) for one, speed in ((FP32, 600.0), (INT8, 900.0)) for load in loads]
        page = document(reported(store, *made, at=(1, 1)))
        section = next(one for one in page.sections if one.title == "Recommendations")
        lines = [row[0] for row in getattr(section.blocks[0], "rows")]  # noqa: B009 - a block of one of many types
        assert "Highest throughput; Many callers with one text each" in lines
