"""The capability table compared with the engine: a cell's entry is what a switch to it results in."""

from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from engine.api import embed_pb2
from engine.api.client import EmbedClient
from engine.backends.base import Cell
from engine.backends.recipes import RECIPES
from engine.capabilities.probe_child import tiny_model
from engine.deployment.load import MINIMUM_COSINE
from engine.models.resolve import resolve_model
from tests.support.engine_process import EngineProcess
from tests.support.patience import HANGS_AFTER_S
from tests.support.prepared import prepare_here

TEXTS = ["the kettle has been boiling", "a savings account", "clover between the rows of maize", "two goats", "hello."]


async def switch(client: EmbedClient, cell: embed_pb2.CapabilityCell, *, strict: bool) -> embed_pb2.SwitchEvent:
    """The last event."""
    target = embed_pb2.Deployment(
        backend=cell.backend, precision=cell.precision, device=cell.device, recipe=cell.recipe
    )
    async for event in client.control.Switch(
        embed_pb2.SwitchRequest(target=target, strict=strict), timeout=HANGS_AFTER_S
    ):
        last = event
    return last


def words(deployment: embed_pb2.Deployment | embed_pb2.CapabilityCell) -> tuple[str, str, str, str]:
    return deployment.backend, deployment.precision, deployment.device, deployment.recipe


async def refused(client: EmbedClient, cell: embed_pb2.CapabilityCell, *, strict: bool) -> str:
    """The engine's reason."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await switch(client, cell, strict=strict)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    return caught.value.details() or ""


@pytest.mark.timeout(600)
async def test_every_cell_of_this_machine_becomes_what_the_table_says(
    start_engine: Callable[..., EngineProcess], tmp_path: Path
) -> None:
    tiny_model(tmp_path / "tiny")
    files = resolve_model(str(tmp_path / "tiny"))
    for recipe in RECIPES:
        if recipe.device == "cpu":
            prepare_here(
                files, Cell(backend=recipe.backend, precision=recipe.precision, recipe=recipe.name, device="cpu")
            )
    engine = start_engine("--model", str(tmp_path / "tiny"), "--backend", "torch", "--instances", "1").wait_ready()
    async with EmbedClient(engine.address) as client:
        exact = await client.embed(TEXTS)
        cells = (await client.control.GetCapabilities(embed_pb2.GetCapabilitiesRequest())).cells
        built = {(recipe.backend, recipe.precision, recipe.name) for recipe in RECIPES if recipe.device == "cpu"}
        assert built == {(cell.backend, cell.precision, cell.recipe) for cell in cells if cell.recipe}
        for cell in cells:
            if cell.state == embed_pb2.UNAVAILABLE:
                assert cell.reason in await refused(client, cell, strict=False)
                continue
            last = await switch(client, cell, strict=False)
            assert words(last.effective) == words(cell.effective)
            assert [warning.message for warning in last.warnings] == ([cell.reason] if cell.reason else [])
            status = await client.control.GetStatus(embed_pb2.GetStatusRequest())
            assert words(status.effective) == words(cell.effective)
            assert status.evidence
            cosines = np.sum(await client.embed(TEXTS) * exact, axis=1)
            assert cosines.mean() >= MINIMUM_COSINE[cell.effective.precision]
            if cell.state == embed_pb2.FALLS_BACK:
                assert cell.reason in await refused(client, cell, strict=True)
            else:
                assert words(cell.effective) == (cell.backend, cell.precision, cell.device, cell.recipe)
        known = (await client.control.GetCapabilities(embed_pb2.GetCapabilitiesRequest())).cells
        (first,) = (cell for cell in known if words(cell) == ("torch", "fp32", "cpu", "plain"))
        assert first.probe == embed_pb2.PASSED, "what was loaded needs no probe of its own"
    engine.close_stdin()
    assert engine.wait() == 0, "all runtimes in one process end in order"


async def test_a_recipe_that_does_not_exist_is_refused_with_those_that_do(client: EmbedClient) -> None:
    known = embed_pb2.CapabilityCell(backend="onnx", precision="fp32", recipe="magic")
    assert "choose one of plain" in await refused(client, known, strict=False)
