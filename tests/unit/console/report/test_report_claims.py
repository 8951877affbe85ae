"""What a report may claim: cells that are kept apart, proofs that are asked for, commands that measure the same."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console.analysis.steady_state import Judgement
from console.analysis.validity import Lag
from console.measure.measurement import Measurement
from console.model.engine import Batching, Deployment
from console.model.load import LoadSpec, Percentiles, Stages
from console.report.document import document
from console.report.figures import speed_status, status
from console.report.model import ReportModel, build_report
from console.report.platform import environment_rows
from console.report.recommend import Recommendation
from console.report.render.md import as_markdown
from console.store.database import Store
from console.store.selectors import load_selection, resolve_selector
from console.store.write import begin_sweep
from tests.unit.console.support.made import SHAKY, store_in
from tests.unit.console.support.made_results import keep, measured

FP32 = Deployment("onnx", "fp32", "", "cpu", "fake/MiniLM", 2, 1)
INT8 = Deployment("onnx", "int8", "", "cpu", "fake/MiniLM", 2, 1)

FULL = {"cosine_mean": 0.9966, "overlap_at_10": 0.94, "grade": "green"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_in(tmp_path) as opened:
        begin_sweep(opened, "s-1", "made", "2026-11-23T10:00:00Z", 1, 0, "")
        yield opened


def reported(store: Store, *measurements: Measurement, **asked: Any) -> ReportModel:
    for number, measurement in enumerate(measurements):
        keep(store, replace(measurement, run_id=f"r-{number}"), number, "s-1")
    return build_report(load_selection(store, resolve_selector(store, "s-1")), ["s-1"], **asked)


def with_knobs(measurement: Measurement, **knobs: Any) -> Measurement:
    return replace(measurement, engine=replace(measurement.engine, batching=Batching(**knobs)))


def recommended(model: ReportModel, purpose: str) -> Recommendation:
    return next(one for one in model.recommendations if one.purpose == purpose)


class TestCells:
    def test_runs_with_other_knobs_are_other_cells_and_say_so(self, store: Store) -> None:
        plain = measured(INT8, LoadSpec(32, 4), 1400.0)
        model = reported(store, with_knobs(plain, max_wait_ms=0.0), with_knobs(plain, max_wait_ms=5.0))
        assert [row.name for row in model.rows] == ["onnx·int8 wait 0 ms", "onnx·int8 wait 5 ms"]

    def test_two_models_are_never_one_cell(self, store: Store) -> None:
        other = replace(INT8, model="fake/Large")
        model = reported(store, measured(INT8, LoadSpec(32, 4), 1400.0), measured(other, LoadSpec(32, 4), 200.0))
        assert [row.name for row in model.rows] == ["onnx·int8 MiniLM", "onnx·int8 Large"]

    def test_arrivals_of_another_kind_are_another_load(self, store: Store) -> None:
        loads = [LoadSpec(1, 1, rate=50.0, arrival=arrival) for arrival in ("poisson", "constant")]
        model = reported(store, *(measured(INT8, load, 50.0) for load in loads))
        assert [row.load.name for row in model.rows] == ["batch 1 at 50/s", "batch 1 at 50/s, constant"]
        assert "--rate 50 --arrival constant" in model.rows[1].command

    def test_a_failure_that_the_resumed_sweep_measured_again_is_forgotten(self, store: Store) -> None:
        good = measured(INT8, LoadSpec(32, 4), 1400.0)
        failed = replace(good, failure="the engine was lost", rates=None)
        keep(store, replace(failed, run_id="r-a"), 40, "s-1", cell_hash="c1")
        keep(store, replace(good, run_id="r-b"), 41, "s-1", cell_hash="c1")
        keep(store, replace(failed, run_id="r-c"), 42, "s-1", cell_hash="c2")
        (row,) = reported(store).rows
        assert row.runs == ("r-b", "r-c"), "the failure of another cell stays"
        assert (
            "from 2 runs (1 more failed or were interrupted, and were measured again)" in document(reported(store)).lead
        )
        assert row.verdict == "failed"

    def test_a_deployment_has_one_fidelity_the_fullest_that_is_known(self, store: Store) -> None:
        quick = replace(measured(INT8, LoadSpec(1, 1), 300.0), fidelity=0.9951)
        keep(store, replace(measured(INT8, LoadSpec(32, 4), 1400.0), run_id="r-full"), 40, "s-1", fidelity=FULL)
        assert {(row.fidelity, row.overlap_at_10) for row in reported(store, quick).rows} == {(0.9966, 0.94)}

    def test_a_p95_that_was_not_steady_leaves_a_steady_throughput_what_it_is(self, store: Store) -> None:
        made = measured(INT8, LoadSpec(32, 4), 1400.0)
        made = replace(made, spec=replace(made.spec, slo_p95_ms=500.0), p95_judgement=SHAKY)
        model = reported(store, made, measured(FP32, LoadSpec(32, 4), 900.0))
        row = model.throughput[0].row
        assert (row.verdict, status(row), speed_status(row)) == ("unstable", "~ unstable", "✓ ok")
        assert model.summary[0].answer == "1 of 2 cells is steady, 2 in throughput"
        assert [one.doubt for one in model.recommendations[:2]] == ["p95 not steady", ""]

    def test_a_run_whose_callers_idled_has_no_steady_throughput(self, store: Store) -> None:
        idle = replace(measured(INT8, LoadSpec(32, 4), 1400.0), little=Judgement(False, "callers were idle"))
        assert not reported(store, idle).rows[0].is_rate_valid


class TestTitles:
    """Headings name a deployment and a load in the reader's terms; tables keep the short names."""

    @pytest.mark.parametrize(
        ("requested", "effective", "title"),
        [
            (("onnx", "int8", "smoothed"), ("onnx", "int8", "smoothed"), "ONNX Runtime, int8 (smoothed)"),
            (("torch", "fp32", "plain"), ("torch", "fp32", "plain"), "PyTorch, fp32"),
            (("openvino", "bf16", ""), ("openvino", "fp32", ""), "OpenVINO, bf16 → OpenVINO, fp32"),
            (("", "", ""), ("onnx", "fp32", ""), "ONNX Runtime, fp32"),
        ],
    )
    def test_a_deployment_is_named_by_its_runtime_precision_and_recipe(
        self, store: Store, requested: tuple[str, str, str], effective: tuple[str, str, str], title: str
    ) -> None:
        made = measured(Deployment(*effective, "cpu", "fake/MiniLM", 2, 1), LoadSpec(32, 4), 1400.0)
        made = replace(made, engine=replace(made.engine, requested=Deployment(*requested)))
        assert reported(store, made).rows[0].title == title

    def test_a_title_has_what_tells_the_row_from_others(self, store: Store) -> None:
        plain = measured(INT8, LoadSpec(32, 4), 1400.0)
        model = reported(store, with_knobs(plain, max_wait_ms=0.0), with_knobs(plain, max_wait_ms=5.0))
        assert [row.title for row in model.rows] == ["ONNX Runtime, int8, wait 0 ms", "ONNX Runtime, int8, wait 5 ms"]

    def test_a_load_is_named_by_batch_and_pace_and_by_what_is_unusual(self, store: Store) -> None:
        loads = (
            LoadSpec(32, 4),
            LoadSpec(1, 1, rate=50.0, arrival="constant"),
            LoadSpec(1, 8, corpus="mixed", stream=True),
        )
        model = reported(store, *(measured(INT8, load, 50.0) for load in loads))
        assert [row.load.title for row in model.rows] == [
            "batch 32, 4 in flight",
            "batch 1, 50 requests/s, constant arrivals",
            "batch 1, 8 in flight, corpus mixed, stream",
        ]

    def test_headings_charts_and_tables_name_a_deployment_by_its_title(self, store: Store) -> None:
        smoothed = Deployment("onnx", "int8", "smoothed", "cpu", "fake/MiniLM", 2, 1)
        made = (measured(FP32, LoadSpec(32, 4), 900.0), measured(smoothed, LoadSpec(32, 4), 1400.0))
        page = document(reported(store, *made))
        headings = [section.title for section in page.sections]
        headings += [block.title for section in page.sections for block in section.blocks if hasattr(block, "title")]
        assert "Throughput at batch 32, 4 in flight (baseline: ONNX Runtime, fp32)" in headings
        assert not [heading for heading in headings if "×" in heading or "·" in heading]
        text = as_markdown(page)
        assert "Serve ONNX Runtime, int8 (smoothed):" in text
        assert "| ONNX Runtime, int8 (smoothed) | 1,400 |" in text
        assert "·" not in text

    def test_terms_and_marks_are_defined_where_they_first_appear(self, store: Store) -> None:
        made = measured(FP32, LoadSpec(32, 4), 900.0), measured(INT8, LoadSpec(32, 4), 1400.0)
        text = as_markdown(document(reported(store, *made, measured(INT8, LoadSpec(1, 1), 300.0))))
        head, findings, recommendations, *_ = text.split("\n## ")
        for term in (
            "Deployment: ",
            "Load: batch 32, 4 in flight",
            "Cell: ",
            "Throughput: ",
            "Cosine: ",
            "Confidence: ",
        ):
            assert f"- {term}" in head
        assert "Steady: " in findings
        assert "✕: failed or missed" in findings
        assert "- p50, p95, p99: " in recommendations
        for section, term in (("Latency", "In a closed loop"), ("Bottlenecks", "- Padding: "), ("All cells", "RSS: ")):
            assert term in text.split(f"\n## {section}")[1].split("\n## ")[0]


class TestTheSLO:
    def test_the_reports_own_slo_rules_every_mark(self, store: Store) -> None:
        made = measured(INT8, LoadSpec(32, 4), 1400.0)
        made = replace(made, spec=replace(made.spec, slo_p95_ms=1000.0))
        (row,) = reported(store, made, slo_p95_ms=50.0).rows
        assert status(row) == "✕ SLO missed"
        (row,) = reported(store, slo_p95_ms=500.0).rows
        assert status(row) == "✓ ok"

    def test_too_few_requests_for_a_p95_are_no_miss(self, store: Store) -> None:
        (row,) = reported(store, measured(INT8, LoadSpec(32, 4), 250.0), slo_p95_ms=50.0).rows
        assert status(row) == "~ too few requests for the SLO"


class TestRecommendations:
    def test_what_nothing_was_compared_with_is_not_called_shown(self, store: Store) -> None:
        (most, *_) = reported(store, measured(INT8, LoadSpec(32, 4), 1400.0)).recommendations
        assert (most.sure, most.doubt) == (False, "no other deployment measured")
        assert "the only deployment measured at batch 32, 4 in flight" in most.evidence

    def test_the_lowest_latency_is_proved_where_the_interval_of_the_mean_latencies_proves_it(
        self, store: Store
    ) -> None:
        model = reported(store, measured(FP32, LoadSpec(1, 1), 200.0), measured(INT8, LoadSpec(1, 1), 300.0))
        lowest = recommended(model, "Lowest single-text latency")
        assert lowest.sure
        assert "its mean latency is 0.67 × that of ONNX Runtime, fp32 (0.67 to 0.67)" in lowest.evidence

    def test_a_lead_in_latency_within_the_noise_is_not_shown(self, store: Store) -> None:
        model = reported(store, measured(FP32, LoadSpec(1, 1), 200.0), measured(INT8, LoadSpec(1, 1), 200.4))
        lowest = recommended(model, "Lowest single-text latency")
        assert (lowest.sure, lowest.doubt) == (False, "not proved")

    def test_where_the_fastest_is_not_green_the_fastest_green_one_is_named_too(self, store: Store) -> None:
        model = reported(
            store,
            replace(measured(FP32, LoadSpec(32, 4), 900.0), fidelity=1.0),
            replace(measured(INT8, LoadSpec(32, 4), 1400.0), fidelity=0.99),
        )
        assert recommended(model, "Highest throughput").choice == "onnx·int8"
        assert recommended(model, "Highest throughput with green fidelity").choice == "onnx·fp32"

    def test_the_command_that_checks_measures_the_same_load(self, store: Store) -> None:
        load = LoadSpec(1, 8, corpus="mixed", stream=True)
        (most, *_) = reported(store, measured(FP32, load, 400.0), measured(INT8, load, 800.0)).recommendations
        assert most.reproduce == (
            "embedconsole compare --live 'onnx fp32' 'onnx int8' --batch 1 --concurrency 8 --corpus mixed --stream"
            " --rounds 10"
        )


class TestOpenLoops:
    """At a rate every deployment answers what is sent: latency tells them apart, and throughput is no capacity."""

    def trials(self) -> list[Measurement]:
        made = [measured(INT8, LoadSpec(8, 1, rate=rate), 8 * rate) for rate in (70.0, 118.0, 140.0)]
        made[2] = replace(made[2], latency=Percentiles(1400, 300, 300, 700, 800.0, 900.0, 990.0))
        return [replace(one, spec=replace(one.spec, slo_p95_ms=40.0)) for one in made]

    def test_the_highest_rate_that_was_carried_is_what_is_looked_at(self, store: Store) -> None:
        model = reported(store, *self.trials())
        assert model.chosen == "batch 8 at 118/s"
        assert model.baseline is None, "a single deployment is not its own baseline"
        questions = [row.question for row in model.summary]
        assert "Lowest latency at batch 8, 118 requests/s" in questions
        assert not any(question.startswith("Highest throughput") for question in questions)

    def test_no_rate_is_recommended_as_the_most_that_can_be_had(self, store: Store) -> None:
        purposes = [one.purpose for one in reported(store, *self.trials()).recommendations]
        assert "Highest throughput with p95 ≤ 40 ms" in purposes
        assert "Highest throughput" not in purposes

    def test_a_load_generator_that_sent_late_is_not_reported_as_busy(self, store: Store) -> None:
        late = replace(self.trials()[1], saturated=True, lag=Lag(1180, 0.2, 2.0, 3.4), client_cpu_cores=0.09)
        late = replace(late, spec=replace(late.spec, slo_p95_ms=None))  # only the report has an SLO
        model = reported(store, late, slo_p95_ms=1000.0)
        slo = next(one for one in model.summary if one.question == "SLO")
        assert slo.answer.startswith("p95 ≤ 1000 ms holds up to batch 8, 118 requests/s with ONNX Runtime, int8: p50")
        assert (slo.mark, slo.words) == ("~", "met even with requests sent late")
        assert model.rows[0].reason == "the load generator sent requests late (p99 3.4 ms), which adds to the latencies"


class TestThePage:
    def test_the_matrix_has_a_row_a_backend_and_what_is_not_native_has_its_reason(self, store: Store) -> None:
        text = as_markdown(document(reported(store, measured(INT8, LoadSpec(32, 4), 1400.0))))
        assert "| Runtime | fp32 | bf16 | fp16 | fp8 | int8 |" in text
        assert "| ONNX Runtime | ✓ native | – | – | – | ✓ native |" in text
        assert "| OpenVINO | bf16 | \\~ falls back | OpenVINO, fp32 | no bf16 here |" in text
        assert "| ONNX Runtime | int8 (dynamic) |" not in text, "native cells need no reason"

    def test_the_environment_is_written_for_people(self) -> None:
        facts = {"memory_bytes": 25276502016, "libraries.numpy": "2.4", "libraries.torch": "2.13", "gpu": None}
        assert environment_rows({**facts, "cpu_flags": ["avx2", "fma"]}) == (
            ("memory", "23.5 GiB"),
            ("libraries", "numpy 2.4, torch 2.13"),
            ("cpu flags", "avx2, fma"),
        )

    def test_requests_that_wait_while_cores_are_idle_get_another_next_step(self, store: Store) -> None:
        made = measured(INT8, LoadSpec(32, 4), 1400.0)
        waiting = replace(made, stages=Stages(80.0, 1.0, 9.0, 0.1), engine_cpu_cores=0.9)
        text = as_markdown(document(reported(store, waiting)))
        assert "requests wait although the engine uses only part of the cores" in text

    def test_one_text_at_a_time_has_bottlenecks_of_its_own(self, store: Store) -> None:
        many, one = measured(INT8, LoadSpec(32, 4), 1400.0), measured(INT8, LoadSpec(1, 1), 300.0)
        one = replace(one, engine_cpu_cores=0.9)
        text = as_markdown(document(reported(store, many, one)))
        section = text.split("## Bottlenecks and next steps")[1].split("\n## ")[0]
        assert "infer is 63% of server time at batch 32" in section
        assert "infer is 62% of server time at batch 1" in section
        assert "- ONNX Runtime, int8 at batch 32, 4 in flight: the forward pass is the bottleneck: use" in section
        alone = (
            "- ONNX Runtime, int8 at batch 1, 1 in flight: the forward pass is the bottleneck although the engine uses"
        )
        assert alone in section

    def test_a_next_step_that_holds_at_every_load_is_given_once(self, store: Store) -> None:
        loads = LoadSpec(32, 4), LoadSpec(1, 1)
        page = as_markdown(
            document(reported(store, *(measured(one, load, 900.0) for one in (FP32, INT8) for load in loads)))
        )
        assert page.count("the forward pass is the bottleneck") == 1
        assert "- All: the forward pass is the bottleneck: use a lower precision" in page

    def test_a_run_that_was_too_short_states_the_duration_it_needs(self, store: Store) -> None:
        short = Judgement(False, "too short to judge", short=True)
        made = measured(INT8, LoadSpec(32, 4), 256.0)
        page = as_markdown(document(reported(store, replace(made, throughput_judgement=short))))
        assert "one of one cell" not in page
        assert "1 of 1 cells is provisional. 1 of them was too short to judge: measure for 24 s." in page

    def test_the_fastest_is_named_though_it_was_not_steady_and_marked_so(self, store: Store) -> None:
        shaky = replace(measured(INT8, LoadSpec(32, 4), 1400.0), throughput_judgement=SHAKY)
        model = reported(store, measured(FP32, LoadSpec(32, 4), 900.0), shaky)
        row = next(row for row in model.summary if row.question == "Highest throughput at batch 32, 4 in flight")
        assert (row.answer[:18], row.mark, row.words) == ("ONNX Runtime, int8", "~", "unstable")
        assert (model.recommendations[0].choice, model.recommendations[0].doubt) == ("onnx·int8", "unstable")

    def test_the_fastest_is_compared_with_the_second_where_the_answer_does_not(self, store: Store) -> None:
        torch = Deployment("torch", "fp32", "", "cpu", "fake/MiniLM", 2, 1)
        made = [measured(one, LoadSpec(32, 4), speed) for one, speed in ((torch, 500.0), (FP32, 900.0), (INT8, 905.0))]
        found = reported(store, *made).findings[0]
        assert found.startswith("ONNX Runtime, int8 is not proved ahead of the next fastest at batch 32, 4 in flight")
        assert reported(store, baseline="onnx·fp32").findings == (), "the answer compares the two"

    def test_hours_of_one_day_are_told_with_one_date(self, store: Store) -> None:
        made = measured(INT8, LoadSpec(32, 4), 1400.0)
        page = document(reported(store, made, made))
        assert page.lead == "one cell from 2 runs, measured 2026-11-23 10:00 to 10:01 UTC; s-1."
