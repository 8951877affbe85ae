"""Artifacts are complete or absent, verified when read, and several processes may build the same one."""

from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import pytest

from engine.artifacts.reference_vectors import ReferenceVectors
from engine.artifacts.store import Artifact, ArtifactStore

KEY, OTHER = "a" * 64, "b" * 64
Publish = Callable[..., Artifact]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def fill(folder: Path) -> None:
    ReferenceVectors([[1, 2]], np.eye(1, 4, dtype=np.float32)).save(folder)
    (folder / "model.onnx").write_bytes(b"graph")


def names(store: ArtifactStore) -> list[str]:
    beside = ("locks", "hashes.json", "hashes.lock")
    return sorted(path.name for path in store.root.iterdir() if path.name not in beside)


def test_a_published_artifact_is_found_with_its_reference_vectors(store: ArtifactStore) -> None:
    assert store.find(KEY, pytest.fail) is None
    published = store.publish(KEY, fill, {"model": "m"}, pytest.fail)
    found = store.find(KEY, pytest.fail)
    assert found is not None
    assert found.path == published.path == store.path(KEY)
    assert found.reference.token_ids == [[1, 2]]
    assert found.reference.vectors.tolist() == [[1, 0, 0, 0]]


@pytest.mark.parametrize("content", [b"grap", b"GRAPH"], ids=["shorter", "same size, other bytes"])
def test_a_corrupt_artifact_is_removed_with_its_reason_and_can_be_built_again(
    store: ArtifactStore, content: bytes
) -> None:
    store.publish(KEY, fill, {}, pytest.fail)
    (store.path(KEY) / "model.onnx").write_bytes(content)
    reasons: list[str] = []
    assert store.find(KEY, reasons.append) is None
    assert len(reasons) == 1
    assert "corrupt" in reasons[0]
    assert "model.onnx" in reasons[0]
    assert names(store) == []
    assert store.publish(KEY, fill, {}, pytest.fail).path.exists()


@pytest.mark.parametrize("lost", ["manifest.json", "reference.npy"])
def test_a_missing_file_is_corruption_too(store: ArtifactStore, lost: str) -> None:
    store.publish(KEY, fill, {}, pytest.fail)
    (store.path(KEY) / lost).unlink()
    reasons: list[str] = []
    assert store.find(KEY, reasons.append) is None
    assert lost in reasons[0]


def test_pickled_vectors_are_never_unpickled(store: ArtifactStore) -> None:
    def fill_with_pickle(folder: Path) -> None:
        fill(folder)
        np.save(folder / "reference.npy", np.array([object()], dtype=object), allow_pickle=True)

    with pytest.raises(Exception, match="damaged"):
        store.publish(KEY, fill_with_pickle, {}, lambda _: None)


def test_a_failing_build_leaves_nothing_and_its_error_is_propagated(store: ArtifactStore) -> None:
    def fail(folder: Path) -> None:
        fill(folder)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.publish(KEY, fail, {}, pytest.fail)
    assert names(store) == []


def test_concurrent_builders_build_it_once_and_all_get_it(store: ArtifactStore) -> None:
    start, built, got = Barrier(4), [], []

    def build(folder: Path) -> None:
        built.append(folder)
        fill(folder)

    def publish() -> None:
        start.wait()
        got.append(ArtifactStore(store.root).publish(KEY, build, {}, pytest.fail).path)

    threads = [Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert got == [store.path(KEY)] * 4


def test_sweeping_removes_partial_artifacts_of_dead_processes_only(store: ArtifactStore) -> None:
    (store.root / f".building-{OTHER}").mkdir(parents=True)

    def sweep_meanwhile(folder: Path) -> None:
        store.sweep()
        assert names(store) == [folder.name]
        fill(folder)

    store.publish(KEY, sweep_meanwhile, {}, pytest.fail)
    assert names(store) == [KEY]


def test_artifacts_are_listed_and_pruned(store: ArtifactStore) -> None:
    store.publish(KEY, fill, {"model": "one"}, pytest.fail)
    store.publish(OTHER, fill, {"model": "two"}, pytest.fail)
    assert {row.key: row.about["model"] for row in store.list()} == {KEY: "one", OTHER: "two"}
    size_bytes = store.list()[0].size_bytes
    assert store.prune(keep={KEY}) == size_bytes > 0
    assert [row.key for row in store.list()] == [KEY]
