"""The serving plan of a cell is measured once, at its first start, and reported."""

from collections.abc import Callable
from pathlib import Path

from engine.api import embed_pb2
from engine.api.client import EmbedClient
from engine.backends.base import Cell
from engine.capabilities.probe_child import tiny_model
from engine.models.resolve import resolve_model
from tests.support.engine_process import EngineProcess
from tests.support.prepared import prepare_here


async def test_the_first_start_of_a_cell_measures_its_plan_and_the_next_knows_it(
    start_engine: Callable[..., EngineProcess], tmp_path: Path
) -> None:
    tiny_model(tmp_path / "tiny")  # a folder of this run alone: nobody has measured it yet
    prepare_here(
        resolve_model(str(tmp_path / "tiny")), Cell(backend="onnx", precision="fp32", recipe="plain", device="cpu")
    )

    async def start() -> tuple[list[str], embed_pb2.Status]:
        engine = start_engine("--model", str(tmp_path / "tiny"), "--backend", "onnx", "--tune").wait_ready()
        async with EmbedClient(engine.address) as client:
            status = await client.control.GetStatus(embed_pb2.GetStatusRequest())
        engine.close_stdin()
        assert engine.wait() == 0
        return [event["message"] for event in engine.events if "measuring" in event.get("message", "")], status

    steps, first = await start()
    assert steps
    assert first.plan.texts_per_s > 0
    assert (first.effective.instances, first.effective.threads) == (first.plan.instances, first.plan.threads)
    assert first.batching.max_batch_tokens == first.plan.max_batch_tokens
    steps, second = await start()
    assert not steps, "what was measured is remembered"
    assert second.plan == first.plan
