"""What was last measured of each cell on this machine: texts/s and fidelity, kept in the user's cache."""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.backends.base import Cell
from engine.host.cache import cache_root
from engine.host.json_file import read_json, rows_in, update_json

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

    def read(self) -> dict[Cell, Measured]:
        """Every cell's last figures; a damaged entry is left out."""
        found = {}
        for key, row in rows_in(read_json(self._path), "cells", _FORMAT).items():
            with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):  # no cell, or no figures
                found[_cell(key)] = _measured(row)
        return found

    def write(self, cell: Cell, **figures: Any) -> None:
        """Replaces those figures of a cell, by the names of Measured, and leaves the others."""
        key = _key(cell)

        def change(found: Mapping[str, Any]) -> Mapping[str, Any]:
            rows = rows_in(found, "cells", _FORMAT)
            old = rows.get(key)
            row = {**(old if isinstance(old, dict) else {}), **figures, "at_unix_s": round(time.time())}
            return {"format": _FORMAT, "cells": {**rows, key: row}}

        with contextlib.suppress(OSError):  # a read-only cache: what was measured is printed all the same
            update_json(self._path, change)


def _key(cell: Cell) -> str:
    """The name of the cell's entry in the file. Its parts and their order are part of the format."""
    return "/".join((cell.backend, cell.precision, cell.device, cell.recipe))


def _cell(key: str) -> Cell:
    """The cell of an entry. Raises ValueError when the key is not one of `_key`."""
    backend, precision, device, recipe = key.split("/")
    return Cell(backend=backend, precision=precision, device=device, recipe=recipe)


def _measured(row: Mapping[str, Any]) -> Measured:
    """Raises AttributeError, KeyError, TypeError or ValueError for what is none."""
    fidelity = row.get("fidelity")
    if fidelity is not None:
        float(fidelity["cosine"]["mean"])
    return Measured(_number(row.get("texts_per_s")), fidelity, _number(row.get("loaded_cosine")))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
