"""Sweep specifications: TOML files of axes, checked and expanded into points. Errors name the line and the key."""

import difflib
import hashlib
import itertools
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from console.load.corpora import GENERATED_CORPORA, CorpusError, load_corpus
from console.measure.spec import RunSpec
from console.model.durations import MAX_DURATION_S, parse_duration_s
from console.model.engine import Deployment
from console.model.errors import CommandRefused
from console.model.load import LoadSpec
from console.model.toml_lines import line_of, toml_error_message
from console.session.load import check_load
from console.sweep.point import SweepPoint, repeated

PRESETS = ("quick", "seed", "latency", "throughput")

MAX_POINTS = 10_000

_BACKENDS = ("torch", "onnx", "openvino")

_PRECISIONS = ("fp32", "bf16", "fp16", "tf32", "int8", "int4", "fp8")


class SpecError(Exception):
    """A specification cannot be used; the message names the place, the reason and the allowed values."""


@dataclass(frozen=True, slots=True)
class SweepSpec:
    """A checked specification. `points` are in the order of the grid and include the repeats."""

    name: str
    seed: int
    repeats: int
    points: tuple[SweepPoint, ...]
    text: str
    """The TOML source."""
    fidelity: bool = False
    """Measures the fidelity to fp32 once per deployment."""


def read_spec(path: Path) -> SweepSpec:
    """Reads a specification; its default name is the file's. Raises SpecError."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        hint = f"; --preset has {', '.join(PRESETS)}" if not path.exists() else ""
        raise SpecError(f"{path} cannot be read: {error.strerror or error}{hint}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is not UTF-8 (offset {error.start}): save it as UTF-8") from error
    return parse_spec(text, str(path), path.stem)


def preset(name: str) -> SweepSpec:
    """Returns one of PRESETS by name."""
    text = files("console.sweep").joinpath("presets", f"{name}.toml").read_text("utf-8")
    return parse_spec(text, f"preset {name}", name)


def parse_spec(text: str, source: str, name: str) -> SweepSpec:
    """Parses a specification. `source` is the prefix of every error. Raises SpecError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(toml_error_message(str(error), source, text.splitlines())) from error
    return _Parser(text, source).spec(document, name)


# ---- checks: each returns the value, or raises ValueError with the allowed values


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("write a text in quotes")


def _truth(value: Any) -> bool:
    if value in ("on", "off"):
        return bool(value == "on")
    if isinstance(value, bool):
        return value
    raise ValueError("write true or false")


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"choose among {', '.join(allowed)}")
        return str(value)

    return check


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"write a whole number from {least:,} to {most:,}")
        return value

    return check


def _auto_or(most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        try:
            return 0 if value == "auto" else _whole(1, most)(value)
        except ValueError:
            raise ValueError(f'write "auto" or a whole number from 1 to {most}') from None

    return check


def _number(least: float, most: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"write a number from {least:g} to {most:,.0f}")
        return float(value)

    return check


def _seconds(least_s: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        try:
            seconds = parse_duration_s(str(value))
        except ValueError:
            seconds = -1.0
        if not least_s <= seconds <= MAX_DURATION_S:
            raise ValueError(f'write a time from {least_s:g}s to 2h, as in "10s" or "2m"')
        return seconds

    return check


def _corpus(value: Any) -> str:
    name = _text(value)
    if name not in GENERATED_CORPORA:
        try:
            load_corpus(name)
        except CorpusError as error:
            raise ValueError(str(error)) from error
    return name


_SETTINGS: Mapping[str, tuple[Callable[[Any], Any], Any]] = {
    "name": (_text, ""),
    "seed": (_whole(0, 2**32), 0),
    "repeats": (_whole(1, 100), 1),
    "duration": (_seconds(1.0), 10.0),
    "warm_up": (_seconds(0.0), 3.0),
    "slo_p95_ms": (_number(0.001, 3_600_000), None),
    "model": (_text, ""),
    "device": (_text, ""),
    "strict": (_truth, False),
    "fidelity": (_truth, False),
}
"""Settings of the whole sweep: check and default."""

_AXES: Mapping[str, tuple[Callable[[Any], Any], Any]] = {
    "backends": (_one_of(*_BACKENDS), ""),
    "precisions": (_one_of(*_PRECISIONS), ""),
    "recipes": (_text, ""),
    "instances": (_auto_or(64), 0),
    "threads": (_auto_or(256), 0),
    "max_batch_tokens": (_whole(1, 2**31), None),
    "max_wait_ms": (_number(0, 1000), None),
    "coalescing": (_truth, None),
    "batch": (_whole(1, 100_000), 32),
    "concurrency": (_whole(1, 4096), 4),
    "rate": (_number(0, 100_000), 0.0),
    "arrival": (_one_of("poisson", "constant"), "poisson"),
    "workload": (_one_of("texts", "pairs"), "texts"),
    "corpus": (_corpus, "short"),
    "stream": (_truth, False),
}
"""Axes of a grid: check and default. An axis is a value or a list; the grid is the product of its axes."""


class _Parser:
    """Parses one document into a specification."""

    def __init__(self, text: str, source: str) -> None:
        self._lines = text.splitlines()
        self._source = source

    def spec(self, document: dict[str, Any], name: str) -> SweepSpec:
        grids = document.pop("grid", None)
        if grids is None:
            self._refuse_misspelt_grid(document)
        if isinstance(grids, dict):
            grids = [grids]
        if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
            raise SpecError(f'{self._source}: it has no [grid]: write one, with axes such as backends = ["onnx"]')
        settings = self._settings(document)
        points: list[SweepPoint] = []
        for number, grid in enumerate(grids):
            points += self._grid(grid, number, settings)
        repeats = settings["repeats"]
        points = repeated(points, repeats)
        if len(points) > MAX_POINTS:
            raise SpecError(
                f"{self._source}: {len(points):,} cells, at most {MAX_POINTS:,} are allowed: shorten an axis"
            )
        return SweepSpec(
            name=settings["name"] or name,
            seed=settings["seed"],
            repeats=repeats,
            points=tuple(points),
            text="\n".join(self._lines) + "\n",
            fidelity=settings["fidelity"],
        )

    def _refuse_misspelt_grid(self, document: Mapping[str, Any]) -> None:
        for key, value in document.items():
            if isinstance(value, (dict, list)) and difflib.get_close_matches(key, ["grid"]):
                raise SpecError(f"{self._where(key, 0, '')}: no such table: did you mean [grid]?")

    def _settings(self, document: Mapping[str, Any]) -> dict[str, Any]:
        for key in document:
            if key not in _SETTINGS:
                also = "; axes belong below [grid]" if key in _AXES else ""
                raise self._error("", 0, key, f"no such setting{also}", _SETTINGS)
        return {
            key: self._checked("", 0, key, check, document[key]) if key in document else default
            for key, (check, default) in _SETTINGS.items()
        }

    def _grid(self, grid: Mapping[str, Any], number: int, settings: Mapping[str, Any]) -> list[SweepPoint]:
        axes: dict[str, list[Any]] = {}
        for key in grid:
            if key not in _AXES:
                raise self._error("grid", number, key, "no such axis", _AXES)
        for key, (check, default) in _AXES.items():
            values = grid.get(key, [default]) if isinstance(grid.get(key, []), list) else [grid[key]]
            if not values:
                raise self._error("grid", number, key, "an empty list: give at least one value, or leave the key out")
            given = key in grid
            axes[key] = [self._checked("grid", number, key, check, value) if given else value for value in values]
        try:
            return [
                _point(dict(zip(axes, values, strict=True)), settings) for values in itertools.product(*axes.values())
            ]
        except CommandRefused as refusal:
            raise SpecError(f"{self._where('grid', number, '')}: {refusal}") from refusal

    def _checked(self, table: str, number: int, key: str, check: Callable[[Any], Any], value: Any) -> Any:
        try:
            return check(value)
        except ValueError as error:
            raise self._error(table, number, key, f"{value!r}: {error}") from error

    def _error(self, table: str, number: int, key: str, why: str, known: Mapping[str, Any] | None = None) -> SpecError:
        near = difflib.get_close_matches(key, known or (), 1)
        hint = f": did you mean {near[0]}?" if near else f": known are {', '.join(known)}" if known else ""
        return SpecError(f"{self._where(table, number, key)}: {why}{hint}")

    def _where(self, table: str, number: int, key: str) -> str:
        name = ".".join(part for part in (table, key) if part)
        line = line_of(self._lines, table, number, key)
        return f"{self._source}, line {line}, {name}" if line else f"{self._source}, {name}"


def _point(values: Mapping[str, Any], settings: Mapping[str, Any]) -> SweepPoint:
    """Returns the point with one value of each axis. Raises CommandRefused for an invalid load."""
    target = Deployment(
        backend=values["backends"],
        precision=values["precisions"],
        recipe=values["recipes"],
        device=settings["device"],
        model=settings["model"],
        instances=values["instances"],
        threads=values["threads"],
    )
    load = LoadSpec(
        batch=values["batch"],
        concurrency=1 if values["rate"] else values["concurrency"],
        workload=values["workload"],
        corpus=values["corpus"],
        stream=values["stream"],
        seed=settings["seed"],
        rate=values["rate"],
        arrival=values["arrival"],
    )
    check_load(load)
    return SweepPoint(
        run=RunSpec(load, settings["duration"], settings["warm_up"], settings["slo_p95_ms"]),
        target=target,
        strict=settings["strict"],
        coalesce=values["coalescing"],
        max_batch_tokens=values["max_batch_tokens"],
        max_wait_ms=values["max_wait_ms"],
        corpus_sha256=_file_hash(load.corpus),
    )


def _file_hash(corpus: str) -> str:
    if corpus in GENERATED_CORPORA:
        return ""
    path = Path(corpus).expanduser()
    return _sha256(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _sha256(path: Path, _changed_ns: int) -> str:
    """Hashes the file once for all points; the modification time in the cache key detects changes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
