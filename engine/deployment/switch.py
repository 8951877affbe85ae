"""The live deployment and the switch to another one under load: a state machine with one owner.

A request is bound to the deployment that is live when it arrives, which answers all of it. A switch loads the new
deployment beside the old one, verifies it, makes it the live one, and waits until the old queue is empty.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import replace

from engine.artifacts.calibration import Calibration
from engine.artifacts.store import ArtifactStore
from engine.deployment.live import LiveDeployment
from engine.deployment.load import UNSUPERVISED, Loader, Supervision, describe_cell
from engine.deployment.planner import Planner
from engine.deployment.steps import SwitchSteps
from engine.deployment.target import Plan, SwitchState, SwitchStep, Target
from engine.errors import CannotSwitch, EngineError, SwitchInProgress, Unavailable
from engine.host.machine import PlatformFacts
from engine.scheduling import BatchObserver, BatchPolicy, Readiness
from engine.tuning.plan import BatchOverrides
from engine.tuning.search import tune_in_child

_log = logging.getLogger(__name__)

_NO_OVERRIDES = BatchOverrides()


class Deployments:
    """The owner of the live deployment. Runs on the event loop; models are loaded and closed in worker threads."""

    def __init__(
        self, facts: PlatformFacts, store: ArtifactStore, observer: BatchObserver,
        overrides: BatchOverrides = _NO_OVERRIDES, clock: Callable[[], float] = time.monotonic,
        calibration: Calibration | None = None, supervision: Supervision = UNSUPERVISED,
    ) -> None:  # fmt: skip
        self._facts = facts
        self._store = store
        self._planner = Planner(facts)
        self._loader = Loader(facts, store, observer, calibration, clock, supervision)
        self._overrides = overrides
        self._clock = clock
        self._epoch = 0
        self._closed = False
        self._live: LiveDeployment | None = None
        self._switch_task: asyncio.Task[None] | None = None  # the event loop keeps only a weak reference to a task
        self.running_switch: SwitchStep | None = None
        self.readiness = Readiness()
        """Whether what is live can answer."""

    @property
    def live(self) -> LiveDeployment:
        """The deployment that answers new requests. Raises CannotSwitch before `start`, Unavailable after `close`."""
        if self._closed:
            raise Unavailable("the engine has ended: use another engine")
        if self._live is None:
            raise CannotSwitch("no deployment is live yet: wait for the ready line")
        return self._live

    @property
    def facts(self) -> PlatformFacts:
        """The facts about the machine that the rules are applied to."""
        return self._facts

    @property
    def store(self) -> ArtifactStore:
        """The store of prepared artifacts."""
        return self._store

    @property
    def batch_overrides(self) -> BatchOverrides:
        """The batching options that the user set."""
        return self._overrides

    @property
    def batch_policy(self) -> BatchPolicy:
        """The policy that the overrides and the live deployment's serving plan give."""
        return self._overrides.policy(self.live.plan.serving, packs=self.live.packs)

    def configure(self, overrides: BatchOverrides) -> BatchPolicy:
        """Sets the batching options of the live deployment and of later ones. Raises CannotSwitch before `start`."""
        self._overrides = overrides
        self.live.scheduler.configure(self.batch_policy)
        return self.batch_policy

    async def start(
        self, target: Target, *, strict: bool, on_step: Callable[[SwitchStep], None], tune: bool = False
    ) -> LiveDeployment:
        """Makes the first deployment. Raises what a switch raises.

        `tune`: first measures the serving plan of a cell that was never measured on this machine. A switch never does,
        because the measurement and the live deployment would slow each other down.
        """
        plan = self._planner.plan(target, strict=strict)
        steps = SwitchSteps(plan, self._clock, lambda: self._epoch, on_step)
        if tune and self._planner.should_tune(plan):
            await self._tune(plan, steps)
            plan = self._planner.plan(target, strict=strict)
        return await self._replace(plan, steps)

    async def _tune(self, plan: Plan, steps: SwitchSteps) -> None:
        """Measures and keeps the serving plan of the cell. A failure costs only speed, so it is logged."""
        cell = plan.effective.cell
        files, artifact = await self._loader.prepare(plan, steps)

        def report(done: int, total: int) -> None:
            steps.emit(SwitchState.PREPARING, f"measuring instances × threads {done}/{total}", done / total)

        try:
            measured = await tune_in_child(files, artifact, cell, self._facts.cores, report)
            self._planner.save(cell, plan.target.model, measured)
        except (CannotSwitch, OSError) as error:
            _log.warning("%s runs with a rule-of-thumb plan: %s", describe_cell(plan.effective), error)

    async def switch(self, target: Target, *, strict: bool, fresh: bool = False) -> AsyncGenerator[SwitchStep]:
        """Replaces the live deployment and yields the events of the switch; the last one is RELEASED.

        Closing the iterator before CUT_OVER cancels the switch; after it, the old deployment still drains. Raises
        InvalidRequest, CannotSwitch, ModelError or SwitchInProgress; the old deployment then keeps serving. Raises
        Unavailable when close() cancels the switch.
        """
        if self.running_switch is not None:
            raise SwitchInProgress(
                f"a switch is in progress ({self.running_switch.state.name}): wait for it to end, or cancel it"
            )
        plan = self._planner.plan(target.filled_from(self.live.plan.target, fresh=fresh), strict=strict)
        arrived: asyncio.Queue[SwitchStep | None] = asyncio.Queue()

        def record(step: SwitchStep) -> None:
            self.running_switch = step
            arrived.put_nowait(step)

        steps = SwitchSteps(plan, self._clock, lambda: self._epoch, record)
        steps.emit(SwitchState.REQUESTED, describe_cell(plan.requested))
        task = self._switch_task = asyncio.create_task(self._switch(plan, steps), name="switch")
        task.add_done_callback(lambda _: self._switch_ended(arrived))
        try:
            while (step := await arrived.get()) is not None:
                yield step
            if task.cancelled():
                raise Unavailable("the engine is shutting down, so the switch was cancelled: use another engine")
            await task
        finally:
            if not task.done() and not steps.past_cut_over:
                task.cancel()
                with suppress(asyncio.CancelledError, EngineError):
                    await task

    def _switch_ended(self, arrived: "asyncio.Queue[SwitchStep | None]") -> None:
        self.running_switch = None
        arrived.put_nowait(None)

    async def _switch(self, plan: Plan, steps: SwitchSteps) -> None:
        old = self.live
        if plan.effective == old.planned:
            # the new target may have other words for the same deployment, and other warnings
            requested = replace(plan.requested, model=old.plan.requested.model)
            old.plan = replace(plan, requested=requested, effective=old.plan.effective)
            steps.emit(SwitchState.RELEASED, "already live: nothing to do")
            return
        await self._replace(plan, steps)
        steps.emit(SwitchState.CUT_OVER, f"epoch {self._epoch} answers new requests")
        steps.emit(SwitchState.DRAINING, "the old deployment answers the requests bound to it")
        await old.release()
        steps.emit(SwitchState.RELEASED, "the memory of the old deployment is freed")

    async def _replace(self, plan: Plan, steps: SwitchSteps) -> LiveDeployment:
        """Loads and verifies a deployment, then makes it the live one in one step of the event loop."""
        live = await self._loader.load(plan, steps, self._overrides)
        self._epoch += 1
        live.epoch = self._epoch
        self._live = live
        self.readiness.follow(live.scheduler.health)
        return live

    async def close(self) -> None:
        """Cancels a switch that has not cut over, answers the bound requests and frees everything.

        Does not wait for an abandoned load, whose thread ends with the process.
        """
        task, step = self._switch_task, self.running_switch
        if task is not None and step is not None and step.state < SwitchState.CUT_OVER:
            task.cancel()
            await asyncio.wait((task,))
        if self._live is not None:
            live, self._live, self._closed = self._live, None, True
            await live.release()
        if task is not None:
            await asyncio.wait((task,))  # the old deployment of a switch may still drain
