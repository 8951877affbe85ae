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
from engine.artifacts.store import ArtifactStore
from engine.deployment.live import LiveDeployment
from engine.deployment.load import Loader, describe_cell
from engine.deployment.planner import Planner
from engine.deployment.steps import SwitchSteps
from engine.deployment.target import Plan, SwitchState, SwitchStep, Target
from engine.errors import CannotSwitch, EngineError, SwitchInProgress, Unavailable
from engine.host.machine import PlatformFacts
from engine.scheduling import BatchObserver, BatchPolicy
from engine.tuning.plan import Knobs
from engine.tuning.search import tune_in_child

_log = logging.getLogger(__name__)

_AS_PLANNED = Knobs()


class Deployments:
    """Owner of what is live. Everything runs on the event loop; loading and closing happen in worker threads."""

    def __init__(
        self, facts: PlatformFacts, store: ArtifactStore, observer: BatchObserver, knobs: Knobs = _AS_PLANNED,
        clock: Callable[[], float] = time.monotonic, calibration: Calibration | None = None,
    ) -> None:  # fmt: skip
        self._facts = facts
        self._store = store
        self._planner = Planner(facts)
        self._loader = Loader(facts, store, observer, calibration, clock)
        self._knobs = knobs
        self._clock = clock
        self._epoch = 0
        self._live: LiveDeployment | None = None
        self._work: asyncio.Task[None] | None = None  # the loop itself keeps only a weak reference to a task
        self.running_switch: SwitchStep | None = None

    @property
    def live(self) -> LiveDeployment:
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
    ) -> LiveDeployment:
        """Makes the first deployment. Raises what a switch raises.

        With `tune` a cell that was never measured here is first tried at several plans: a switch never does so, because
        what serves meanwhile would disturb the measurement, and be disturbed by it.
        """
        plan = self._planner.plan(asked, strict=strict)
        steps = SwitchSteps(plan, self._clock, lambda: self._epoch, on_step)
        if tune and self._planner.is_worth_measuring(plan):
            await self._tune(plan, steps)
            plan = self._planner.plan(asked, strict=strict)
        return await self._replace(plan, steps)

    async def _tune(self, plan: Plan, steps: SwitchSteps) -> None:
        """Measures and remembers how to run the cell. What goes wrong costs speed, so it is told and no more."""
        target = plan.effective
        files, artifact = await self._loader.prepare(plan, steps)

        def report(done: int, total: int) -> None:
            steps.emit(SwitchState.PREPARING, f"measuring instances × threads {done}/{total}", done / total)

        try:
            measured = await tune_in_child(files, artifact, target.cell, self._facts.cores, report)
            self._planner.remember(target.cell, plan.asked.model, measured)
        except (CannotSwitch, OSError) as error:
            _log.warning("%s runs by a rule of thumb: %s", describe_cell(target), error)

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

        steps = SwitchSteps(plan, self._clock, lambda: self._epoch, record)
        steps.emit(SwitchState.REQUESTED, describe_cell(plan.requested))
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

    async def _switch(self, plan: Plan, steps: SwitchSteps) -> None:
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

    async def _replace(self, plan: Plan, steps: SwitchSteps) -> LiveDeployment:
        """Builds and proves a deployment, then moves the pointer to it in one step of the event loop."""
        live = await self._loader.load(plan, steps, self._knobs)
        self._epoch += 1
        live.epoch = self._epoch
        self._live = live
        return live

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
