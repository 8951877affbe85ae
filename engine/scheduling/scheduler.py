"""The scheduler as the event loop sees it: jobs go in, whole answers come out, in the order they were asked.

Every job is in one registry until it is answered. A fault in forming, running or delivering a batch ends in
`_step_failed`, `_mend_queue` or `_bury`; each of them answers the registered jobs that the fault may have touched with
Unavailable, so that nobody waits for a text that no instance holds.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

import numpy as np

from engine.errors import Cancelled, EngineError, Expired, PoisonedText, Unavailable
from engine.scheduling.contract import BatchObserver, BatchPolicy, Executor, SchedulerStats, TokenIds, Vectors
from engine.scheduling.dispatch import Dispatch
from engine.scheduling.health import Health
from engine.scheduling.inline import MAX_TOKENS, InlinePolicy
from engine.scheduling.instance import Answers, Instance, Outcome, run
from engine.scheduling.job import Job
from engine.scheduling.queue import Batch, Ticket

_log = logging.getLogger(__name__)

_LOST = "a fault of the engine lost this request: send it again"
_NO_INSTANCE = "every instance was lost: restart the engine"


class Scheduler:
    """Puts texts of many requests into batches for some instances. Belongs to one event loop's thread.

    Made inside a running event loop; one daemon thread per executor until `close`. The observer is called in the
    event loop's thread.
    """

    def __init__(
        self,
        executors: Sequence[Executor],
        policy: BatchPolicy,
        observer: BatchObserver,
        *,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        inline: InlinePolicy | None = None,
        cores: Sequence[int | None] | None = None,
    ) -> None:
        """`lone` says when the event loop runs a text in its own thread; None: never.

        `cores`: the core that each executor's thread keeps to, None for any.
        """
        self.name = name
        self.health = Health()
        """Whether its instances can answer, by the batches so far."""
        self._loop = asyncio.get_running_loop()
        self._observer = observer
        self._clock = clock
        self._dispatch = Dispatch(policy, clock)
        self._jobs: dict[Ticket, Job] = {}  # the unanswered ones, oldest first
        self._quiet = asyncio.Event()  # set while no job is unanswered
        self._quiet.set()
        self._wake_is_due = False
        self._closing = False
        self._queue_faults = 0  # since a batch was last delivered
        self._inline = inline
        self._instances = [
            Instance(executor, self._dispatch, self, name=f"{name}/{index}", clock=clock, core=core)
            for index, (executor, core) in enumerate(zip(executors, cores or [None] * len(executors), strict=True))
        ]
        self._all_ended = asyncio.Event()
        for instance in self._instances:
            instance.start()

    @property
    def policy(self) -> BatchPolicy:
        """The policy of the next batch."""
        return self._dispatch.policy

    def stats(self) -> SchedulerStats:
        """What waits, what is idle and what is unanswered now."""
        oldest = next(iter(self._jobs), None)
        age_s = 0.0 if oldest is None else max(0.0, self._clock() - oldest.arrived_s)
        return SchedulerStats(*self._dispatch.counts(), len(self._jobs), age_s)

    def configure(self, policy: BatchPolicy) -> None:
        """Takes effect with the next batch."""
        self._dispatch.configure(policy)

    def submit(self, texts: Sequence[TokenIds], *, deadline_s: float | None = None) -> Job:
        """Queues a request's texts; `deadline_s` is a time on the scheduler's clock. Event loop thread only.

        No texts give an answer of shape (0, 0) at once. Raises Unavailable after close() began.
        """
        if self._closing:
            raise Unavailable("this deployment is closing: send the request again")
        if not self._instances:
            raise Unavailable(_NO_INSTANCE)
        ticket = Ticket(texts, self._clock(), deadline_s)
        job = Job(self, ticket, self._loop.create_future())
        if not texts:
            job.accept(Answers(ticket, (), Vectors(np.empty((0, 0), np.float32), np.empty(0, np.float32)), 0.0), 0.0)
            job.succeed()
            return job
        self._jobs[ticket] = job
        self._quiet.clear()
        try:
            self._enqueue(ticket)
            if deadline_s is not None:
                self._watch_deadline(job)
        except Exception as fault:
            self._step_failed("queue a request", fault, (ticket,))
        return job

    def _enqueue(self, ticket: Ticket) -> None:
        if self._inline is not None:
            self._inline.arrived(ticket.arrived_s, alone=len(ticket.lengths) == 1 and len(self._jobs) == 1)
        # Idle instances are woken at the end of this tick of the event loop, not here: the requests that one read of
        # the sockets brought in are all parsed in one tick, and so they find themselves in one batch, without any
        # timer and without waiting for anything that has not yet arrived. A busy instance needs no waking: it looks
        # into the queue as soon as it is done.
        if self._dispatch.put(ticket) and not self._wake_is_due:
            self._wake_is_due = True
            self._loop.call_soon(self._wake)

    def cancel(self, job: Job) -> None:
        """What Job.cancel does."""
        if self._jobs.get(job.ticket) is job:
            dropped = self._fail(job, Cancelled("the caller left while the request was queued"))
            self._tell(lambda: self._observer.items_dropped(expired=0, cancelled=dropped))

    async def drain(self) -> None:
        """Returns when no job is unanswered. Jobs may still be submitted meanwhile."""
        while self._jobs:
            await self._quiet.wait()

    async def close(self) -> None:
        """Refuses new jobs, drains, ends and joins the threads, and drops the executors. May be called again.

        Waits for a forward pass that is running, however long it takes.
        """
        self._closing = True
        self._dispatch.end()  # the threads still empty the queue, and no batch waits to become fuller
        await self.drain()
        if self._instances:
            await self._all_ended.wait()

    # ---- called in the instances' threads: each is one hop to the event loop -------------------------------------

    def on_batch(self, outcome: Outcome) -> None:
        """Hears of a batch."""
        self._loop.call_soon_threadsafe(self._deliver, outcome)

    def on_exit(self, instance: Instance, current_batch: Batch | None, fault: BaseException | None) -> None:
        """Hears a thread's last words."""
        with suppress(RuntimeError):  # the loop is closed: the process is going, and nobody is left to tell
            self._loop.call_soon_threadsafe(self._on_instance_exit, instance, current_batch, fault)

    # ---- event loop ----------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        self._wake_is_due = False
        try:
            if self._inline is None or not self._run_alone(self._inline):
                self._dispatch.wake()
        except Exception as fault:
            self._step_failed("wake an instance", fault)

    def _run_alone(self, inline: InlinePolicy) -> bool:
        """Runs the only text that waits in this thread; whether there was one and every instance idle."""
        batch = None
        try:
            if not inline.should_run_inline:
                return False
            batch = self._dispatch.take_inline(len(self._instances), MAX_TOKENS)
            if batch is None:
                return False
            # Every instance waits, and only this thread could wake one: its executor is free meanwhile.
            outcome = run(batch, self._instances[0].executor, self._clock)
        except BaseException as fault:  # as in an instance's thread: whatever it was, nobody may be left waiting
            if batch is not None:
                self._dispatch.settle(batch)
                self.health.batch_failed()
            self._step_failed("run a text", fault, batch.tickets if batch is not None else ())
            if _ends_the_process(fault):
                raise
            return batch is not None
        self._deliver(outcome)
        return True

    def _stay_awake(self, inline: InlinePolicy) -> None:
        """Keeps the loop from sleeping until a request comes or none is expected any more."""
        if not self._jobs and not self._closing and self._clock() < inline.awake_until_s:
            self._loop.call_soon(self._stay_awake, inline)

    def _watch_deadline(self, job: Job) -> None:
        """Fails the job if its deadline has passed, else looks again when it will have: timers may ring early."""
        try:
            remaining_s = job.ticket.drops_at_s - self._clock()
            if remaining_s > 0:
                job.deadline = self._loop.call_later(remaining_s, self._watch_deadline, job)
                return
        except Exception as fault:
            self._step_failed("watch a deadline", fault, (job.ticket,))
            return
        dropped = self._fail(job, Expired("the deadline passed while the request was queued: allow it more time"))
        self._tell(lambda: self._observer.items_dropped(expired=dropped, cancelled=0))

    def _deliver(self, outcome: Outcome) -> None:
        """Answers every job that a batch completes. Jobs that failed meanwhile are not there any more."""
        self._dispatch.settle(outcome.batch)
        try:
            answered = self._answer(outcome)
        except BaseException as fault:
            self.health.batch_failed()
            self._step_failed("deliver a batch", fault, outcome.batch.tickets)
            if _ends_the_process(fault):
                raise
            return
        self._queue_faults = 0
        if self._inline is not None:
            self._watch_lone(self._inline, outcome, answered=answered)
        self._tell(lambda: self._observer.batch_done(outcome.record))

    def _answer(self, outcome: Outcome) -> bool:
        """Gives each job its share of a batch; returns whether a job was answered whole."""
        for poison in outcome.poisons:
            if (job := self._jobs.get(poison.ticket)) is not None:
                self._fail(job, PoisonedText(poison.position, poison.reason))
        answered = accepted = refused = False
        for answers in outcome.answers:
            if (job := self._jobs.get(answers.ticket)) is None:
                continue
            try:
                if job.accept(answers, outcome.record.infer_s):
                    job.succeed()
                    self._forget(job)
                    answered = True
                accepted = True
            except ValueError:
                refused = True
                _log.exception("the instances of %s disagree on the vectors' dimension", self.name)
                self._fail(job, EngineError("the vectors of one request differ in dimension: see the engine's log"))
            except Exception as fault:
                refused = True
                self._step_failed("answer a request", fault, (answers.ticket,))
        if refused and not accepted:
            self.health.batch_failed()
        else:
            self.health.batch_done(outcome.record)
        return answered

    def _watch_lone(self, inline: InlinePolicy, outcome: Outcome, *, answered: bool) -> None:
        """After a batch: what the choice of the lone path is made by."""
        try:
            inline.ran(outcome.record)
            if answered and not self._jobs:
                inline.all_answered(self._clock())
                self._stay_awake(inline)
        except Exception as fault:
            self._step_failed("watch for lone texts", fault)

    def _tell(self, report: Callable[[], None]) -> None:
        """Tells the observer; its faults are logged and cost no caller an answer."""
        try:
            report()
        except Exception:
            _log.exception("the observer of %s failed", self.name)

    def _forget(self, job: Job) -> None:
        """The job is answered."""
        self._jobs.pop(job.ticket, None)
        if job.deadline is not None:
            job.deadline.cancel()
        if not self._jobs:
            self._quiet.set()

    def _fail(self, job: Job, error: EngineError) -> int:
        """Fails the whole job; returns how many of its texts never ran, and now never will."""
        job.fail(error)
        self._forget(job)
        try:
            return self._dispatch.withdraw(job.ticket)
        except Exception as fault:
            self._step_failed("drop a request's texts", fault)
            return job.ticket.drop()

    # ---- faults --------------------------------------------------------------------------------------------------

    def _step_failed(self, step: str, fault: BaseException, tickets: Collection[Ticket] = ()) -> None:
        """Logs a fault of the event loop's own work, and fails the requests that it was about."""
        _log.critical("the event loop failed to %s of %s", step, self.name, exc_info=fault)
        self._fail_all(tickets)
        if self._dispatch.is_broken:
            self._mend_queue()

    def _mend_queue(self) -> None:
        """After a fault in the queue: a new one, of every request none of whose texts had left the old one.

        Spared too is a request all of whose unanswered texts are in batches that run. The others fail: some of their
        texts may be nowhere. After a second fault without a batch delivered in between nothing is queued again, so that
        a fault that always comes is not met once for each request.
        """
        self._queue_faults += 1
        self.health.batch_failed()
        taken = self._dispatch.taken_texts()
        again = self._queue_faults == 1
        unhurt = {ticket for ticket, job in self._jobs.items() if job.missing == taken[ticket]}
        fresh = [ticket for ticket in self._jobs if again and not ticket.entered]
        self._fail_all(set(self._jobs) - unhurt - set(fresh))
        self._dispatch.repair(fresh)

    def _on_instance_exit(self, instance: Instance, current_batch: Batch | None, fault: BaseException | None) -> None:
        """After a thread's end. One that was lost is replaced, and what it held fails at once."""
        instance.join()
        self._instances.remove(instance)
        if fault is not None:
            _log.critical("instance %s was lost", instance.name, exc_info=fault)
            self._replace(instance, current_batch)
            self.health.instance_lost(len(self._instances))
        instance.drop_executor()
        if not self._instances:
            self._fail_all(set(self._jobs), _NO_INSTANCE)
            self._all_ended.set()

    def _replace(self, lost: Instance, current_batch: Batch | None) -> None:
        """Fails what a lost thread held, and starts another unless it fell before it ever had work."""
        had_work = lost.has_worked or (self._dispatch.is_broken and bool(self._jobs))
        if current_batch is not None:
            self._dispatch.settle(current_batch)
            self.health.batch_failed()
            self._fail_all(current_batch.tickets)
        if had_work:
            try:
                replacement = lost.replacement()
                replacement.start()
            except Exception as error:  # as where the system has no more threads
                _log.critical("instance %s cannot be replaced", lost.name, exc_info=error)
            else:
                self._instances.append(replacement)
        if self._dispatch.is_broken:
            self._mend_queue()

    def _fail_all(self, tickets: Collection[Ticket], reason: str = _LOST) -> None:
        """Fails those of the requests that are not answered yet: whoever sends them again may be answered."""
        for ticket in tickets:
            if (job := self._jobs.get(ticket)) is not None:
                self._fail(job, Unavailable(reason))


def _ends_the_process(fault: BaseException) -> bool:
    """Whether an event loop has to pass it on."""
    return isinstance(fault, (SystemExit, KeyboardInterrupt))
