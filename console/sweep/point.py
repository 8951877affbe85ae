"""A point of a sweep's grid: one run on one deployment, with a hash of its content; order and expected duration."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from random import Random
from typing import Any

from console.analysis.differences import flatten
from console.measure.spec import RunSpec
from console.model.engine import Deployment, EngineSpec
from console.model.load import LoadSpec
from console.store.rows import content_hash

STOP_AND_START_S = 1.0
"""Estimated time per point to stop one load and start the next. Replaced by the sweep's own times once known."""
SWITCH_S = 5.0
FIDELITY_S = 10.0
"""Estimated times of a switch and of measuring fidelity. Replaced by the sweep's own times once known."""


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """What to measure on which deployment. An empty field or None leaves the choice to the engine."""

    run: RunSpec
    target: Deployment = field(default_factory=Deployment)
    strict: bool = False
    coalesce: bool | None = None
    max_batch_tokens: int | None = None
    max_wait_ms: float | None = None
    repeat: int = 0
    corpus_sha256: str = ""
    """Hash of a corpus file, because other texts are another measurement; empty for a generated corpus."""

    @property
    def hash(self) -> str:
        """Content hash of the fields that differ from the default point, so that new fields keep existing hashes."""
        fields, defaults = flatten(asdict(self)), flatten(asdict(_DEFAULT))
        return content_hash({name: value for name, value in fields.items() if value != defaults[name]})

    @property
    def knobs(self) -> dict[str, Any]:
        """The batching settings that the point sets, by the field names of `Batching`."""
        settings = {name: getattr(self, name) for name in ("coalesce", "max_batch_tokens", "max_wait_ms")}
        return {name: value for name, value in settings.items() if value is not None}

    @property
    def engine_spec(self) -> EngineSpec:
        """How to start an engine for the point; the batching settings are set on the running engine."""
        return EngineSpec(**asdict(self.target), strict=self.strict)

    @property
    def load_s(self) -> float:
        """Expected duration of its load, with warm-up."""
        return self.run.warm_up_s + self.run.duration_s


_DEFAULT = SweepPoint(RunSpec(LoadSpec()))


def in_order(points: Sequence[SweepPoint], seed: int) -> tuple[SweepPoint, ...]:
    """Returns the points in the order of measurement: grouped by deployment to save switches, otherwise shuffled.

    Each repeat is a separate pass, so that a drift of the machine does not affect one deployment alone.
    """
    random = Random(seed)  # noqa: S311 - an order, not a secret
    ordered: list[SweepPoint] = []
    for repeat in sorted({point.repeat for point in points}):
        groups: dict[tuple[Deployment, bool], list[SweepPoint]] = {}
        for point in points:
            if point.repeat == repeat:
                groups.setdefault((point.target, point.strict), []).append(point)
        targets = list(groups)
        random.shuffle(targets)
        for target in targets:
            random.shuffle(groups[target])
            ordered += groups[target]
    return tuple(ordered)


def repeated(points: Sequence[SweepPoint], repeats: int) -> list[SweepPoint]:
    """Returns each point `repeats` times, with its number in `repeat`. Equal points of several grids count once."""
    unique = list({point.hash: point for point in points}.values())
    return [replace(point, repeat=repeat) for repeat in range(repeats) for point in unique]


def expected_s(
    points: Sequence[SweepPoint],
    live: Deployment | None,
    overhead_s: float = STOP_AND_START_S,
    switch_s: float = SWITCH_S,
) -> float:
    """Returns the expected duration of the points in this order. `live` is the deployment requested last."""
    total_s = 0.0
    for point in points:
        total_s += point.load_s + overhead_s
        if point.target != live and (point.target != Deployment() or live is None):
            total_s += switch_s
            live = point.target
    return total_s
