"""What was last measured of each cell on this machine: texts/s and fidelity, kept in the user's cache."""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from engine.cache import cache_root
from engine.capabilities import Choice

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """The last figures of a cell; None where it was not measured yet."""

    texts_per_s: float | None = None
    fidelity: Mapping[str, Any] | None = None
    """As `engine fidelity --json` printed it."""
    loaded_cosine: float | None = None
    """Mean cosine to fp32 on the few texts that every loading is verified with."""

    @property
    def mean_cosine(self) -> float | None:
        """Of the fidelity's sequential pass; until that was measured, what loading found."""
        return self.loaded_cosine if self.fidelity is None else float(self.fidelity["cosine"]["mean"])


class MeasuredStore:
    """One small file for a machine and a model. Losing it costs a measurement, so it is never worth an error."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def of(cls, model_fingerprint: str, environment: str) -> "MeasuredStore":
        """The store of a model in an environment (probes.py): figures of another machine or version do not count."""
        return cls(cache_root() / "measured" / f"{model_fingerprint[:16]}-{environment[:16]}.json")

    def read(self) -> dict[Choice, Measured]:
        """Every cell's last figures."""
        return {
            Choice(*key.split("/")): Measured(row.get("texts_per_s"), row.get("fidelity"), row.get("loaded_cosine"))
            for key, row in self._rows().items()
        }

    def write(self, cell: Choice, **figures: Any) -> None:
        """Replaces those figures of a cell, by the names of Measured, and leaves the others."""
        with contextlib.suppress(OSError):  # a read-only cache: what was measured is printed all the same
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._path.with_suffix(".lock"), timeout=5):
                rows = self._rows()
                row = rows.setdefault("/".join((cell.backend, cell.precision, cell.device, cell.recipe)), {})
                row.update(figures, at_unix_s=round(time.time()))
                replace_json(self._path, {"format": _FORMAT, "cells": rows})

    def _rows(self) -> dict[str, dict[str, Any]]:
        found = read_json(self._path)
        return dict(found.get("cells", {})) if found.get("format") == _FORMAT else {}


def read_json(path: Path) -> dict[str, Any]:
    """The object in a cache file; empty when it is missing or damaged: then everything is measured again."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def replace_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a cache file in one step, so that a reader finds the old or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
    Path(temporary).replace(path)
