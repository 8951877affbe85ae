"""A sweep's cell: one point of its grid, everything that is asked for fixed, with a hash to know it again."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from random import Random
from typing import Any

from console.analysis.differences import flatten
from console.measure.run import RunSpec
from console.model.engine import Deployment, EngineSpec
from console.model.load import LoadSpec
from console.store.rows import content_hash

STOP_AND_START_S = 1.0
"""What a cell costs beside its own time: the load ends and the next begins."""
SWITCH_S = 5.0
FIDELITY_S = 10.0
"""Guesses for the first; afterwards the sweep knows its own."""


@dataclass(frozen=True, slots=True)
class SweepCell:
    """What to measure, on what. None and empty: as the engine has it or chooses it."""

    run: RunSpec
    target: Deployment = field(default_factory=Deployment)
    strict: bool = False
    coalesce: bool | None = None
    max_batch_tokens: int | None = None
    max_wait_ms: float | None = None
    repeat: int = 0
    corpus_sha256: str = ""
    """Of a corpus that is a file: other texts are another measurement."""

    @property
    def hash(self) -> str:
        """By content, and only by what differs from the plainest cell: new knobs leave old cells what they were."""
        asked, plain = flatten(asdict(self)), flatten(asdict(_PLAINEST))
        return content_hash({name: value for name, value in asked.items() if value != plain[name]})

    @property
    def knobs(self) -> dict[str, Any]:
        """The batching knobs that the cell asks for, by the names of `frame.Batching`."""
        asked = {name: getattr(self, name) for name in ("coalesce", "max_batch_tokens", "max_wait_ms")}
        return {name: value for name, value in asked.items() if value is not None}

    @property
    def engine_spec(self) -> EngineSpec:
        """How to start an engine for it; the knobs are set live."""
        return EngineSpec(**asdict(self.target), strict=self.strict)

    @property
    def load_s(self) -> float:
        return self.run.warm_up_s + self.run.duration_s


_PLAINEST = SweepCell(RunSpec(LoadSpec()))


def in_order(cells: Sequence[SweepCell], seed: int) -> tuple[SweepCell, ...]:
    """Cells of one deployment stay together, so that switches are few; all else is shuffled by the seed.

    Each repeat is a whole pass, so that a machine that drifts does not drift with one deployment.
    """
    chance = Random(seed)  # noqa: S311 - an order, not a secret
    ordered: list[SweepCell] = []
    for repeat in sorted({cell.repeat for cell in cells}):
        groups: dict[tuple[Deployment, bool], list[SweepCell]] = {}
        for cell in cells:
            if cell.repeat == repeat:
                groups.setdefault((cell.target, cell.strict), []).append(cell)
        targets = list(groups)
        chance.shuffle(targets)
        for target in targets:
            chance.shuffle(groups[target])
            ordered += groups[target]
    return tuple(ordered)


def repeated(cells: Sequence[SweepCell], repeats: int) -> list[SweepCell]:
    """Every cell that often, told apart by `repeat`; a cell that two grids have in common is measured once."""
    single = list({cell.hash: cell for cell in cells}.values())
    return [replace(cell, repeat=repeat) for repeat in range(repeats) for cell in single]


def expected_s(
    cells: Sequence[SweepCell], live: Deployment | None, beside_s: float = STOP_AND_START_S, switch_s: float = SWITCH_S
) -> float:
    """How long these cells will take in this order, when `live` is what was asked for last."""
    total_s = 0.0
    for cell in cells:
        total_s += cell.load_s + beside_s
        if cell.target != live and (cell.target != Deployment() or live is None):
            total_s += switch_s
            live = cell.target
    return total_s
