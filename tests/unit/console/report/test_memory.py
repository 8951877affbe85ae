"""Memory is recommended only where each process had loaded one deployment alone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console.measure.measurement import Measurement
from console.model.engine import Deployment
from console.model.load import LoadSpec
from console.report.build import report_text
from console.report.document import document
from console.report.model import ReportModel, build_report
from console.report.render.md import as_markdown
from console.store.database import Store
from console.store.selectors import load_selection, resolve_selector
from console.store.write import begin_sweep
from tests.unit.console.support.made import store_in
from tests.unit.console.support.made_results import keep, measured

FP32 = Deployment("onnx", "fp32", "", "cpu", "fake/MiniLM", 2, 1)
INT8 = Deployment("onnx", "int8", "", "cpu", "fake/MiniLM", 2, 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_in(tmp_path) as opened:
        for sweep_id in ("s-1", "s-2"):
            begin_sweep(opened, sweep_id, "made", "2026-11-23T10:00:00Z", 1, 0, "")
        yield opened


def swept(store: Store, *measurements: Measurement, sweep_id: str | None = "s-1") -> list[str]:
    names = []
    for number, measurement in enumerate(measurements):
        names.append(f"r-{sweep_id}-{number}")
        keep(store, replace(measurement, run_id=names[-1]), number, sweep_id)
    return names


def reported(store: Store, names: list[str], **asked: Any) -> ReportModel:
    runs = [run for name in names for run in load_selection(store, resolve_selector(store, name))]
    return build_report(runs, names, **asked)


def purposes(model: ReportModel) -> list[str]:
    return [one.purpose for one in model.recommendations]


def heavy_and_light() -> tuple[Measurement, Measurement]:
    load = LoadSpec(32, 4)
    return measured(FP32, load, 900.0, rss_mib=250), measured(INT8, load, 1400.0, rss_mib=150)


@pytest.mark.parametrize(("mib", "doubt"), [(150, ""), (245, "not proved")])
def test_engines_of_their_own_are_compared_by_memory_and_a_lead_is_proved_if_it_is_clear(
    store: Store, mib: int, doubt: str
) -> None:
    heavy, light = heavy_and_light()
    model = reported(store, swept(store, heavy, replace(light, rss_bytes=mib << 20), sweep_id=None))
    assert not any(row.rss_shared_process for row in model.rows)
    least = next(one for one in model.recommendations if one.purpose == "Least memory")
    assert (least.choice, least.doubt) == ("onnx·int8", doubt)
    assert f"RSS {mib} MiB" in least.evidence
    assert least.reproduce.startswith("embedconsole run --backend onnx"), "in a process of its own"


def test_memory_measured_after_another_deployment_was_live_is_marked_and_not_recommended(store: Store) -> None:
    model = reported(store, swept(store, *heavy_and_light()))
    assert [row.rss_shared_process for row in model.rows] == [False, True]
    assert "Least memory" not in purposes(model)
    page = as_markdown(document(model))
    assert "150 †" in page
    assert "† measured in an engine process that had served another deployment before" in page
    assert "250 †" not in page
    assert "engine process of its own" in page.split("## Not covered")[1]


def test_a_deployment_that_returns_after_a_switch_is_marked_too(store: Store) -> None:
    heavy, light = heavy_and_light()
    back = replace(heavy, spec=replace(heavy.spec, load=LoadSpec(8, 4)))
    assert [row.rss_shared_process for row in reported(store, swept(store, heavy, light, back)).rows] == [
        False, True, True,
    ]  # fmt: skip


def test_another_number_of_instances_is_another_deployment_in_the_process(store: Store) -> None:
    _, light = heavy_and_light()
    wide = measured(replace(INT8, instances=1, threads=2), LoadSpec(32, 4), 1300.0)
    assert [row.rss_shared_process for row in reported(store, swept(store, light, wide)).rows] == [False, True]


def test_sweeps_have_a_process_each(store: Store) -> None:
    heavy, light = heavy_and_light()
    names = [*swept(store, heavy, sweep_id="s-1"), *swept(store, light, sweep_id="s-2")]
    model = reported(store, names)
    assert not any(row.rss_shared_process for row in model.rows)
    assert "Least memory" in purposes(model)


@pytest.mark.parametrize(("said", "marked"), [(True, True), (False, False)])
def test_what_a_run_says_of_its_process_goes_before_the_order_of_the_sweep(
    store: Store, said: bool, marked: bool
) -> None:
    names = swept(store, *heavy_and_light())
    runs = [run for name in names for run in load_selection(store, resolve_selector(store, name))]
    told = [
        replace(run, report={**run.report, "server": {**run.report["server"], "rss_shared_process": said}})
        for run in runs
        if run.report is not None
    ]
    assert [row.rss_shared_process for row in build_report(told, names).rows] == [marked, marked]


def test_a_report_on_one_run_knows_what_its_sweep_had_loaded_before(store: Store) -> None:
    first, second = swept(store, *heavy_and_light())
    assert "†" not in report_text(store, [first], "md").split("## All cells")[1].split("## ")[0]
    assert "150 †" in report_text(store, [second], "md")
