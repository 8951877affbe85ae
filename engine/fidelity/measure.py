"""The measurement of a deployment's fidelity, and its record in the user's cache."""

import asyncio
from collections.abc import Callable

from engine.artifacts.store import ArtifactStore
from engine.capabilities.measurements import MeasurementStore
from engine.capabilities.probes import environment_hash
from engine.deployment.live import LiveDeployment
from engine.fidelity.corpus import Corpus
from engine.fidelity.metrics import Fidelity, GradeLimits, compare, embed_corpus
from engine.fidelity.reference import reference_of
from engine.host.machine import PlatformFacts

DEFAULT_LIMITS = GradeLimits()


async def measure(
    live: LiveDeployment, corpus: Corpus, store: ArtifactStore, on_done: Callable[[str, int], None],
    limits: GradeLimits = DEFAULT_LIMITS,
) -> Fidelity:  # fmt: skip
    """Embeds the corpus through the live deployment's queue and compares with fp32 PyTorch. Raises any EngineError.

    Calls `on_done` with the phase, `reference` or `measure`, and the texts done in it, up to twice the corpus.
    """
    tokenized = await asyncio.to_thread(live.tokenizer.encode, corpus.texts)
    texts = [text.ids for text in tokenized]
    reference = await reference_of(live.files, corpus, texts, store, lambda done: on_done("reference", done))
    single, batched = await embed_corpus(live.scheduler, texts, lambda done: on_done("measure", done))
    return await asyncio.to_thread(compare, reference, single, batched, limits)


def save(live: LiveDeployment, fidelity: Fidelity, facts: PlatformFacts) -> None:
    """Stores the figures as the last ones of the live deployment's cell."""
    MeasurementStore.of(live.fingerprint, environment_hash(facts)).write(live.cell, fidelity=fidelity.as_json())
