"""The contenders by name: `encode`, `infinity onnx`, `raw onnx int8`, `ours onnx int8`, `ours onnx int8 streamed`."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.backends.base import Cell
from engine.capabilities.resolve import report_cells
from engine.capabilities.rules import CellState
from engine.host.machine import PlatformFacts

BASE = "infinity onnx"
_MEMORY_NOT_SPEED = "int4"


@dataclass(frozen=True, slots=True)
class Contender:
    """A contender. `kind` is encode, infinity, raw or ours; `what` is infinity's engine or the cell."""

    kind: str
    what: str = ""
    cell: Cell | None = None
    streamed: bool = False
    fp32: bool = True
    usual: bool = True
    """Whether it takes part by default."""

    @property
    def name(self) -> str:
        """Its name in the table."""
        return " ".join(word for word in (self.kind, self.what, "streamed" if self.streamed else "") if word)

    @property
    def server(self) -> str:
        """Its server; contenders with the same server share a process."""
        return f"{self.kind} {self.what}".strip()

    @property
    def environment(self) -> str:
        """The virtual environment of a peer; empty for this engine. Engines of infinity need different libraries."""
        return self.server.replace(" ", "-") if self.kind in ("encode", "infinity") else ""


PEERS = (Contender("encode"), Contender("infinity", "torch"), Contender("infinity", "onnx"))


def contenders(facts: PlatformFacts) -> tuple[Contender, ...]:
    """Returns the peers, and every cell that runs as requested on the CPU: bare, unary and streamed.

    Recipes that are not the default of their cell, cells that are slow here, and int4, which saves memory and not time,
    do not take part by default.
    """
    found = list(PEERS)
    seen: set[tuple[str, str]] = set()
    for report in report_cells(facts):
        cell = report.asked
        if cell.device != "cpu" or not report.runs_as_asked:
            continue
        default = (cell.backend, cell.precision) not in seen  # the default recipe comes first
        seen.add((cell.backend, cell.precision))
        what = f"{cell.backend} {cell.precision}" + ("" if default else f" {cell.recipe}")
        usual = default and report.state is not CellState.SLOW and cell.precision != _MEMORY_NOT_SPEED
        fp32 = cell.precision == "fp32"
        found += [
            Contender("raw", what, cell, fp32=fp32, usual=usual),
            Contender("ours", what, cell, fp32=fp32, usual=usual),
            Contender("ours", what, cell, streamed=True, fp32=fp32, usual=usual),
        ]
    return tuple(found)


def choose(every: Sequence[Contender], only: str, base: str) -> tuple[Contender, ...]:
    """Returns the contenders whose name contains one of the comma-separated phrases; without any, the default ones.

    A contender that is not a default one needs a phrase with the full name of its cell. The base always takes part.
    Raises ValueError for a phrase or a base that matches no contender.
    """
    names = ", ".join(one.name for one in every)
    if base not in {one.name for one in every}:
        raise ValueError(f"there is no contender called {base!r}: {names}")
    phrases = [" ".join(phrase.split()) for phrase in only.split(",") if phrase.strip()]

    def matches(one: Contender, phrase: str) -> bool:
        return phrase in one.name and (one.usual or one.what in phrase)

    for phrase in phrases:
        if not any(matches(one, phrase) for one in every):
            raise ValueError(f"no contender has a name that contains {phrase!r}: {names}")
    return tuple(
        one
        for one in every
        if one.name == base or any(matches(one, phrase) for phrase in phrases) or (not phrases and one.usual)
    )
