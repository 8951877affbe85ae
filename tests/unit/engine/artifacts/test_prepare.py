"""A prepare child may be killed, cancelled or started twice without leaving a partial artifact."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from engine.artifacts.prepare import Progress, prepare
from engine.artifacts.store import ArtifactStore, artifact_key
from engine.errors import CannotSwitch, ModelError
from engine.models.resolve import ModelFiles, resolve_model
from tests.support.patience import HANGS_AFTER_S
from tests.unit.engine.conftest import Prepared, fp32

Files = Callable[[str], ModelFiles]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def prepare_children() -> list[psutil.Process]:
    """The running ones: a zombie has no command line."""
    running = (child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE)
    return [child for child in running if "engine.artifacts.prepare_child" in child.cmdline()]


def partial(store: ArtifactStore) -> list[Path]:
    return list(store.root.glob(".building-*"))


async def test_a_killed_prepare_child_is_a_clear_error_leaves_nothing_and_a_retry_works(
    model_files: Files, store: ArtifactStore
) -> None:
    files = model_files("cls")

    def kill_when_it_has_begun(progress: Progress) -> None:
        if progress.done == 0:
            assert partial(store)
            for child in prepare_children():
                child.send_signal(signal.SIGKILL)

    with pytest.raises(CannotSwitch, match=r"ended by SIGKILL.*try again"):
        await prepare(files, fp32("torch"), store, kill_when_it_has_begun)
    assert not partial(store)
    seen: list[Progress] = []
    artifact = await prepare(files, fp32("torch"), store, seen.append)
    assert artifact.reference.vectors.shape == (len(artifact.reference.token_ids), files.card.dim)
    assert [step.done for step in seen] == list(range(seen[0].total)), "every step is reported, in order"
    seen.clear()
    assert (await prepare(files, fp32("torch"), store, seen.append)).path == artifact.path
    assert not seen, "the second call finds it in the store"


async def test_two_engines_that_prepare_the_same_cell_concurrently_build_it_once(
    model_files: Files, store: ArtifactStore
) -> None:
    seen: list[Progress] = []
    first, second = await asyncio.gather(
        *(prepare(model_files("cls"), fp32("torch"), store, seen.append) for _ in range(2))
    )
    assert first.path == second.path
    assert [step.name for step in seen].count("reference vectors") == 1


async def test_cancelling_ends_the_child_and_leaves_nothing(model_files: Files, store: ArtifactStore) -> None:
    begun = asyncio.Event()
    work = asyncio.create_task(prepare(model_files("cls"), fp32("onnx"), store, lambda _: begun.set()))
    await begun.wait()
    assert prepare_children()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert not prepare_children()
    assert not partial(store)


def test_a_prepare_child_whose_parent_is_gone_stops_and_cleans_up(model_files: Files, store: ArtifactStore) -> None:
    files, cell = model_files("cls"), fp32("onnx")
    job = {
        "path": str(files.path),
        "id": files.id,
        "fingerprint": files.fingerprint,
        "cell": asdict(cell),
        "store": str(store.root),
        "key": artifact_key(files, cell),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "engine.artifacts.prepare_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(job) + "\n")
        child.stdin.flush()
        assert json.loads(child.stdout.readline())["event"] == "phase"
        child.stdin.close()  # as the system does when the parent dies
        assert child.wait(HANGS_AFTER_S) == 130
    store.sweep()  # as the next engine does, in case a native call kept the child from cleaning up
    assert not partial(store)


async def test_a_corrupt_artifact_is_prepared_again_and_the_user_is_warned(
    model_files: Files, store: ArtifactStore, prepared: Prepared
) -> None:
    files, good = prepared("cls", "torch")
    copy = Path(shutil.copytree(good.path, store.path(good.path.name)))
    (copy / "reference.npy").write_bytes(b"")
    seen: list[Progress] = []
    artifact = await prepare(files, fp32("torch"), store, seen.append)
    assert "corrupt" in seen[0].warning
    assert "reference.npy" in seen[0].warning
    assert artifact.reference.token_ids == good.reference.token_ids


async def test_the_error_of_the_child_reaches_the_user(
    model_files: Files, store: ArtifactStore, tmp_path: Path
) -> None:
    files = model_files("cls")
    broken = tmp_path / "broken"
    shutil.copytree(files.path, broken)
    weights = broken / "config.json"
    weights.write_text(weights.read_text().replace('"bert"', '"no-such-architecture"'))
    with pytest.raises(ModelError, match="cannot be loaded by transformers"):
        await prepare(resolve_model(str(broken)), fp32("torch"), store, lambda _: None)
    assert not partial(store)
