"""Measuring a deployment's fidelity, live or for `engine fidelity`, and keeping what was found."""

import asyncio
from collections.abc import Callable

from engine.artifacts.store import ArtifactStore
from engine.capabilities.measurements import MeasuredStore
from engine.capabilities.probes import environment_hash
from engine.deployment.live import LiveDeployment
from engine.fidelity.corpus import Corpus
from engine.fidelity.metrics import Fidelity, GradeLimits, compare, run_through
from engine.fidelity.reference import reference_of
from engine.host.machine import PlatformFacts

DEFAULT_LIMITS = GradeLimits()


async def measure(
    live: LiveDeployment, corpus: Corpus, store: ArtifactStore, on_done: Callable[[str, int], None],
    limits: GradeLimits = DEFAULT_LIMITS,
) -> Fidelity:  # fmt: skip
    """Runs the corpus through the live queue and compares with fp32 torch. Raises any EngineError.

    `on_done` is told `reference` or `measure`, and how many of twice the corpus' texts are done.
    """
    tokenized = await asyncio.to_thread(live.tokenizer.encode, corpus.texts)
    texts = [text.ids for text in tokenized]
    reference = await reference_of(live.files, corpus, texts, store, lambda done: on_done("reference", done))
    single, batched = await run_through(live.scheduler, texts, lambda done: on_done("measure", done))
    return await asyncio.to_thread(compare, reference, single, batched, limits)


def save(live: LiveDeployment, found: Fidelity, facts: PlatformFacts) -> None:
    """Keeps the figures as the cell's last ones."""
    MeasuredStore.of(live.fingerprint, environment_hash(facts)).write(live.cell, fidelity=found.as_json())
