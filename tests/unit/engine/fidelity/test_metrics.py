"""Fidelity metrics: exact for vectors made by hand, and measured through a real scheduler."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.artifacts.calibration import default_calibration
from engine.errors import InvalidRequest
from engine.fidelity.corpus import built_in_corpus, corpus_from, corpus_of
from engine.fidelity.metrics import Grade, GradeLimits, Limit, Reference, compare, embed_corpus
from engine.fidelity.reference import compute
from engine.scheduling import BatchPolicy, BatchRecord, Scheduler, TokenIds, Vectors

LIMITS = GradeLimits()


def rows(n: int = 64, dim: int = 24, seed: int = 0) -> NDArray[np.float32]:
    found = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    unit: NDArray[np.float32] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


def reference(unit: NDArray[np.float32]) -> Reference:
    return Reference(unit, np.ones(len(unit), np.float32), unit)


def vectors(unit: NDArray[np.float32], norm: float = 1.0) -> Vectors:
    return Vectors(unit, np.full(len(unit), norm, np.float32))


class Silent:
    def batch_done(self, record: BatchRecord) -> None:
        """Counts nothing."""

    def items_dropped(self, expired: int, cancelled: int) -> None:
        """Counts nothing."""

    def instance_replaced(self, *, hung: bool) -> None:
        """Counts nothing."""


def by_content(texts: Sequence[TokenIds]) -> Vectors:
    """Returns vectors that depend only on the texts."""
    unit = np.concatenate([rows(1, seed=sum(text)) for text in texts])
    return Vectors(unit, np.array([float(len(text)) for text in texts], np.float32))


def test_the_same_vectors_are_perfect_and_green() -> None:
    unit = rows()
    found = compare(reference(unit), vectors(unit), vectors(unit), LIMITS)
    assert found.grade is Grade.GREEN
    assert (found.overlap_at_1, found.overlap_at_10) == (1.0, 1.0)
    assert found.spearman == pytest.approx(1.0)
    assert found.cosine.min == pytest.approx(1.0)
    assert found.norm_error == 0.0
    assert found.as_json()["n"] == 64


def test_noise_lowers_every_figure_and_the_grade() -> None:
    unit = rows()
    noisy = unit + 0.6 * rows(seed=1)
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    found = compare(reference(unit), vectors(noisy, 1.1), vectors(unit), LIMITS)
    assert found.grade is Grade.RED
    assert found.cosine.min <= found.cosine.p1 <= found.cosine.mean < 0.98
    assert found.overlap_at_10 < 0.92
    assert found.spearman < 0.99
    assert found.norm_error == pytest.approx(0.1, rel=1e-4)


def test_vectors_mixed_up_by_batching_lower_only_the_batched_figures() -> None:
    unit = rows()
    swapped = unit.copy()
    swapped[[3, 7]] = swapped[[7, 3]]
    found = compare(reference(unit), vectors(unit), vectors(swapped), LIMITS)
    assert found.cosine.min == pytest.approx(1.0)
    assert found.batched.min < 0.9


@pytest.mark.parametrize(
    ("limits", "grade"),
    [
        (GradeLimits(), Grade.AMBER),
        (GradeLimits(green=Limit(0.98, 0.5)), Grade.GREEN),
        (GradeLimits(amber=Limit(0.999, 0.5)), Grade.RED),
    ],
)
def test_the_grade_follows_its_limits(limits: GradeLimits, grade: Grade) -> None:
    unit = rows(32, 384)
    near = unit + 0.15 * rows(32, 384, seed=1)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    generous = GradeLimits(Limit(limits.green.mean_cosine, 0.2), Limit(limits.amber.mean_cosine, 0.1))
    assert compare(reference(unit), vectors(near), vectors(near), generous).grade is grade


def test_too_few_texts_are_refused() -> None:
    unit = rows(11)
    with pytest.raises(InvalidRequest, match="at least 12"):
        compare(reference(unit), vectors(unit), vectors(unit), LIMITS)


async def test_every_text_is_embedded_alone_and_in_batches_and_keeps_its_position() -> None:
    texts = [[1, number, 2] + [5] * (number % 9) for number in range(150)]
    sizes: list[int] = []

    def counting(texts: Sequence[TokenIds]) -> Vectors:
        sizes.append(len(texts))
        return by_content(texts)

    scheduler = Scheduler([counting], BatchPolicy(), Silent(), name="test")
    steps: list[int] = []
    single, batched = await embed_corpus(scheduler, texts, steps.append)
    await scheduler.close()
    expected = by_content(texts)
    assert np.array_equal(single.unit, expected.unit)
    assert np.array_equal(batched.unit, expected.unit)
    assert np.array_equal(batched.norms, expected.norms)
    assert sizes[:150] == [1] * 150
    assert max(sizes[150:]) >= 16, "the second pass must batch"
    assert steps[-1] == 300


def test_the_reference_embeds_each_text_alone_and_then_in_batches() -> None:
    texts = [[1, number, 2] + [5] * (number % 9) for number in range(70)]
    found = compute(by_content, texts, lambda _: None)
    assert np.array_equal(found.unit, by_content(texts).unit)
    assert np.array_equal(found.unit, found.batched_unit)


def test_the_built_in_corpus_is_large_varied_and_without_calibration_texts() -> None:
    corpus = built_in_corpus()
    assert len(corpus.texts) == len(set(corpus.texts)) >= 512
    assert not set(corpus.texts) & set(default_calibration().texts)
    lengths = [len(text.split()) for text in corpus.texts]
    assert min(lengths) <= 4
    assert max(lengths) >= 40
    without = built_in_corpus(corpus.texts[:10])
    assert without.texts == corpus.texts[10:]
    assert without.hash != corpus.hash


def test_a_users_corpus_is_bounded_and_without_repetitions(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("\n".join(f"text number {number % 40}" for number in range(200)) + "\n\n", "utf-8")
    assert len(corpus_from(path).texts) == 40
    assert len(corpus_of("many", [f"text {number}" for number in range(9000)]).texts) == 2048
    path.write_text("one\ntwo\n")
    with pytest.raises(InvalidRequest, match="2 distinct texts"):
        corpus_from(path)
    with pytest.raises(InvalidRequest, match="cannot read"):
        corpus_from(path / "missing")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidRequest, match="not UTF-8"):
        corpus_from(path)
