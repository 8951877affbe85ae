"""Measuring a deployment's fidelity, live or for `engine fidelity`, and keeping what was found."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.backends.artifacts import ArtifactStore
from engine.backends.calibration import calibration_from
from engine.capabilities import Choice
from engine.corpus import Corpus, built_in_corpus, corpus_from
from engine.deployment import Deployments, Live
from engine.errors import EngineError, InvalidRequest
from engine.fidelity import Fidelity, GradeLimits, compare, run_through
from engine.machine import PlatformFacts, this_platform
from engine.measured import MeasuredStore
from engine.probes import environment_hash
from engine.reporting import Reporter
from engine.targets import SwitchStep, Target
from engine.telemetry import Telemetry
from engine.yardstick import reference_of

EXIT_USAGE = 3
EXIT_FAILED = 5
_PROGRESS_EVERY = 64
DEFAULT_LIMITS = GradeLimits()


async def measure(
    live: Live, corpus: Corpus, store: ArtifactStore, on_done: Callable[[str, int], None],
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


def measured_store(live: Live, facts: PlatformFacts) -> MeasuredStore:
    """Where the last figures of the live model's cells are kept."""
    return MeasuredStore.of(live.files.fingerprint, environment_hash(facts))


def cell_of(live: Live) -> Choice:
    """The cell that is live, as the matrix names it."""
    effective = live.plan.effective
    return Choice(effective.backend, effective.precision, effective.device, effective.recipe)


def save(live: Live, found: Fidelity, facts: PlatformFacts) -> None:
    """Keeps the figures as the cell's last ones."""
    measured_store(live, facts).write(cell_of(live), fidelity=found.as_json())


@dataclass(frozen=True, slots=True)
class Question:
    """`engine fidelity`'s flags."""

    target: Target
    corpus: Path | None = None
    calibration: Path | None = None
    strict: bool = False
    limits: GradeLimits = field(default_factory=GradeLimits)


def judge(question: Question, *, as_json: bool) -> int:
    """Deploys the cell in this process, measures, prints; the exit code."""
    reporter = Reporter()
    reporter.capture_logging()
    try:
        answer = asyncio.run(_judge(question, reporter))
    except InvalidRequest as error:
        reporter.error("usage", str(error))
        return EXIT_USAGE
    except EngineError as error:
        reporter.error("failed", str(error))
        return EXIT_FAILED
    print(json.dumps(answer) if as_json else as_text(answer), file=sys.stdout)
    return 0


async def _judge(question: Question, reporter: Reporter) -> dict[str, Any]:
    facts, store = this_platform(), ArtifactStore.default()
    calibration = calibration_from(question.calibration) if question.calibration else None
    calibrated_on = calibration.texts if calibration else ()
    corpus = corpus_from(question.corpus, calibrated_on) if question.corpus else built_in_corpus(calibrated_on)
    deployments = Deployments(facts, store, Telemetry(), calibration=calibration)

    def step(step: SwitchStep) -> None:
        reporter.phase(step.state.name.lower(), step.message, round(step.progress * 100), 100 if step.progress else 0)

    def progress(phase: str, done: int) -> None:
        if done % _PROGRESS_EVERY == 0 or done == 2 * len(corpus.texts):
            reporter.phase(phase, f"{len(corpus.texts)} texts, twice", done, 2 * len(corpus.texts))

    live = await deployments.start(question.target, strict=question.strict, on_step=step)
    try:
        for notice in live.plan.notices:
            reporter.log("warning", notice.message)
        found = await measure(live, corpus, store, progress, question.limits)
        if question.corpus is None and calibration is None:
            save(live, found, facts)
        return {
            **found.as_json(),
            "limits": asdict(question.limits),
            "corpus": {"name": corpus.name, "hash": corpus.hash},
            "requested": asdict(live.plan.requested),
            "effective": asdict(live.plan.effective),
            "evidence": live.evidence,
            "warnings": [asdict(notice) for notice in live.plan.notices],
        }
    finally:
        await deployments.close()


def as_text(answer: dict[str, Any]) -> str:
    """For a person at a terminal."""
    runs, limits = answer["effective"], answer["limits"]

    def cosines(of: dict[str, float]) -> str:
        return f"mean {of['mean']:.5f}   p1 {of['p1']:.5f}   min {of['min']:.5f}"

    def limit(of: dict[str, float]) -> str:
        return f"cosine ≥ {of['mean_cosine']:g} and overlap@10 ≥ {of['overlap_at_10']:g}"

    return "\n".join((
        f"{runs['backend']} {runs['precision']} {runs['recipe']} on {runs['device']} against torch fp32, batch 1",
        f"  {answer['evidence']}",
        "",
        f"corpus        {answer['corpus']['name']}, {answer['n']} texts",
        f"cosine        {cosines(answer['cosine'])}",
        f"  batched     {cosines(answer['batched']['cosine'])}   (32 texts a request, 4 requests at a time)",
        f"  fp32 itself {cosines(answer['noise_floor']['cosine'])}   (batched against one at a time)",
        f"neighbours    overlap@1 {answer['overlap_at_1']:.3f}   overlap@10 {answer['overlap_at_10']:.3f}",
        f"similarities  Spearman {answer['spearman']:.4f}",
        f"norm error    {answer['norm_error']:.2g}",
        f"grade         {answer['grade']}   (green: {limit(limits['green'])}; amber: {limit(limits['amber'])})",
    ))  # fmt: skip
