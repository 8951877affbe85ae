"""What is live, and its replacement under load: a state machine with one owner.

Every request is bound to the deployment that was live when it came and is answered whole by that one. A switch builds
the new deployment beside the old, proves it, moves the pointer, and lets the old queue run dry.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import replace

from engine.artifacts.calibration import Calibration
from engine.artifacts.prepare import Artifact, Progress, prepare
from engine.artifacts.reference_vectors import mean_cosine
from engine.artifacts.store import ArtifactStore
from engine.backends import backend
from engine.backends.base import Cell
from engine.deployment.live import Live
from engine.deployment.load import MINIMUM_COSINE, _as_it_runs, _cell, _core_of_each
from engine.deployment.planner import Planner
from engine.deployment.target import Plan, SwitchState, SwitchStep, Target
from engine.errors import CannotSwitch, EngineError, SwitchInProgress, Unavailable
from engine.host.machine import PlatformFacts
from engine.host.threads import Background
from engine.models.resolve import ModelFiles, resolve_model
from engine.models.tokenizer import Tokenizer
from engine.scheduling import BatchObserver, BatchPolicy, LoneTexts, Scheduler
from engine.tuning.plan import Knobs
from engine.tuning.search import tune_in_child

_log = logging.getLogger(__name__)


_AS_PLANNED = Knobs()


class Deployments:
    """Owner of what is live. Everything runs on the event loop; loading and closing happen in worker threads.

    A model belongs to its loading thread until it is proven, and from then on to its Live; whoever has it closes it. A
    load that is cancelled cannot be stopped: it is abandoned, and its thread closes the model when nothing uses it any
    more. The next load waits for that, so that the live model and one more are the most that memory holds.
    """

    def __init__(
        self, facts: PlatformFacts, store: ArtifactStore, observer: BatchObserver, knobs: Knobs = _AS_PLANNED,
        clock: Callable[[], float] = time.monotonic, calibration: Calibration | None = None,
    ) -> None:  # fmt: skip
        self._facts = facts
        self._store = store
        self._calibration = calibration
        self._observer = observer
        self._planner = Planner(facts)
        self._knobs = knobs
        self._clock = clock
        self._epoch = 0
        self._live: Live | None = None
        self._work: asyncio.Task[None] | None = None  # the loop itself keeps only a weak reference to a task
        self._loading: Background | None = None  # the last load, which may have been abandoned
        self.running_switch: SwitchStep | None = None

    @property
    def live(self) -> Live:
        """What answers new requests. Only to be asked after `start`."""
        if self._live is None:
            raise CannotSwitch("no deployment is live yet: wait for the ready line")
        return self._live

    @property
    def facts(self) -> PlatformFacts:
        """The machine that the rules are asked about."""
        return self._facts

    @property
    def store(self) -> ArtifactStore:
        """Where prepared artifacts lie."""
        return self._store

    @property
    def knobs(self) -> Knobs:
        """The batching knobs as they were turned."""
        return self._knobs

    @property
    def policy(self) -> BatchPolicy:
        """What the knobs and the live deployment's plan come to."""
        return self._knobs.over(self.live.plan.serving, packs=self.live.packs)

    def configure(self, knobs: Knobs) -> BatchPolicy:
        """Changes the batching knobs, at once and for the deployments to come. Raises CannotSwitch before `start`."""
        self._knobs = knobs
        self.live.scheduler.configure(self.policy)
        return self.policy

    async def start(
        self, asked: Target, *, strict: bool, on_step: Callable[[SwitchStep], None], tune: bool = False
    ) -> Live:
        """Makes the first deployment. Raises what a switch raises.

        With `tune` a cell that was never measured here is first tried at several plans: a switch never does so, because
        what serves meanwhile would disturb the measurement, and be disturbed by it.
        """
        plan = self._planner.plan(asked, strict=strict)
        steps = _Steps(plan, self._clock, lambda: self._epoch, on_step)
        if tune and self._planner.is_worth_measuring(plan):
            await self._tune(plan, steps)
            plan = self._planner.plan(asked, strict=strict)
        return await self._replace(plan, steps)

    async def _tune(self, plan: Plan, steps: "_Steps") -> None:
        """Measures and remembers how to run the cell. What goes wrong costs speed, so it is told and no more."""
        target = plan.effective
        files, cell, artifact = await self._prepared(plan, steps)

        def report(done: int, total: int) -> None:
            steps.emit(SwitchState.PREPARING, f"measuring instances × threads {done}/{total}", done / total)

        try:
            measured = await tune_in_child(files, artifact, cell, self._facts.cores, report)
            self._planner.remember(target, plan.asked.model, measured)
        except (CannotSwitch, OSError) as error:
            _log.warning("%s runs by a rule of thumb: %s", _cell(target), error)

    async def switch(self, asked: Target, *, strict: bool, fresh: bool = False) -> AsyncGenerator[SwitchStep]:
        """Replaces what is live, step by step; ends with RELEASED.

        Closing the iterator before CUT_OVER cancels the switch; afterwards the old deployment drains all the same.
        Raises InvalidRequest, CannotSwitch, ModelError or SwitchInProgress; the old one then never stopped serving.
        Raises Unavailable when close() cancels it.
        """
        if self.running_switch is not None:
            raise SwitchInProgress(
                f"a switch is in progress ({self.running_switch.state.name}): wait for it to end, or cancel it"
            )
        plan = self._planner.plan(asked.over(self.live.plan.asked, fresh=fresh), strict=strict)
        arrived: asyncio.Queue[SwitchStep | None] = asyncio.Queue()

        def record(step: SwitchStep) -> None:
            self.running_switch = step
            arrived.put_nowait(step)

        steps = _Steps(plan, self._clock, lambda: self._epoch, record)
        steps.emit(SwitchState.REQUESTED, _cell(plan.requested))
        work = self._work = asyncio.create_task(self._switch(plan, steps), name="switch")
        work.add_done_callback(lambda _: self._switch_ended(arrived))
        try:
            while (step := await arrived.get()) is not None:
                yield step
            if work.cancelled():
                raise Unavailable("the engine is ending, so the switch was cancelled: ask another one")
            await work
        finally:
            if not work.done() and not steps.past_cut_over:
                work.cancel()
                with suppress(asyncio.CancelledError, EngineError):
                    await work

    def _switch_ended(self, arrived: "asyncio.Queue[SwitchStep | None]") -> None:
        self.running_switch = None
        arrived.put_nowait(None)

    async def _switch(self, plan: Plan, steps: "_Steps") -> None:
        old = self.live
        if plan.effective == old.target:
            # what was asked for may differ, and so may its warnings
            requested = replace(plan.requested, model=old.plan.requested.model)
            old.plan = replace(plan, requested=requested, effective=old.plan.effective)
            steps.emit(SwitchState.RELEASED, "already live: nothing to do")
            return
        await self._replace(plan, steps)
        steps.emit(SwitchState.CUT_OVER, f"epoch {self._epoch} answers from now on")
        steps.emit(SwitchState.DRAINING, "the old deployment answers what it has")
        await old.release()
        steps.emit(SwitchState.RELEASED, "the old deployment's memory is given back")

    async def _replace(self, plan: Plan, steps: "_Steps") -> Live:
        """Builds and proves a deployment, then moves the pointer to it in one step of the event loop."""
        live = await self._build(plan, steps)
        self._epoch += 1
        live.epoch = self._epoch
        self._live = live
        return live

    async def _build(self, plan: Plan, steps: "_Steps") -> Live:
        files, cell, artifact = await self._prepared(plan, steps)
        if self._loading is not None and not self._loading.has_ended:
            steps.emit(SwitchState.LOADING, "waiting until a cancelled load has given its memory back")
            await self._loading.ended()
        with Background("loading") as self._loading:
            return await self._load(plan, steps, files, cell, artifact, self._loading)

    async def _load(
        self, plan: Plan, steps: "_Steps", files: ModelFiles, cell: Cell, artifact: Artifact, background: Background
    ) -> Live:
        target = plan.effective
        steps.emit(SwitchState.LOADING, f"loading {_cell(target)}")
        model = await background.acquire(  # importing the runtime takes long too
            lambda: backend(target.backend).load(artifact.path, files.path, cell, target.threads),
            lambda abandoned: abandoned.close(),
        )
        try:
            tokenizer = await background.run(Tokenizer.load, files, artifact.path)
            steps.emit(SwitchState.VERIFYING, f"comparing {len(artifact.reference.token_ids)} texts with fp32")
            executor = await background.run(model.executor, target.threads)
            cosine = await background.run(mean_cosine, executor, artifact.reference)
            del executor
            minimum = MINIMUM_COSINE.get(model.precision, 1.0)
            if not cosine >= minimum:
                raise CannotSwitch(
                    f"{_cell(target)} gives vectors unlike fp32 here (mean cosine {cosine:.5f}, "
                    f"at least {minimum} is needed): choose another precision"
                )
            plan = _as_it_runs(plan, model)
            executors = await background.run(lambda: [model.executor(target.threads) for _ in range(target.instances)])
            name = f"{target.backend}-{target.precision}"
            policy = self._knobs.over(plan.serving, packs=model.packs)
            scheduler = Scheduler(
                executors, policy, self._observer, name=name, clock=self._clock,
                lone=LoneTexts(may_stay_awake=self._facts.cores > 1) if target.device == "cpu" else None,
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
        return Live(proven, target, files, tokenizer, model, artifact, scheduler, cosine)

    async def _prepared(self, plan: Plan, steps: "_Steps") -> tuple[ModelFiles, Cell, Artifact]:
        """What the plan's deployment is loaded from."""
        target = plan.effective
        steps.emit(SwitchState.PREPARING, "looking for prepared artifacts")
        with Background("resolving") as background:  # may download for minutes
            files = await background.run(resolve_model, target.model or None)
        cell = Cell(target.backend, target.precision, target.recipe, target.device)
        return files, cell, await prepare(files, cell, self._store, steps.prepared, self._calibration)

    async def close(self) -> None:
        """Cancels a switch that has not cut over, answers what is in hand and frees everything.

        Does not wait for an abandoned load: its thread ends with the process.
        """
        work, step = self._work, self.running_switch
        if work is not None and step is not None and step.state < SwitchState.CUT_OVER:
            work.cancel()
            await asyncio.wait((work,))
        if self._live is not None:
            await self._live.release()
            self._live = None
        if work is not None:
            await asyncio.wait((work,))  # an older deployment may still drain


class _Steps:
    """Turns what happens during a switch into its events."""

    def __init__(
        self, plan: Plan, clock: Callable[[], float], epoch: Callable[[], int], on_step: Callable[[SwitchStep], None]
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._epoch = epoch
        self._on_step = on_step
        self._started_s = clock()
        self.past_cut_over = False

    def emit(self, state: SwitchState, message: str, progress: float = 0.0) -> None:
        """Reports one step."""
        self.past_cut_over = state >= SwitchState.CUT_OVER
        elapsed_s = self._clock() - self._started_s
        self._on_step(SwitchStep(state, message, progress, self._plan, self._epoch(), elapsed_s))

    def prepared(self, progress: Progress) -> None:
        """Reports the preparer's progress, and what it warns of also to the log."""
        if progress.warning:
            _log.warning("%s", progress.warning)
            self.emit(SwitchState.PREPARING, progress.warning)
            return
        share = progress.done / progress.total if progress.total else 0.0
        counted = f" {progress.done}/{progress.total}" if progress.total else ""
        self.emit(SwitchState.PREPARING, f"{progress.name}{counted}", share)
