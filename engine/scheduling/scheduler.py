"""The scheduler as the event loop sees it: jobs go in, whole answers come out, in the order they were asked."""

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from engine.errors import Cancelled, EngineError, Expired, PoisonedText, Unavailable
from engine.scheduling.handover import Handover
from engine.scheduling.instance import Answers, Instance, Outcome, run
from engine.scheduling.lone import MAX_TOKENS, LoneTexts
from engine.scheduling.queue import Batch, Ticket
from engine.scheduling.work import BatchObserver, BatchPolicy, Executor, JobResult, TokenIds, Vectors

_log = logging.getLogger(__name__)


class Job:
    """One request's answer to come: `await` it for a JobResult.

    Raises Expired, Cancelled, PoisonedText or Unavailable. A caller that is cancelled while it waits cancels the job.
    """

    __slots__ = ("_future", "_infer_s", "_missing", "_queue_s", "_scheduler", "_vectors", "deadline", "ticket")

    def __init__(self, scheduler: "Scheduler", ticket: Ticket, future: asyncio.Future[JobResult]) -> None:
        self.ticket = ticket
        self.deadline: asyncio.TimerHandle | None = None
        self._scheduler = scheduler
        self._future = future
        self._missing = len(ticket.lengths)
        self._vectors: Vectors | None = None
        self._queue_s = 0.0
        self._infer_s = 0.0

    def __await__(self) -> Generator[Any, None, JobResult]:
        try:
            return (yield from self._future.__await__())
        except asyncio.CancelledError:
            self.cancel()
            raise
        except EngineError:
            # The error holds the frames that it goes through, and so this job, whose future holds the error: such a
            # circle of every failed request would stay until the next full garbage collection.
            del self._future
            raise

    def cancel(self) -> None:
        """Drops the texts that are still queued; whoever awaits the job gets Cancelled. No effect once answered."""
        self._scheduler.cancel(self)

    def accept(self, answers: Answers, infer_s: float) -> bool:
        """Takes one batch's share of the answer; returns whether the answer is whole."""
        self._queue_s = max(self._queue_s, answers.queue_s)
        self._infer_s = max(self._infer_s, infer_s)
        part = answers.vectors
        self._missing -= len(answers.positions)
        if self._vectors is None:
            if not self._missing:
                self._vectors = part  # all in one piece, and in order
                return True
            count = len(self.ticket.lengths)
            self._vectors = Vectors(
                np.empty((count, part.unit.shape[1]), dtype=np.float32), np.empty(count, dtype=np.float32)
            )
        self._vectors.unit[answers.positions] = part.unit
        self._vectors.norms[answers.positions] = part.norms
        return not self._missing

    def succeed(self) -> None:
        """Answers whoever waits."""
        if self._vectors is not None and not self._future.done():
            self._future.set_result(JobResult(self._vectors, self._queue_s, self._infer_s))

    def fail(self, error: EngineError) -> None:
        """Tells whoever waits. If nobody does (the caller left), that is no error to log."""
        if not self._future.done():
            self._future.set_exception(error)
            self._future.exception()


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
        lone: LoneTexts | None = None,
        cores: Sequence[int | None] | None = None,
    ) -> None:
        """`lone` says when the event loop runs a text in its own thread; None: never.

        `cores`: the core that each executor's thread keeps to, None for any.
        """
        self.name = name
        self._loop = asyncio.get_running_loop()
        self._observer = observer
        self._clock = clock
        self._handover = Handover(policy, clock)
        self._jobs: dict[Ticket, Job] = {}  # the unanswered ones, oldest first
        self._quiet = asyncio.Event()  # set while no job is unanswered
        self._quiet.set()
        self._wake_is_due = False
        self._closing = False
        self._lone = lone
        self._instances = [
            Instance(executor, self._handover, self, name=f"{name}/{index}", clock=clock, core=core)
            for index, (executor, core) in enumerate(zip(executors, cores or [None] * len(executors), strict=True))
        ]
        self._all_ended = asyncio.Event()
        for instance in self._instances:
            instance.start()

    @property
    def policy(self) -> BatchPolicy:
        """The policy of the next batch."""
        return self._handover.policy

    @property
    def queued_items(self) -> int:
        """Texts that wait for an instance."""
        return self._handover.queued_items

    @property
    def queued_tokens(self) -> int:
        """Tokens of the texts that wait, without padding."""
        return self._handover.queued_tokens

    @property
    def idle_instances(self) -> int:
        """Instances that wait for a batch."""
        return self._handover.idle_instances

    @property
    def in_flight_jobs(self) -> int:
        """Jobs submitted and not yet answered."""
        return len(self._jobs)

    def oldest_in_flight_s(self, now: float) -> float:
        """The age of the oldest unanswered job, on the scheduler's clock; 0 without one."""
        oldest = next(iter(self._jobs), None)
        return 0.0 if oldest is None else max(0.0, now - oldest.arrived_s)

    def configure(self, policy: BatchPolicy) -> None:
        """Takes effect with the next batch."""
        self._handover.configure(policy)

    def submit(self, texts: Sequence[TokenIds], *, deadline_s: float | None = None) -> Job:
        """Queues a request's texts; `deadline_s` is a time on the scheduler's clock. Event loop thread only.

        No texts give an answer of shape (0, 0) at once. Raises Unavailable after close() began.
        """
        if self._closing:
            raise Unavailable("this deployment is closing: send the request again")
        if not self._instances:
            raise Unavailable("every instance was lost: restart the engine")
        ticket = Ticket(texts, self._clock(), deadline_s)
        job = Job(self, ticket, self._loop.create_future())
        if not texts:
            job.accept(Answers(ticket, (), Vectors(np.empty((0, 0), np.float32), np.empty(0, np.float32)), 0.0), 0.0)
            job.succeed()
            return job
        self._jobs[ticket] = job
        self._quiet.clear()
        if self._lone is not None:
            self._lone.arrived(ticket.arrived_s, alone=len(texts) == 1 and len(self._jobs) == 1)
        # Idle instances are woken at the end of this tick of the event loop, not here: the requests that one read of
        # the sockets brought in are all parsed in one tick, and so they find themselves in one batch, without any
        # timer and without waiting for anything that has not yet arrived. A busy instance needs no waking: it looks
        # into the queue as soon as it is done.
        if self._handover.put(ticket) and not self._wake_is_due:
            self._wake_is_due = True
            self._loop.call_soon(self._wake)
        if deadline_s is not None:
            self._watch_deadline(job)
        return job

    def cancel(self, job: Job) -> None:
        """What Job.cancel does."""
        if self._jobs.get(job.ticket) is job:
            dropped = self._fail(job, Cancelled("the caller left while the request was queued"))
            self._observer.items_dropped(expired=0, cancelled=dropped)

    async def drain(self) -> None:
        """Returns when no job is unanswered. Jobs may still be submitted meanwhile."""
        while self._jobs:
            await self._quiet.wait()

    async def close(self) -> None:
        """Refuses new jobs, drains, ends and joins the threads, and drops the executors. May be called again.

        Waits for a forward pass that is running, however long it takes.
        """
        self._closing = True
        self._handover.end()  # the threads still empty the queue, and no batch waits to become fuller
        await self.drain()
        if self._instances:
            await self._all_ended.wait()

    # ---- called in the instances' threads: each is one hop to the event loop -------------------------------------

    def batch_ran(self, outcome: Outcome) -> None:
        """Hears of a batch."""
        self._loop.call_soon_threadsafe(self._deliver, outcome)

    def instance_ended(self, instance: Instance, in_hand: Batch | None, fault: BaseException | None) -> None:
        """Hears a thread's last words."""
        with suppress(RuntimeError):  # the loop is closed: the process is going, and nobody is left to tell
            self._loop.call_soon_threadsafe(self._bury, instance, in_hand, fault)

    # ---- event loop ----------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        self._wake_is_due = False
        if self._lone is None or not self._lone.are_the_loops or not self._run_alone():
            self._handover.wake()

    def _run_alone(self) -> bool:
        """Runs the only text that waits in this thread; whether there was one and every instance idle."""
        batch = None
        try:
            batch = self._handover.take_lone(len(self._instances), MAX_TOKENS)
            if batch is None:
                return False
            # Every instance waits, and only this thread could wake one: its executor is free meanwhile.
            self._deliver(run(batch, self._instances[0].executor, self._clock))
        except BaseException as fault:  # as in an instance's thread: whatever it was, nobody may be left waiting
            _log.critical("the event loop failed to run a text of %s", self.name, exc_info=fault)
            self._fail_all_in(batch)
        return True

    def _stay_awake(self, lone: LoneTexts) -> None:
        """Keeps the loop from sleeping until a request comes or none is expected any more."""
        if not self._jobs and not self._closing and self._clock() < lone.awake_until_s:
            self._loop.call_soon(self._stay_awake, lone)

    def _watch_deadline(self, job: Job) -> None:
        """Fails the job if its deadline has passed, else looks again when it will have: timers may ring early."""
        remaining_s = job.ticket.drops_at_s - self._clock()
        if remaining_s > 0:
            job.deadline = self._loop.call_later(remaining_s, self._watch_deadline, job)
            return
        dropped = self._fail(job, Expired("the deadline passed while the request was queued: allow it more time"))
        self._observer.items_dropped(expired=dropped, cancelled=0)

    def _deliver(self, outcome: Outcome) -> None:
        """Answers every job that a batch completes. Jobs that failed meanwhile are not there any more."""
        for poison in outcome.poisons:
            if (job := self._jobs.get(poison.ticket)) is not None:
                self._fail(job, PoisonedText(poison.position, poison.reason))
        answered = False
        for answers in outcome.answers:
            if (job := self._jobs.get(answers.ticket)) is None:
                continue
            try:
                whole = job.accept(answers, outcome.record.infer_s)
            except ValueError:
                _log.exception("the instances of %s disagree on the vectors' dimension", self.name)
                self._fail(job, EngineError("the vectors of one request differ in dimension: see the engine's log"))
                continue
            if whole:
                self._forget(job)
                job.succeed()
                answered = True
        if self._lone is not None:
            self._lone.ran(outcome.record)
            if answered and not self._jobs:
                self._lone.all_answered(self._clock())
                self._stay_awake(self._lone)
        self._observer.batch_done(outcome.record)

    def _forget(self, job: Job) -> None:
        """The job is about to be answered."""
        del self._jobs[job.ticket]
        if job.deadline is not None:
            job.deadline.cancel()
        if not self._jobs:
            self._quiet.set()

    def _fail(self, job: Job, error: EngineError) -> int:
        """Fails the whole job; returns how many of its texts never ran, and now never will."""
        self._forget(job)
        dropped = self._handover.withdraw(job.ticket)
        job.fail(error)
        return dropped

    def _bury(self, instance: Instance, in_hand: Batch | None, fault: BaseException | None) -> None:
        """After a thread's end. One that was lost is replaced, and what it held fails at once."""
        instance.join()
        self._instances.remove(instance)
        if fault is not None:
            self._replace(instance, in_hand, fault)
        instance.drop_executor()
        if not self._instances:
            self._all_ended.set()

    def _replace(self, lost: Instance, in_hand: Batch | None, fault: BaseException) -> None:
        """Fails what a lost thread held, and starts another unless it fell without any work."""
        _log.critical("instance %s was lost", lost.name, exc_info=fault)
        if self._fail_all_in(in_hand):
            replacement = lost.replacement()
            self._instances.append(replacement)
            replacement.start()

    def _fail_all_in(self, batch: Batch | None) -> bool:
        """Fails the requests of a batch that will not be answered; whether there were any.

        None: it was being formed, there is no telling whose texts it took, so everybody hears of it.
        """
        tickets = set(self._jobs) if batch is None else {entry[3] for entry in batch.entries}
        for ticket in tickets:
            if (job := self._jobs.get(ticket)) is not None:
                self._fail(job, Unavailable("the instance was lost: send the request again"))
        if batch is None:
            self._handover.clear()
        return bool(tickets)
