"""The last measurements of each cell on this machine, kept in the user's cache: texts/s and fidelity."""

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
class Measurement:
    """The last figures of a cell; None: not measured."""

    texts_per_s: float | None = None
    fidelity: Mapping[str, Any] | None = None
    """The JSON object of `engine fidelity --json`."""
    loaded_cosine: float | None = None
    """Mean cosine to fp32 on the few texts that verify every load."""

    @property
    def mean_cosine(self) -> float | None:
        """Mean cosine to fp32 of the fidelity measurement; without one, `loaded_cosine`."""
        return self.loaded_cosine if self.fidelity is None else float(self.fidelity["cosine"]["mean"])


class MeasurementStore:
    """The file with the measurements of one model in one environment.

    If the file is lost, cells are measured again: no operation here raises for a cache that cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def of(cls, model_fingerprint: str, environment: str) -> "MeasurementStore":
        """Returns the store of a model in an environment (`environment_hash`): other ones have files of their own."""
        return cls(cache_root() / "measured" / f"{model_fingerprint[:16]}-{environment[:16]}.json")

    def read(self) -> dict[Cell, Measurement]:
        """Returns the last figures of every cell, without damaged entries."""
        measurements = {}
        for key, row in rows_in(read_json(self._path), "cells", _FORMAT).items():
            with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):  # a damaged key or row
                measurements[_cell(key)] = _parse(row)
        return measurements

    def write(self, cell: Cell, **figures: Any) -> None:
        """Replaces the given figures of a cell, named as in Measurement, and keeps the other ones."""
        key = _key(cell)

        def change(content: Mapping[str, Any]) -> Mapping[str, Any]:
            rows = rows_in(content, "cells", _FORMAT)
            old = rows.get(key)
            row = {**(old if isinstance(old, dict) else {}), **figures, "at_unix_s": round(time.time())}
            return {"format": _FORMAT, "cells": {**rows, key: row}}

        with contextlib.suppress(OSError):  # a read-only cache: the caller reports the figures anyway
            update_json(self._path, change)


def _key(cell: Cell) -> str:
    """Returns the key of a cell's entry. Its parts and their order are part of the file's format."""
    return "/".join((cell.backend, cell.precision, cell.device, cell.recipe))


def _cell(key: str) -> Cell:
    """Returns the cell of an entry. Raises ValueError for a key that `_key` does not make."""
    backend, precision, device, recipe = key.split("/")
    return Cell(backend=backend, precision=precision, device=device, recipe=recipe)


def _parse(row: Mapping[str, Any]) -> Measurement:
    """Raises AttributeError, KeyError, TypeError or ValueError for a damaged row."""
    fidelity = row.get("fidelity")
    if fidelity is not None:
        float(fidelity["cosine"]["mean"])
    return Measurement(_number(row.get("texts_per_s")), fidelity, _number(row.get("loaded_cosine")))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
