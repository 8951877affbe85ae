"""`engine fidelity`: deploys a cell in this process, measures its fidelity against fp32, and prints the figures."""

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

_TEXTS_PER_REPORT = 64
"""Texts between two lines of progress."""


@dataclass(frozen=True, slots=True)
class FidelityOptions:
    """The flags of `engine fidelity`."""

    target: Target
    corpus: Path | None = None
    calibration: Path | None = None
    strict: bool = False
    limits: GradeLimits = field(default_factory=GradeLimits)


def run_fidelity(options: FidelityOptions, *, as_json: bool) -> int:
    """Measures the cell and prints its fidelity. Returns the exit code."""
    reporter = Reporter()
    reporter.capture_logging()
    try:
        result = asyncio.run(_measure_cell(options, reporter))
    except InvalidRequest as error:
        reporter.error("usage", str(error))
        return ExitCode.USAGE
    except EngineError as error:
        reporter.error("failed", str(error))
        return ExitCode.FAILED
    print(json.dumps(result) if as_json else as_text(result), file=sys.stdout)
    return ExitCode.OK


async def _measure_cell(options: FidelityOptions, reporter: Reporter) -> dict[str, Any]:
    facts, store = this_platform(), ArtifactStore.default()
    calibration = calibration_from(options.calibration) if options.calibration else None
    calibrated_on = calibration.texts if calibration else ()
    corpus = corpus_from(options.corpus, calibrated_on) if options.corpus else built_in_corpus(calibrated_on)
    deployments = Deployments(facts, store, Telemetry(), calibration=calibration)

    def report_step(step: SwitchStep) -> None:
        reporter.phase(step.state.name.lower(), step.message, round(step.progress * 100), 100 if step.progress else 0)

    def report_progress(phase: str, done: int) -> None:
        if done % _TEXTS_PER_REPORT == 0 or done == 2 * len(corpus.texts):
            reporter.phase(phase, f"{len(corpus.texts)} texts, twice", done, 2 * len(corpus.texts))

    live = await deployments.start(options.target, strict=options.strict, on_step=report_step)
    try:
        for notice in live.plan.notices:
            reporter.log("warning", notice.message)
        figures = await measure(live, corpus, store, report_progress, options.limits)
        if options.corpus is None and calibration is None:
            save(live, figures, facts)
        return {
            **figures.as_json(),
            "limits": asdict(options.limits),
            "corpus": {"name": corpus.name, "hash": corpus.hash},
            "requested": asdict(live.plan.requested),
            "effective": asdict(live.plan.effective),
            "evidence": live.evidence,
            "warnings": [asdict(notice) for notice in live.plan.notices],
        }
    finally:
        await deployments.close()


def as_text(result: dict[str, Any]) -> str:
    """Returns the figures as text for a terminal."""
    effective, limits = result["effective"], result["limits"]
    cell = f"{effective['backend']} {effective['precision']} {effective['recipe']}"

    def cosines(of: dict[str, float]) -> str:
        return f"mean {of['mean']:.5f}   p1 {of['p1']:.5f}   min {of['min']:.5f}"

    def limit(of: dict[str, float]) -> str:
        return f"cosine ≥ {of['mean_cosine']:g} and overlap@10 ≥ {of['overlap_at_10']:g}"

    return "\n".join((
        f"{cell} on {effective['device']} against PyTorch fp32, batch 1",
        f"  {result['evidence']}",
        "",
        f"corpus        {result['corpus']['name']}, {result['n']} texts",
        f"cosine        {cosines(result['cosine'])}",
        f"  batched     {cosines(result['batched']['cosine'])}   (32 texts a request, 4 requests at a time)",
        f"  fp32 itself {cosines(result['noise_floor']['cosine'])}   (batched against one at a time)",
        f"neighbours    overlap@1 {result['overlap_at_1']:.3f}   overlap@10 {result['overlap_at_10']:.3f}",
        f"similarities  Spearman {result['spearman']:.4f}",
        f"norm error    {result['norm_error']:.2g}",
        f"grade         {result['grade']}   (green: {limit(limits['green'])}; amber: {limit(limits['amber'])})",
    ))  # fmt: skip
