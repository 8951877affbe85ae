"""Only figures of one load, one set of knobs, one model and one machine stand beside each other."""

from dataclasses import replace
from pathlib import Path

from console.model.engine import Batching, Deployment, Engine
from console.model.load import LoadSpec
from console.services.runs import RunLibrary
from console.store.database import Store
from tests.unit.console.support.made import SHAKY, store_in
from tests.unit.console.support.made_results import keep, measured

ONNX = Deployment("onnx", "int8", "dynamic", "cpu", "fake/MiniLM", 2, 1)
TORCH = Deployment("torch", "fp32", "plain", "cpu", "fake/MiniLM", 2, 1)
KEY = ("onnx", "int8", "dynamic", "cpu")
ENGINE = Engine(effective=TORCH, cpu_model="Fake CPU", batching=Batching(coalesce=True))


def kept(store: Store, number: int, live: Deployment, load: LoadSpec, speed: float, **how: bool) -> None:
    made = measured(live, load, speed, coalesce=how.get("coalesce", True))
    keep(store, replace(made, run_id=f"r-{number:04}"), number)


async def test_the_newest_figure_under_the_present_load_is_found_with_its_date_and_run(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        kept(store, 1, ONNX, LoadSpec(32, 4), 300.0)
        kept(store, 2, ONNX, LoadSpec(32, 4), 355.0)
        kept(store, 3, ONNX, LoadSpec(1, 4), 124.0)
        path = store.path
    found = await RunLibrary(path).measured_cells(ENGINE, LoadSpec(32, 4))
    alike = found.alike[KEY]
    assert (found.load, alike.texts_per_s, alike.run_id, alike.steady) == ("32 × 4", 355.0, "r-0002", True)
    assert alike.started_at == "2026-11-23T10:02:00Z"
    assert (found.other[KEY].load, found.other[KEY].texts_per_s) == ("1 × 4", 124.0)


async def test_other_knobs_another_model_and_another_machine_are_not_alike(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        kept(store, 1, ONNX, LoadSpec(32, 4), 100.0, coalesce=False)
        kept(store, 2, replace(ONNX, model="fake/Large"), LoadSpec(32, 4), 200.0)
        kept(store, 4, ONNX, LoadSpec(32, 4, stream=True), 400.0)
        path = store.path
    found = await RunLibrary(path).measured_cells(ENGINE, LoadSpec(32, 4))
    assert not found.alike
    assert found.other[KEY].texts_per_s == 400.0, "the newest of this model"
    elsewhere = await RunLibrary(path).measured_cells(replace(ENGINE, cpu_model="Another CPU"), LoadSpec(32, 4))
    assert not elsewhere.other


async def test_an_unsteady_figure_says_so_and_an_interrupted_one_is_left_out(tmp_path: Path) -> None:
    with store_in(tmp_path) as store:
        made = measured(ONNX, LoadSpec(32, 4), 300.0)
        made = replace(made, throughput_judgement=SHAKY)
        keep(store, replace(made, run_id="r-1"), 1)
        keep(store, replace(made, run_id="r-2", interrupted=True), 2)
        path = store.path
    found = await RunLibrary(path).measured_cells(ENGINE, LoadSpec(32, 4))
    assert (found.alike[KEY].run_id, found.alike[KEY].steady) == ("r-1", False)
