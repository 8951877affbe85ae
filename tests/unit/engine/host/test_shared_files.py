"""Shared JSON files lose no entry to a second writer, and a damaged file or entry is no error."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from engine.backends.base import Cell
from engine.capabilities.measurements import MeasurementStore
from engine.capabilities.probes import Probe, ProbeCache, ProbeResult
from engine.host import json_file
from engine.host.cache import FileHashes
from engine.host.json_file import read_json, update_json
from engine.host.machine import PlatformFacts
from engine.tuning.plan import PlanCache, ServingPlan

FACTS = PlatformFacts("linux-x86_64", "linux", "x86_64", packages={"torch": "2", "onnxruntime": "1"}, cores=4)
CELLS = (
    Cell(backend="onnx", precision="fp32", device="cpu", recipe="plain"),
    Cell(backend="torch", precision="fp32", device="cpu", recipe="plain"),
)
PLAN = ServingPlan(2, 2, 768, 96, 9, texts_per_s=900.0)
LIMIT_S = 20
"""Far more than any test here takes, so that a hanging one fails."""
DAMAGED_ENTRIES: tuple[Any, ...] = (
    None, 7, "text", [], {}, {"result": "unknown"}, {"instances": "two", "more": 1}, {"fidelity": 3},
    {"texts_per_s": "many"}, {"result": "passed"}, {"fidelity": {"cosine": {}}},
)  # fmt: skip


@dataclass(frozen=True)
class Shared:
    """A shared file: how to write entry 0 or 1, and which of them can be read."""

    path: Path
    write: Callable[[int], object]
    readable: Callable[[], set[int]]


def plans(folder: Path) -> Shared:
    cache = PlanCache(FACTS)
    return Shared(
        next_file(folder / "plans", lambda: cache.write(CELLS[0], "", PLAN)),
        lambda which: cache.write(CELLS[which], "", PLAN),
        lambda: {which for which in (0, 1) if cache.find(CELLS[which], "") == PLAN},
    )


def probes(folder: Path) -> Shared:
    cache, passed = ProbeCache(FACTS), Probe(ProbeResult.PASSED, "3 of 3")
    return Shared(
        next_file(folder / "probes", lambda: cache.add(CELLS[0], passed)),
        lambda which: cache.add(CELLS[which], passed),
        lambda: {which for which in (0, 1) if CELLS[which] in cache.read(CELLS)},
    )


def measured(folder: Path) -> Shared:
    store = MeasurementStore.of("f" * 64, "e" * 64)
    return Shared(
        next_file(folder / "measured", lambda: store.write(CELLS[0], texts_per_s=9.0)),
        lambda which: store.write(CELLS[which], texts_per_s=9.0),
        lambda: {which for which in (0, 1) if CELLS[which] in store.read()},
    )


def hashes(folder: Path) -> Shared:
    files = [folder / "zero.bin", folder / "one.bin"]
    for file in files:
        file.write_bytes(file.name.encode())

    def readable() -> set[int]:
        rows = read_json(folder / "hashes.json")
        return {which for which in (0, 1) if isinstance(rows.get(str(files[which].resolve())), list)}

    return Shared(folder / "hashes.json", lambda which: FileHashes(folder).sha256(files[which]), readable)


def next_file(folder: Path, write: Callable[[], None]) -> Path:
    """The path of the file that `write` creates; the file is removed again."""
    write()
    (path,) = folder.glob("*.json")
    path.unlink()
    return path


@pytest.fixture(params=[plans, probes, measured, hashes], ids=lambda kind: kind.__name__)
def shared(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shared:
    monkeypatch.setenv("EMBEDCONSOLE_CACHE", str(tmp_path))
    kind: Callable[[Path], Shared] = request.param
    return kind(tmp_path)


def test_neither_of_two_concurrent_writers_loses_its_entry(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    writing, other_waits_or_is_done = threading.Event(), threading.Event()
    replace = Path.replace

    def gated(path: Path, target: Path) -> Path:
        if not writing.is_set():  # the first writer has read the file and is about to replace it
            writing.set()
            assert other_waits_or_is_done.wait(LIMIT_S)
        return replace(path, target)

    class Watched(FileLock):
        def acquire(self, *args: Any, **kwargs: Any) -> Any:
            if writing.is_set():
                other_waits_or_is_done.set()
            return super().acquire(*args, **kwargs)

    def write_second() -> None:
        shared.write(1)
        other_waits_or_is_done.set()

    monkeypatch.setattr(Path, "replace", gated)
    monkeypatch.setattr(json_file, "FileLock", Watched)
    first = threading.Thread(target=shared.write, args=(0,))
    first.start()
    assert writing.wait(LIMIT_S)
    second = threading.Thread(target=write_second)
    second.start()
    first.join(LIMIT_S)
    second.join(LIMIT_S)
    assert shared.readable() == {0, 1}


def test_a_damaged_entry_is_no_error_and_does_not_affect_other_entries(shared: Shared) -> None:
    shared.write(0)
    rows = rows_of(shared.path)
    (key,) = rows
    for damaged in DAMAGED_ENTRIES:
        replace_rows(shared.path, {**rows, f"{key}x": damaged, "no/such/cell": damaged})
        assert shared.readable() == {0}
        shared.write(1)
        assert shared.readable() == {0, 1}
        replace_rows(shared.path, {key: damaged})
        shared.readable()  # a damaged entry is no error
        shared.write(1)
        assert 1 in shared.readable()


DAMAGED_FILES = {
    "empty": "", "cut": "{damaged", "list": "[]", "null": "null", "no plans": '{"format": 3}', "no text": "\x00\xff",
    "cells are a list": '{"format": 1, "cells": [1]}', "plans are text": '{"format": 3, "plans": "none"}',
    "too deep": "[" * 100_000,
}  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED_FILES.values(), ids=list(DAMAGED_FILES))
def test_a_damaged_file_is_treated_as_missing_and_is_written_again(shared: Shared, content: str) -> None:
    shared.path.write_bytes(content.encode("latin-1"))
    assert shared.readable() == set()
    shared.write(0)
    shared.write(1)
    assert shared.readable() == {0, 1}


def test_a_file_that_is_temporarily_unreadable_is_not_replaced_by_an_empty_one(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.write(0)

    def unreadable(*_: object, **__: object) -> str:
        raise PermissionError("not now")

    with monkeypatch.context() as now:
        now.setattr(Path, "read_text", unreadable)
        write_or_refuse(shared, 1)
    assert 0 in shared.readable()


def test_a_failed_write_is_no_error_for_the_serving_process(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    shared.write(0)
    for fault in (PermissionError("read-only"), NotImplementedError("this file system has no locks")):

        class Refusing(FileLock):
            def acquire(self, *_: Any, fault: Exception = fault, **__: Any) -> Any:
                raise fault

        with monkeypatch.context() as now:
            now.setattr(json_file, "FileLock", Refusing)
            write_or_refuse(shared, 1)
        assert shared.readable() == {0}
    assert not list(shared.path.parent.glob(".writing-*"))


def write_or_refuse(shared: Shared, which: int) -> None:
    """Only the cache of plans raises OSError when it cannot write, because measuring a plan takes seconds."""
    if shared.path.parent.name != "plans":
        shared.write(which)
        return
    with pytest.raises(OSError, match=r"not now|read-only|no locks"):
        shared.write(which)


def test_a_failing_writer_leaves_the_file_unchanged_and_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    update_json(path, lambda rows: {**rows, "one": 1})
    with pytest.raises(TypeError):
        update_json(path, lambda rows: {**rows, "two": object()})
    assert read_json(path) == {"one": 1}
    assert {file.name for file in tmp_path.iterdir()} <= {"rows.json", "rows.lock"}


def rows_of(path: Path) -> dict[str, Any]:
    content = read_json(path)
    rows: dict[str, Any] = content.get("cells") or content.get("plans") or content
    return rows


def replace_rows(path: Path, rows: Mapping[str, Any]) -> None:
    content = read_json(path)
    section = next((name for name in ("cells", "plans") if name in content), None)
    path.write_text(json.dumps({**content, section: rows} if section else rows), "utf-8")
