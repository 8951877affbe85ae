"""`engine export`: prepares, lists and deletes artifacts."""

import asyncio
import sys
import time
from pathlib import Path

from engine.artifacts.calibration import calibration_from
from engine.artifacts.prepare import Progress, prepare
from engine.artifacts.store import ArtifactStore
from engine.backends.base import Cell
from engine.backends.recipes import recipe_of
from engine.capabilities.platform import this_platform
from engine.capabilities.resolve import resolve
from engine.errors import CannotSwitch, EngineError, InvalidRequest
from engine.exit_codes import ExitCode
from engine.host.os_errors import describe
from engine.host.reporting import Reporter
from engine.models.resolve import resolve_model


def prepare_artifact(
    *, backend: str, precision: str, recipe: str, device: str, calibration: Path | None, model: str
) -> int:
    """Prepares one cell, never a fallback, and prints the path of its artifact. Returns the exit code."""
    reporter = Reporter()
    started_s = time.monotonic()

    def report(progress: Progress) -> None:
        if progress.warning:
            reporter.log("warning", progress.warning)
            return
        reporter.phase(progress.name, f"{backend} {precision}", progress.done, progress.total)

    try:
        asked = Cell(backend=backend, precision=precision, device=device, recipe=recipe)
        cell, effective, notices = resolve(asked, this_platform(), strict=False)
        if effective != cell:
            raise CannotSwitch(f"{cell} is not prepared, because {effective} would run: {notices[0].message}")
        texts = calibration_from(calibration) if calibration else None
        if texts and not recipe_of(cell).calibrated:
            reporter.log("warning", f"{cell} {cell.recipe} is not calibrated: --calibration has no effect")
        files = resolve_model(model or None)
        artifact = asyncio.run(prepare(files, cell, ArtifactStore.default(), report, texts))
    except InvalidRequest as error:
        reporter.error("usage", str(error))
        return ExitCode.USAGE
    except OSError as error:
        reporter.error("failed", f"the artifact cannot be prepared: {describe(error)}")
        return ExitCode.FAILED
    except EngineError as error:
        reporter.error("failed", str(error))
        return ExitCode.FAILED
    reporter.log("info", f"{cell} {cell.recipe} is prepared ({time.monotonic() - started_s:.1f} s)")
    print(artifact.path, file=sys.stdout)
    return ExitCode.OK


def list_artifacts() -> str:
    """Returns one line per artifact, and the total."""
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
    """Deletes all artifacts. Returns a sentence with the freed space."""
    store = ArtifactStore.default()
    return f"freed {store.prune() / 1e6:.1f} MB in {store.root}"
