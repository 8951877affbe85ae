"""How close a deployment's vectors are to fp32's: cosine, neighbours, order of similarities, norms, and a grade."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InvalidRequest
from engine.scheduling import Scheduler, TokenIds, Vectors

BATCH = 32
CONCURRENCY = 4
"""Of the second pass, which catches what batching gets wrong: padding, order, mixed-up answers."""
FEWEST_TEXTS = 12
"""Ten neighbours of a text need eleven others."""
_Floats = NDArray[np.float32]


class Grade(StrEnum):
    """The figures in one word."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Limit:
    """What a grade asks for at least."""

    mean_cosine: float
    overlap_at_10: float

    def met_by(self, mean_cosine: float, overlap_at_10: float) -> bool:
        """Whether both figures are reached."""
        return mean_cosine >= self.mean_cosine and overlap_at_10 >= self.overlap_at_10


@dataclass(frozen=True, slots=True)
class GradeLimits:
    """Where green and amber end; below both it is red."""

    green: Limit = field(default_factory=lambda: Limit(0.995, 0.92))
    amber: Limit = field(default_factory=lambda: Limit(0.98, 0.85))


@dataclass(frozen=True, slots=True)
class Cosines:
    """Of each text's vector to its fp32 vector."""

    mean: float
    p1: float
    """The hundredth part of the texts is no closer than this."""
    min: float


@dataclass(frozen=True, slots=True)
class Reference:
    """What fp32 torch makes of the corpus: (n, dim) unit rows and (n,) norms, one text at a time.

    `batched_unit` is the same in batches of 32: how far fp32 is from itself is the floor below which nothing counts.
    """

    unit: _Floats
    norms: _Floats
    batched_unit: _Floats


@dataclass(frozen=True, slots=True)
class Fidelity:
    """The figures of one deployment on one corpus."""

    n: int
    cosine: Cosines
    overlap_at_1: float
    """Share of texts whose nearest neighbour is the one that fp32 finds."""
    overlap_at_10: float
    """Mean share of the ten nearest neighbours that fp32 finds too."""
    spearman: float
    """Rank correlation of all pairwise similarities with those of fp32."""
    norm_error: float
    """Mean relative difference of the vectors' lengths before normalising."""
    batched: Cosines
    noise_floor: Cosines
    grade: Grade

    def as_json(self) -> dict[str, Any]:
        """The contract of `engine fidelity --json`."""
        return {
            "n": self.n,
            "cosine": _rounded(self.cosine),
            "overlap_at_1": round(self.overlap_at_1, 4),
            "overlap_at_10": round(self.overlap_at_10, 4),
            "spearman": round(self.spearman, 5),
            "norm_error": float(f"{self.norm_error:.3g}"),
            "batched": {"cosine": _rounded(self.batched)},
            "noise_floor": {"cosine": _rounded(self.noise_floor)},
            "grade": self.grade.value,
        }


def _rounded(cosines: Cosines) -> dict[str, float]:
    return {name: round(value, 7) for name, value in asdict(cosines).items()}


def compare(reference: Reference, single: Vectors, batched: Vectors, limits: GradeLimits) -> Fidelity:
    """The figures, from a deployment's vectors of the same texts: one at a time, and in batches.

    Raises InvalidRequest for fewer than 12 texts.
    """
    n = len(reference.unit)
    if n < FEWEST_TEXTS:
        raise InvalidRequest(f"{n} different texts are too few to judge by: give at least {FEWEST_TEXTS}")
    theirs, ours = reference.unit @ reference.unit.T, single.unit @ single.unit.T
    cosine, overlap = _cosines(reference.unit, single.unit), _overlap(theirs, ours, 10)
    green, amber = (limit.met_by(cosine.mean, overlap) for limit in (limits.green, limits.amber))
    return Fidelity(
        n=n,
        cosine=cosine,
        overlap_at_1=_overlap(theirs, ours, 1),
        overlap_at_10=overlap,
        spearman=_spearman(theirs, ours),
        norm_error=float(np.mean(np.abs(single.norms - reference.norms) / np.maximum(reference.norms, 1e-12))),
        batched=_cosines(reference.unit, batched.unit),
        noise_floor=_cosines(reference.unit, reference.batched_unit),
        grade=Grade.GREEN if green else Grade.AMBER if amber else Grade.RED,
    )


def _cosines(left: _Floats, right: _Floats) -> Cosines:
    found = np.einsum("nd,nd->n", left, right, dtype=np.float64)
    return Cosines(float(found.mean()), float(np.percentile(found, 1, method="lower")), float(found.min()))


def _overlap(theirs: _Floats, ours: _Floats, k: int) -> float:
    """Mean share of each row's k nearest others that both similarity matrices agree on."""
    wanted, found = _nearest(theirs, k), _nearest(ours, k)
    return float(np.mean([len(set(a) & set(b)) for a, b in zip(wanted.tolist(), found.tolist(), strict=True)])) / k


def _nearest(similarities: _Floats, k: int) -> NDArray[np.intp]:
    others = similarities.copy()
    np.fill_diagonal(others, -np.inf)
    nearest: NDArray[np.intp] = np.argpartition(-others, k - 1, axis=1)[:, :k]
    return nearest


def _spearman(theirs: _Floats, ours: _Floats) -> float:
    """Of the similarities above the diagonal; ties, which floats hardly have, count in the order they come."""
    above = np.triu_indices(len(theirs), k=1)
    return float(np.corrcoef(_ranks(theirs[above]), _ranks(ours[above]))[0, 1])


def _ranks(values: _Floats) -> NDArray[np.float64]:
    ranks = np.empty(len(values), np.float64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


async def run_through(
    scheduler: Scheduler, texts: Sequence[TokenIds], on_done: Callable[[int], None]
) -> tuple[Vectors, Vectors]:
    """Every text through the real queue: one at a time; then, shuffled, 32 to a request and 4 requests at a time.

    `on_done` is told the number of texts done, up to twice their count. Raises what the scheduler raises.
    """
    rows = []
    for done, text in enumerate(texts, start=1):
        rows.append((await scheduler.submit([text])).vectors)
        on_done(done)
    single = Vectors(np.concatenate([row.unit for row in rows]), np.concatenate([row.norms for row in rows]))
    batched = Vectors(np.zeros_like(single.unit), np.zeros_like(single.norms))
    order = np.random.default_rng(0).permutation(len(texts))  # lengths mixed: requests that need padding
    requests = iter([order[start : start + BATCH] for start in range(0, len(order), BATCH)])
    finished = len(texts)

    async def call() -> None:
        nonlocal finished
        for chosen in requests:
            vectors = (await scheduler.submit([texts[index] for index in chosen])).vectors
            batched.unit[chosen], batched.norms[chosen] = vectors.unit, vectors.norms
            finished += len(chosen)
            on_done(finished)

    async with asyncio.TaskGroup() as callers:
        for _ in range(CONCURRENCY):
            callers.create_task(call())
    return single, batched
