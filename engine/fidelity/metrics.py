"""Fidelity metrics against fp32: cosine, nearest neighbours, rank correlation of similarities, norms, and a grade."""

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
"""Texts per request of the second pass."""
CONCURRENCY = 4
"""Concurrent requests of the second pass, which finds errors of batching: padding, order, vectors of other requests."""
MIN_TEXTS = 12
"""Each text needs at least ten neighbours."""
_Floats = NDArray[np.float32]


class Grade(StrEnum):
    """The figures as one word."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Limit:
    """The lowest figures of a grade."""

    mean_cosine: float
    overlap_at_10: float

    def met_by(self, mean_cosine: float, overlap_at_10: float) -> bool:
        """Whether both figures reach the limit."""
        return mean_cosine >= self.mean_cosine and overlap_at_10 >= self.overlap_at_10


@dataclass(frozen=True, slots=True)
class GradeLimits:
    """The limits of green and amber; below both the grade is red."""

    green: Limit = field(default_factory=lambda: Limit(0.995, 0.92))
    amber: Limit = field(default_factory=lambda: Limit(0.98, 0.85))


@dataclass(frozen=True, slots=True)
class Cosines:
    """Cosines of the texts' vectors to their fp32 vectors."""

    mean: float
    p1: float
    """1st percentile."""
    min: float


@dataclass(frozen=True, slots=True)
class Reference:
    """The vectors of the corpus from PyTorch in fp32."""

    unit: _Floats
    """(n, dim), unit rows, computed one text at a time."""
    norms: _Floats
    """(n,), the lengths of the vectors before normalising."""
    batched_unit: _Floats
    """(n, dim), unit rows, computed in batches of 32. Their cosines to `unit` are the noise floor of fp32 itself."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """The fidelity of one deployment on one corpus."""

    n: int
    cosine: Cosines
    overlap_at_1: float
    """Share of texts with the same nearest neighbour as in fp32."""
    overlap_at_10: float
    """Mean share of the ten nearest neighbours that are also among the ten in fp32."""
    spearman: float
    """Rank correlation of all pairwise similarities with those of fp32."""
    norm_error: float
    """Mean relative error of the vectors' lengths before normalising."""
    batched: Cosines
    noise_floor: Cosines
    grade: Grade

    def as_json(self) -> dict[str, Any]:
        """Returns the object that `engine fidelity --json` prints; its fields are part of the interface."""
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
    """Returns the figures of a deployment from its vectors of the same texts, one at a time and in batches.

    Raises InvalidRequest for fewer than MIN_TEXTS texts.
    """
    n = len(reference.unit)
    if n < MIN_TEXTS:
        raise InvalidRequest(f"{n} distinct texts are too few to measure fidelity: give at least {MIN_TEXTS}")
    expected, actual = reference.unit @ reference.unit.T, single.unit @ single.unit.T
    cosine, overlap = _cosines(reference.unit, single.unit), _overlap(expected, actual, 10)
    green, amber = (limit.met_by(cosine.mean, overlap) for limit in (limits.green, limits.amber))
    return Fidelity(
        n=n,
        cosine=cosine,
        overlap_at_1=_overlap(expected, actual, 1),
        overlap_at_10=overlap,
        spearman=_spearman(expected, actual),
        norm_error=float(np.mean(np.abs(single.norms - reference.norms) / np.maximum(reference.norms, 1e-12))),
        batched=_cosines(reference.unit, batched.unit),
        noise_floor=_cosines(reference.unit, reference.batched_unit),
        grade=Grade.GREEN if green else Grade.AMBER if amber else Grade.RED,
    )


def _cosines(left: _Floats, right: _Floats) -> Cosines:
    cosines = np.einsum("nd,nd->n", left, right, dtype=np.float64)
    return Cosines(float(cosines.mean()), float(np.percentile(cosines, 1, method="lower")), float(cosines.min()))


def _overlap(expected: _Floats, actual: _Floats, k: int) -> float:
    """Returns the mean share of each text's k nearest neighbours that both (n, n) similarity matrices have."""
    rows = zip(_nearest(expected, k).tolist(), _nearest(actual, k).tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b)) for a, b in rows])) / k


def _nearest(similarities: _Floats, k: int) -> NDArray[np.intp]:
    others = similarities.copy()
    np.fill_diagonal(others, -np.inf)
    nearest: NDArray[np.intp] = np.argpartition(-others, k - 1, axis=1)[:, :k]
    return nearest


def _spearman(expected: _Floats, actual: _Floats) -> float:
    """Returns the rank correlation above the diagonal. Ties, rare among floats, rank in order of position."""
    above = np.triu_indices(len(expected), k=1)
    return float(np.corrcoef(_ranks(expected[above]), _ranks(actual[above]))[0, 1])


def _ranks(values: _Floats) -> NDArray[np.float64]:
    ranks = np.empty(len(values), np.float64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


async def embed_corpus(
    scheduler: Scheduler, texts: Sequence[TokenIds], on_done: Callable[[int], None]
) -> tuple[Vectors, Vectors]:
    """Embeds all texts through the scheduler, first one at a time, then shuffled in concurrent requests of BATCH.

    Returns the vectors of both passes in the order of the texts. Calls `on_done` with the number of texts done, up to
    twice their count. Raises what the scheduler raises.
    """
    rows = []
    for done, text in enumerate(texts, start=1):
        rows.append((await scheduler.submit([text])).vectors)
        on_done(done)
    single = Vectors(np.concatenate([row.unit for row in rows]), np.concatenate([row.norms for row in rows]))
    batched = Vectors(np.zeros_like(single.unit), np.zeros_like(single.norms))
    order = np.random.default_rng(0).permutation(len(texts))  # each request mixes lengths, so that padding is tested
    requests = iter([order[start : start + BATCH] for start in range(0, len(order), BATCH)])
    finished = len(texts)

    async def call() -> None:
        nonlocal finished
        for indices in requests:
            vectors = (await scheduler.submit([texts[index] for index in indices])).vectors
            batched.unit[indices], batched.norms[indices] = vectors.unit, vectors.norms
            finished += len(indices)
            on_done(finished)

    async with asyncio.TaskGroup() as callers:
        for _ in range(CONCURRENCY):
            callers.create_task(call())
    return single, batched
