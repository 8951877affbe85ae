"""`engine fidelity`: deploys a cell in this process, measures it against fp32, and prints the figures."""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.artifacts.calibration import calibration_from
from engine.artifacts.store import ArtifactStore
from engine.capabilities.platform import this_platform
from engine.deployment.switch import Deployments
from engine.deployment.target import SwitchStep, Target
from engine.errors import EngineError, InvalidRequest
from engine.exit_codes import ExitCode
from engine.fidelity.corpus import built_in_corpus, corpus_from
from engine.fidelity.measure import measure, save
from engine.fidelity.metrics import GradeLimits
from engine.host.reporting import Reporter
from engine.pipeline.metrics import Telemetry

_PROGRESS_EVERY = 64


@dataclass(frozen=True, slots=True)
class Question:
    """`engine fidelity`'s flags."""

    target: Target
    corpus: Path | None = None
    calibration: Path | None = None
    strict: bool = False
    limits: GradeLimits = field(default_factory=GradeLimits)


def run_fidelity(question: Question, *, as_json: bool) -> int:
    """Deploys the cell in this process, measures, prints; the exit code."""
    reporter = Reporter()
    reporter.capture_logging()
    try:
        answer = asyncio.run(_measure_cell(question, reporter))
    except InvalidRequest as error:
        reporter.error("usage", str(error))
        return ExitCode.USAGE
    except EngineError as error:
        reporter.error("failed", str(error))
        return ExitCode.FAILED
    print(json.dumps(answer) if as_json else as_text(answer), file=sys.stdout)
    return 0


async def _measure_cell(question: Question, reporter: Reporter) -> dict[str, Any]:
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
