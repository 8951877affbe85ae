"""The last measurements of each cell on this machine, kept in the user's cache: texts/s and fidelity."""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.backends.base import Cell
from engine.host.cache import cache_root
from engine.host.json_file import read_json, rows_in, update_json

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Peak:
    """The best throughput of a deployment over `window_s` seconds while it last served, with the load at that time."""

    texts_per_s: float
    window_s: float
    at_unix_s: float
    texts_per_request: float
    in_flight_requests: float
    """Mean over the window."""

    def __str__(self) -> str:
        day = datetime.fromtimestamp(self.at_unix_s).astimezone()
        load = f"{self.texts_per_request:.0f} texts a request and {self.in_flight_requests:.0f} in flight"
        return f"best {self.window_s:g} s: {self.texts_per_s:,.0f} texts/s with {load}, {day:%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """The last figures of a cell; None: not measured."""

    texts_per_s: float | None = None
    """The throughput of `peak`; in an entry of an older version it has no peak, and its load is not known."""
    fidelity: Mapping[str, Any] | None = None
    """The JSON object of `engine fidelity --json`."""
    loaded_cosine: float | None = None
    """Mean cosine to fp32 on the few texts that verify every load."""
    loaded_texts: int = 0
    """The number of those texts; 0: not known."""
    peak: Peak | None = None
    fidelity_at_unix_s: float = 0.0
    """When `fidelity` was measured; 0: not known."""

    @property
    def cosine_texts(self) -> int:
        """The number of texts behind `mean_cosine`; 0: not known."""
        return self.loaded_texts if self.fidelity is None else int(self.fidelity.get("n", 0))

    @property
    def cosine_text(self) -> str:
        """`mean_cosine` with its method and its number of texts; empty if it is not known."""
        if self.mean_cosine is None:
            return ""
        texts = f"{self.cosine_texts} texts" if self.cosine_texts else "a few texts"
        if self.fidelity is None:
            return f"cosine {self.mean_cosine:.5f} of {texts} when loaded"
        return f"fidelity {self.mean_cosine:.5f}, measured on {texts}"

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
            now = round(time.time())
            times = {"fidelity_at_unix_s": now} if "fidelity" in figures else {}
            row = {**(old if isinstance(old, dict) else {}), **figures, **times, "at_unix_s": now}
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
    peak = row.get("peak")
    return Measurement(
        texts_per_s=_number(row.get("texts_per_s")),
        fidelity=fidelity,
        loaded_cosine=_number(row.get("loaded_cosine")),
        loaded_texts=int(row.get("loaded_texts", 0)),
        peak=None if peak is None else Peak(**{field.name: float(peak[field.name]) for field in fields(Peak)}),
        fidelity_at_unix_s=float(row.get("fidelity_at_unix_s", 0.0)) if fidelity is not None else 0.0,
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
