"""`engine export`: prepares artifacts ahead of time, lists them, deletes them."""

import asyncio
import sys

from engine.backends.artifacts import ArtifactStore
from engine.backends.base import Cell
from engine.backends.prepare import Progress, prepare
from engine.errors import EngineError
from engine.model import resolve_model
from engine.reporting import Reporter

EXIT_FAILED = 5


def prepare_artifact(backend: str, precision: str, model: str) -> int:
    """Prepares one cell and prints where it lies; the exit code."""
    reporter = Reporter()

    def report(progress: Progress) -> None:
        if progress.warning:
            reporter.log("warning", progress.warning)
            return
        reporter.phase(progress.name, f"{backend} {precision}", progress.done, progress.total)

    try:
        files = resolve_model(model or None)
        artifact = asyncio.run(prepare(files, Cell(backend, precision, "", "cpu"), ArtifactStore.default(), report))
    except EngineError as error:
        reporter.error("failed", str(error))
        return EXIT_FAILED
    print(artifact.path, file=sys.stdout)
    return 0


def list_artifacts() -> str:
    """What is prepared: one line each and the total."""
    store = ArtifactStore.default()
    rows = store.list()
    lines = []
    for row in rows:
        cell = row.about.get("cell", {})
        words = " ".join(filter(None, (cell.get("backend", "?"), cell.get("precision", "?"), cell.get("recipe", ""))))
        lines.append(f"{row.key[:12]}  {row.size_bytes / 1e6:8.1f} MB  {words:<24} {row.about.get('model', '')}")
    total_mb = sum(row.size_bytes for row in rows) / 1e6
    return "\n".join([*lines, f"{len(rows)} artifacts, {total_mb:.1f} MB in {store.root}"])


def prune_artifacts() -> str:
    """Deletes everything prepared, and says how much that was."""
    store = ArtifactStore.default()
    return f"freed {store.prune() / 1e6:.1f} MB in {store.root}"
