"""Loading a planned deployment and verifying it against the fp32 reference vectors."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from engine.artifacts.calibration import Calibration
from engine.artifacts.prepare import Artifact, prepare
from engine.artifacts.reference_vectors import mean_cosine
from engine.artifacts.store import ArtifactStore
from engine.backends import LoadedModel, backend
from engine.capabilities.resolve import Notice
from engine.deployment.live import LiveDeployment
from engine.deployment.steps import SwitchSteps
from engine.deployment.target import Deployment, Plan, SwitchState
from engine.errors import CannotSwitch
from engine.host.machine import PlatformFacts, core_of_each
from engine.host.threads import Background
from engine.models.resolve import ModelFiles, resolve_model
from engine.models.tokenizer import Tokenizer
from engine.scheduling import BatchObserver, InlinePolicy, Scheduler
from engine.tuning.plan import Knobs

MINIMUM_COSINE = {
    "fp32": 0.9999, "tf32": 0.999, "bf16": 0.999, "fp16": 0.999, "int8": 0.95, "fp8": 0.95, "int4": 0.85,
}  # fmt: skip
"""Mean cosine to the fp32 reference vectors below which a deployment is never served, by effective precision."""


class Loader:
    """Loads one model at a time, in a thread of its own.

    A model belongs to its loading thread until it is verified, and from then on to its deployment; its owner closes it.
    A load that is cancelled cannot be stopped: it is abandoned, and its thread closes the model when nothing uses it
    any more. The next load waits for that, so that memory holds at most the live model and one more.
    """

    def __init__(
        self, facts: PlatformFacts, store: ArtifactStore, observer: BatchObserver, calibration: Calibration | None,
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._facts = facts
        self._store = store
        self._observer = observer
        self._calibration = calibration
        self._clock = clock
        self._last: Background | None = None  # the thread of the last load, which may have been abandoned

    async def prepare(self, plan: Plan, steps: SwitchSteps) -> tuple[ModelFiles, Artifact]:
        """The model's files and the artifact that the plan's deployment is loaded from, which is made if missing."""
        target = plan.effective
        steps.emit(SwitchState.PREPARING, "looking for prepared artifacts")
        with Background("resolving") as background:  # may download for minutes
            files = await background.run(resolve_model, target.model or None)
        return files, await prepare(files, target.cell, self._store, steps.prepared, self._calibration)

    async def load(self, plan: Plan, steps: SwitchSteps, knobs: Knobs) -> LiveDeployment:
        """A deployment that is ready to answer. Raises CannotSwitch, ModelError or what preparing raises."""
        files, artifact = await self.prepare(plan, steps)
        if self._last is not None and not self._last.has_ended:
            steps.emit(SwitchState.LOADING, "waiting until a cancelled load has given its memory back")
            await self._last.ended()
        with Background("loading") as self._last:
            return await self._load(plan, steps, knobs, files, artifact, self._last)

    async def _load(
        self, plan: Plan, steps: SwitchSteps, knobs: Knobs, files: ModelFiles, artifact: Artifact,
        background: Background,
    ) -> LiveDeployment:  # fmt: skip
        target = plan.effective
        steps.emit(SwitchState.LOADING, f"loading {describe_cell(target)}")
        model = await background.acquire(  # importing the runtime takes long too
            lambda: backend(target.backend).load(artifact.path, files.path, target.cell, target.threads),
            lambda abandoned: abandoned.close(),
        )
        try:
            tokenizer = await background.run(Tokenizer.load, files, artifact.path)
            cosine = await self._verified(plan, steps, model, artifact, background)
            plan = _as_compiled(plan, model)
            executors = await background.run(lambda: [model.executor(target.threads) for _ in range(target.instances)])
            scheduler = Scheduler(
                executors, knobs.over(plan.serving, packs=model.packs), self._observer,
                name=f"{target.backend}-{target.precision}", clock=self._clock,
                inline=InlinePolicy(may_stay_awake=self._facts.cores > 1) if target.device == "cpu" else None,
                cores=_core_of_each(target, model),
            )  # fmt: skip
        except BaseException as error:
            closed = background.submit(model.close)  # after what this thread still does with the model
            if not isinstance(error, asyncio.CancelledError):  # whoever cancels does not wait
                await closed
            raise
        proven = replace(
            plan,
            requested=replace(plan.requested, model=files.card.id),
            effective=replace(target, precision=model.precision, model=files.card.id),
        )
        return LiveDeployment(proven, target, files, tokenizer, model, artifact, scheduler, cosine)

    async def _verified(
        self, plan: Plan, steps: SwitchSteps, model: LoadedModel, artifact: Artifact, background: Background
    ) -> float:
        """The mean cosine to the fp32 reference vectors. Raises CannotSwitch below MINIMUM_COSINE."""
        target = plan.effective
        steps.emit(SwitchState.VERIFYING, f"comparing {len(artifact.reference.token_ids)} texts with fp32")
        executor = await background.run(model.executor, target.threads)
        cosine = await background.run(mean_cosine, executor, artifact.reference)
        minimum = MINIMUM_COSINE.get(model.precision, 1.0)
        if not cosine >= minimum:
            raise CannotSwitch(
                f"{describe_cell(target)} gives vectors unlike fp32 here (mean cosine {cosine:.5f}, "
                f"at least {minimum} is needed): choose another precision"
            )
        return cosine


def describe_cell(deployment: Deployment) -> str:
    """`openvino int8 static-nncf`; the plain way needs no name."""
    recipe = deployment.recipe if deployment.recipe != "plain" else ""
    return " ".join(filter(None, (deployment.backend, deployment.precision, recipe)))


def _core_of_each(target: Deployment, model: LoadedModel) -> Sequence[int | None]:
    """The core that each instance keeps to; None for any, as where the runtime or a device does the work elsewhere."""
    if target.device == "cpu" and target.threads == 1 and model.computes_in_caller:
        return core_of_each(target.instances)
    return [None] * target.instances


def _as_compiled(plan: Plan, model: LoadedModel) -> Plan:
    """The plan with a notice where the runtime compiled another precision than it was told to.

    Raises CannotSwitch when strict was asked.
    """
    target = plan.effective
    if model.precision == target.precision:
        return plan
    sentence = f"{target.backend} runs this in {model.precision}, not in {target.precision} ({model.evidence})"
    if plan.strict:
        raise CannotSwitch(f"{sentence}; strict was asked, so nothing was changed: ask without it to accept")
    fix = "choose another backend or precision"
    return replace(plan, notices=(*plan.notices, Notice("ran_otherwise", sentence, fix)))
