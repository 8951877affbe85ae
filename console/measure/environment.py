"""The environment of a measurement, with a content hash: machine, libraries, model and git revision."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from console.model.engine import Engine
from console.store.rows import content_hash

_GIT_TIMEOUT_S = 5.0


def environment(engine: Engine, folder: Path | None = None) -> dict[str, Any]:
    """Returns the `environment` object of `run --json`: the engine's machine if the engine reports it, else this one.

    `hash` covers everything except the evidence, which belongs to the deployment. `git` describes the working folder.
    """
    machine, model = engine.machine, engine.model
    facts: dict[str, Any] = {
        "platform": machine.system or platform.platform(),
        "machine": machine.platform or platform.machine(),
        "host_name": machine.host_name,
        "cpu_model": engine.cpu_model,
        "cpu_flags": list(machine.isa),
        "cores": engine.cores,
        "governor": machine.governor or None,
        "memory_bytes": machine.memory_bytes or None,
        "gpu": {"model": machine.gpu_model, "driver": machine.gpu_driver} if machine.gpu_model else None,
        "python": machine.python or platform.python_version(),
        "embedconsole": version("embedconsole"),
        "libraries": dict(machine.packages),
        "git": git_revision(folder or Path.cwd()),
        "model": {
            "id": model.id,
            "dim": model.dim,
            "max_tokens": model.max_tokens,
            "pooling": model.pooling,
            "normalize": model.normalize,
            "weights_sha256": model.weights_sha256,
            "fingerprint": model.fingerprint,
        },
    }
    return {"hash": content_hash(facts), **facts, "evidence": engine.evidence}


@cache
def git_revision(folder: Path) -> dict[str, Any] | None:
    """Returns the commit checked out in the folder and whether files differ from it; None outside a repository."""
    revision = _git(folder, "rev-parse", "HEAD")
    if not revision:
        return None
    return {"revision": revision, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def _git(folder: Path, *arguments: str) -> str:
    try:
        completed = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):  # git is missing, or the folder is not in a repository
        return ""
    return completed.stdout.strip()
