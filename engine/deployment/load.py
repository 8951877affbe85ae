"""Loading a planned deployment and verifying it against the fp32 reference vectors."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from engine.artifacts.calibration import Calibration
from engine.artifacts.prepare import Artifact, prepare
from engine.artifacts.reference_vectors import mean_cosine
from engine.artifacts.store import ArtifactStore
from engine.backends import LoadedModel, backend
from engine.capabilities.resolve import Notice
from engine.deployment.live import LiveDeployment
from engine.deployment.steps import SwitchSteps
from engine.deployment.target import Deployment, Plan, SwitchState
from engine.errors import CannotSwitch, NoSuchCell
from engine.host.faults import FaultFile
from engine.host.machine import PlatformFacts, core_of_each
from engine.host.os_errors import describe
from engine.host.threads import BackgroundThread
from engine.models.resolve import ModelFiles, resolve_model
from engine.models.tokenizer import Tokenizer
from engine.scheduling import BatchObserver, Executor, FaultyExecutor, InlinePolicy, PassLimits, Scheduler, Watchdog
from engine.tuning.plan import BatchOverrides

MINIMUM_COSINE = {
    "fp32": 0.9999, "tf32": 0.999, "bf16": 0.999, "fp16": 0.999, "int8": 0.95, "fp8": 0.95, "int4": 0.85,
}  # fmt: skip
"""Lowest mean cosine to the fp32 reference vectors at which a deployment may serve, by effective precision.

A rule: it rejects broken kernels and cells, not small losses, which fidelity measures.
"""


@dataclass(frozen=True, slots=True)
class Supervision:
    """How the forward passes of every deployment are watched, and the faults that tests inject into them."""

    watchdog: Watchdog | None = None
    pass_limits: PassLimits = field(default_factory=PassLimits)
    faults: FaultFile | None = None

    def executor(self, model: LoadedModel, threads: int) -> Executor:
        """Returns an executor of the model, for one instance."""
        executor = model.executor(threads)
        return executor if self.faults is None else FaultyExecutor(executor, self.faults)


UNSUPERVISED = Supervision()


class Loader:
    """Loads and verifies one model at a time, each in its own thread.

    The loading thread owns a model until it is verified, then the deployment owns it; the owner closes it. A load that
    is cancelled cannot be stopped: it is abandoned, and its thread closes the model after its last use. The next load
    waits for that, so that memory holds at most the live model and one more.
    """

    def __init__(
        self, facts: PlatformFacts, store: ArtifactStore, observer: BatchObserver, calibration: Calibration | None,
        clock: Callable[[], float], supervision: Supervision = UNSUPERVISED,
    ) -> None:  # fmt: skip
        self._facts = facts
        self._supervision = supervision
        self._store = store
        self._observer = observer
        self._calibration = calibration
        self._clock = clock
        self._last: BackgroundThread | None = None  # the thread of the last load, which may have been abandoned

    async def prepare(self, plan: Plan, steps: SwitchSteps) -> tuple[ModelFiles, Artifact]:
        """Returns the model's files and the artifact to load, which is made if it is missing."""
        planned = plan.effective
        steps.emit(SwitchState.PREPARING, "looking for prepared artifacts")
        try:
            with BackgroundThread("resolving") as background:  # may download for minutes
                files = await background.run(resolve_model, planned.model or None)
            return files, await prepare(files, planned.cell, self._store, steps.emit_preparation, self._calibration)
        except OSError as error:  # the cache, or the preparation process
            raise CannotSwitch(f"the artifact cannot be prepared: {describe(error)}") from error

    async def load(self, plan: Plan, steps: SwitchSteps, overrides: BatchOverrides) -> LiveDeployment:
        """Returns a deployment that is ready to answer. Raises CannotSwitch, ModelError or what preparing raises."""
        files, artifact = await self.prepare(plan, steps)
        if self._last is not None and not self._last.has_ended:
            steps.emit(SwitchState.LOADING, "waiting until a cancelled load has freed its memory")
            await self._last.ended()
        with BackgroundThread("loading") as self._last:
            return await self._load(plan, steps, overrides, files, artifact, self._last)

    async def _load(
        self, plan: Plan, steps: SwitchSteps, overrides: BatchOverrides, files: ModelFiles, artifact: Artifact,
        background: BackgroundThread,
    ) -> LiveDeployment:  # fmt: skip
        planned = plan.effective
        steps.emit(SwitchState.LOADING, f"loading {describe_cell(planned)}")
        model = await background.acquire(  # also imports the runtime, which takes seconds
            lambda: backend(planned.backend).load(artifact.path, files.path, planned.cell, planned.threads),
            lambda abandoned: abandoned.close(),
        )
        try:
            tokenizer = await background.run(Tokenizer.load, files, artifact.path)
            cosine = await self._verify(plan, steps, model, artifact, background)
            plan = _with_compiled_precision(plan, model)
            make_executor = partial(self._supervision.executor, model, planned.threads)
            executors = await background.run(lambda: [make_executor() for _ in range(planned.instances)])
            scheduler = Scheduler(
                executors, overrides.policy(plan.serving, packs=model.packs), self._observer,
                name=f"{planned.backend}-{planned.precision}", clock=self._clock,
                inline=InlinePolicy(may_poll=self._facts.cores > 1) if planned.device == "cpu" else None,
                cores=_core_of_each_instance(planned, model), make_executor=make_executor,
                probe_text=min(artifact.reference.token_ids, key=len), watchdog=self._supervision.watchdog,
                pass_limits=self._supervision.pass_limits,
            )  # fmt: skip
        except BaseException as error:
            closed = background.submit(model.close)  # runs after the thread's last use of the model
            if not isinstance(error, asyncio.CancelledError):  # a cancelled load must not wait
                await closed
            raise
        verified = replace(
            plan,
            requested=replace(plan.requested, model=files.card.id),
            effective=replace(planned, precision=model.precision, model=files.card.id),
        )
        return LiveDeployment(verified, planned, files, tokenizer, model, artifact, scheduler, cosine)

    async def _verify(
        self, plan: Plan, steps: SwitchSteps, model: LoadedModel, artifact: Artifact, background: BackgroundThread
    ) -> float:
        """Returns the mean cosine to the fp32 reference vectors. Raises CannotSwitch below MINIMUM_COSINE."""
        planned = plan.effective
        steps.emit(SwitchState.VERIFYING, f"comparing {len(artifact.reference.token_ids)} texts with fp32")
        executor = await background.run(model.executor, planned.threads)
        cosine = await background.run(mean_cosine, executor, artifact.reference)
        minimum = MINIMUM_COSINE.get(model.precision, 1.0)
        if not cosine >= minimum:
            raise CannotSwitch(
                f"the vectors of {describe_cell(planned)} differ too much from fp32 on this machine (mean cosine "
                f"{cosine:.5f}, at least {minimum} is needed): choose another precision"
            )
        return cosine


def describe_cell(deployment: Deployment) -> str:
    """Returns `openvino int8 static`, for example; the recipe `plain` is left out."""
    recipe = deployment.recipe if deployment.recipe != "plain" else ""
    return " ".join(filter(None, (deployment.backend, deployment.precision, recipe)))


def _core_of_each_instance(planned: Deployment, model: LoadedModel) -> Sequence[int | None]:
    """Returns the core to pin each instance to.

    None: not pinned, because the instance has several threads, or the runtime computes in threads of its own or on
    another device.
    """
    if planned.device == "cpu" and planned.threads == 1 and model.computes_in_caller:
        return core_of_each(planned.instances)
    return [None] * planned.instances


def _with_compiled_precision(plan: Plan, model: LoadedModel) -> Plan:
    """Returns the plan, with a notice if the runtime compiled another precision than the plan's.

    Raises CannotSwitch if the plan is strict.
    """
    planned = plan.effective
    if model.precision == planned.precision:
        return plan
    sentence = f"{planned.backend} runs this in {model.precision}, not in {planned.precision} ({model.evidence})"
    if plan.strict:
        raise NoSuchCell(f"{sentence}: refused by --strict; drop it to accept this")
    fix = "choose another backend or precision"
    return replace(plan, notices=(*plan.notices, Notice("ran_otherwise", sentence, fix)))
